"""Pretrain the policy of a recipe on the next items of all users' training rows, in a run folder."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.load import Overrides, load_config, to_dict, to_yaml
from jaxrec.config.pretrain import GENERATIVE
from jaxrec.config.schema import Config
from jaxrec.data.item_text import texts_to_keep
from jaxrec.data.pseudonyms import check_key_outside
from jaxrec.nets.policy import make_policy
from jaxrec.ops.sizes import watched
from jaxrec.progress import note, quiet
from jaxrec.runs import pretrain_generative as generative
from jaxrec.runs import transfer
from jaxrec.runs.cold_items import cold_items, without_rows
from jaxrec.runs.devices import describe_devices
from jaxrec.runs.fit_encoder import size_of
from jaxrec.runs.half_written import read_account
from jaxrec.runs.host_loop import Outcome, Training, run_training
from jaxrec.runs.pretrain_encoder import make_stage
from jaxrec.runs.pretrain_inputs import (
    check_recipe,
    make_data,
    policy_spec,
    policy_world,
    recommendable_items,
    with_neighbours,
)
from jaxrec.runs.pretrain_judge import FEW, HELD_OUT, LIKED, RARE, Metrics, PretrainJudge
from jaxrec.runs.pretrain_loop import SCORE, schedule, wording
from jaxrec.runs.read_log import Corpus, read_corpus
from jaxrec.runs.recipe import Recipe, default_folder, log_config, read_recipe
from jaxrec.runs.users.fitted_folder import log_identity
from jaxrec.serve import load_policy, policy_is_whole, save_policy
from jaxrec.sharding.compile import compiled, repeated
from jaxrec.sharding.mesh import make_mesh, replicated
from jaxrec.storage.checkpoint import Checkpoints
from jaxrec.storage.checkpoint_arrays import abstract_like
from jaxrec.storage.digests import is_whole, sealed_file
from jaxrec.storage.files import write_json
from jaxrec.storage.lock import one_command
from jaxrec.storage.stage_folders import PretrainFolder
from jaxrec.supervised.pretrain import PretrainData, make_pretraining
from jaxrec.supervised.pretrain_batches import Plan, PretrainState, steps_per_epoch
from jaxrec.types import EnvSpec, Params, World
from jaxrec.version import __version__

KINDS = {  # of test rows, in evaluation.json -> title
    HELD_OUT: "held-out log, whole catalogue",
    LIKED: "only positive held-out rows (data.target)",
    RARE: f"only held-out rows of items with fewer than {FEW} training rows",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A pretrained policy and how it ranks held-out rows."""

    run: PretrainFolder
    step: int  # the last one
    best: int  # the step whose parameters are the policy
    score: float  # of the best, on validation rows
    test: dict[str, Metrics]  # of the test rows, by kind of target; empty if a signal stopped the training
    cutoffs: tuple[int, ...]  # k of these metrics
    interrupted: int  # the signal that stopped it; 0 for none
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """The checked inputs of a pretraining."""

    config: Config
    run: PretrainFolder
    corpus: Corpus
    spec: EnvSpec
    world: World


def pretrain(
    recipe: Recipe,
    run: str | Path | None = None,
    overrides: Overrides = (),
    *,
    resume: bool = False,
    silent: bool = False,
) -> Pretrained:
    """Pretrain to the end of the recipe; with `resume` a stopped run continues from its newest checkpoint.

    The folder holds a policy as `jaxrec train` writes it, and `learner.start_from` starts reinforcement learning from
    it. Raises InputError, with a one-line message, for bad input.
    """
    with quiet(silent), one_command():
        config = read_recipe(recipe, overrides)
        check_recipe(config)
        if config.pretrain.model == GENERATIVE:
            generative.check_generative(config)
        else:
            transfer.check(config)
        path = run or default_folder(recipe)
        check_key_outside(log_config(config), Path(path))
        folder = open_folder(config, path) if resume else PretrainFolder.create(path, to_yaml(config))
        note(f"run {folder.path} on {describe_devices()}")
        columns = None if config.pretrain.model == GENERATIVE else transfer.columns_before(config)
        return pretrain_in(config, folder, read_corpus(config, columns))


def open_folder(config: Config, path: str | Path) -> PretrainFolder:
    """Open the folder to resume; raises InputError if another recipe made it."""
    run = PretrainFolder.reopen(path)
    before = load_config(Config, run.config)
    parts = {
        name: (getattr(before, name), getattr(config, name))
        for name in ("seed", "data", "encoder", "pretrain", "tokens", "generative")
    }
    parts["learner.policy"] = before.learner.policy, config.learner.policy
    for name, (was, now) in parts.items():
        if to_dict(was) != to_dict(now):
            raise InputError(
                f"{run.config}: `{name}` differs; resume with `jaxrec pretrain {run.config} --run {run.path} "
                "--resume`, or start another run with --run."
            )
    return run


def pretrain_in(config: Config, run: PretrainFolder, corpus: Corpus) -> Pretrained:
    """Pretrain in an opened folder, from its newest checkpoint if there is one."""
    started = time.perf_counter()
    cold = cold_items(config, corpus) if config.pretrain.model == GENERATIVE else None
    if cold is not None and len(cold):
        corpus = without_rows(corpus, cold)
        note(f"  {len(cold):,} items are cold: their training rows are left out")
    recommendable = recommendable_items(config, corpus, cold)
    data, plan = make_data(config, corpus, recommendable)
    _write_account(config, run, corpus, plan)
    world = policy_world(config, corpus, recommendable)
    ready = Prepared(config=config, run=run, corpus=corpus, spec=policy_spec(config, corpus), world=world)
    outcome, test = (_generator if config.pretrain.model == GENERATIVE else _policy)(ready, data, plan)
    if not outcome.interrupted:
        write_json(run.evaluation, {"step": outcome.best_step, SCORE: outcome.best_score, **test})
    return Pretrained(
        run=run,
        step=outcome.step,
        best=outcome.best_step,
        score=outcome.best_score,
        test=test,
        cutoffs=config.evaluate.cutoffs,
        interrupted=outcome.interrupted,
        seconds=time.perf_counter() - started,
    )


def _policy(ready: Prepared, data: PretrainData, plan: Plan) -> tuple[Outcome, dict[str, Metrics]]:
    """Train a policy; how it ended, and metrics of the test rows unless a signal stopped it."""
    config, corpus = ready.config, ready.corpus
    policy = make_policy(ready.spec, config.learner.policy)
    judge = PretrainJudge(config, corpus, policy, ready.spec, ready.world)
    initial = transfer.starting_params(config, corpus, ready.spec, ready.world)
    outcome = _train(ready, judge, data, plan, initial)
    if outcome.interrupted:
        return outcome, {}
    saved = load_policy(ready.run.path)
    return outcome, judge.reading(saved.world).test(saved.params, initial)


def _generator(ready: Prepared, data: PretrainData, plan: Plan) -> tuple[Outcome, dict[str, Metrics]]:
    """The same of a generator."""
    parts = generative.prepare(ready.config, ready.run, ready.corpus, ready.spec, ready.world)
    return generative.train_generator(parts, data, plan)


def _write_account(config: Config, run: PretrainFolder, corpus: Corpus, plan: Plan) -> None:
    """Write what the run reads and how long it is; on a resume, raise InputError if the log has changed."""
    identity = log_identity(corpus)
    if run.account.is_file() and read_account(run.account).get("log") != identity:
        raise InputError(f"{run.account}: the log has changed since this run began; start another run with --run.")
    epoch = steps_per_epoch(config.pretrain, plan)
    account = {
        "format": "jaxrec.pretraining.1",
        "jaxrec": __version__,
        "devices": describe_devices(),
        "steps": config.pretrain.epochs * epoch,
        "steps_per_epoch": epoch,
        "negatives": plan.negatives,
        "log": identity,
    }
    if not run.account.is_file():
        with sealed_file(run.account) as temporary:  # a transfer reads from it what the policy reads
            write_json(temporary, account)


def _train(
    ready: Prepared, judge: PretrainJudge, data: PretrainData, plan: Plan, initial: Params | None = None
) -> Outcome:
    config, fit = ready.config, ready.config.pretrain
    network = dataclasses.replace(config.learner.policy, dropout=fit.dropout)
    pretraining = make_pretraining(make_policy(ready.spec, network), fit, plan, len(ready.spec.feedback))
    stage = make_stage(config, ready.run, ready.corpus, pretraining, data, plan)
    everywhere, epoch = replicated(make_mesh(config.train.devices)), steps_per_epoch(fit, plan)
    world, data = jax.device_put((ready.world, stage.data), everywhere)
    abstract = jax.eval_shape(stage.init, world, data)
    abstract = abstract_like(abstract, jax.tree.map(lambda _: everywhere, abstract))
    init = compiled(stage.init, out_shardings=everywhere)

    def start() -> Any:
        state, params = init(world, data), initial
        if fit.neighbours:
            items = compiled(make_policy(ready.spec, config.learner.policy).items)
            fresh = stage.policy(state).params
            params = with_neighbours(config, ready.corpus, fresh, items(fresh, world).vectors)
        if params is None:
            return state
        return stage.starting(state, jax.device_put(params, everywhere, may_alias=False))  # the state is donated

    def restore(checkpoints: Checkpoints, step: int) -> Any:
        return checkpoints.restore(step, abstract)

    def evaluate(state: Any, step: int) -> tuple[Any, float]:
        state = stage.settled(state, data)
        return state, judge.reading(stage.world(state, ready.world)).validation(stage.policy(state).params)

    def save(state: Any, step: int) -> None:
        stage.save(state)
        _save(ready, stage.policy(state), stage.world(state, ready.world), step)

    sizes = f"{size_of(stage.policy(abstract).params):,} parameters{stage.note(abstract)}"
    note(_sizes(ready, plan) + f"; {sizes}; {epoch} steps per epoch")
    training = Training(
        start=start,
        restore=restore,
        update_many=compiled(
            repeated(watched(stage.update, stage.trained), fit.steps_per_call), donate=0, out_shardings=everywhere
        ),
        arguments=(world, data),
        evaluate=evaluate,
        new_best=save,
        trained=stage.trained,
        best_is_kept=lambda: policy_is_whole(ready.run.policy) and all(map(is_whole, stage.written)),
        size=-(-len(ready.corpus.split.train) // epoch),
        wording=wording(epoch),
    )
    return run_training(training, ready.run, schedule(config, epoch))[1]


def _save(ready: Prepared, state: PretrainState, world: World, step: int) -> None:
    catalogue = ready.corpus.dataset.catalogue
    save_policy(
        ready.run.policy,
        params=jax.tree.map(np.asarray, state.params),
        world=world,
        spec=ready.spec,
        config=ready.config.learner.policy,
        feedback=log_config(ready.config).feedback,
        items=(catalogue.ids, catalogue.titles),
        step=step,
        item_features=ready.corpus.features.encodings,
        texts=texts_to_keep(log_config(ready.config).text, catalogue),
    )


def _sizes(ready: Prepared, plan: Plan) -> str:
    rows, items = len(ready.corpus.split.train), ready.world.num_recommendable
    loss = f"{plan.negatives:,} sampled negatives of" if plan.negatives else "all"
    return f"  {rows:,} rows in windows of up to {plan.buckets[-1].length}; softmax over {loss} {items:,} items"
