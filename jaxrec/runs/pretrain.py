"""Pretrain the policy of a recipe on the next items of all users' training rows, in a run folder."""

import dataclasses
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError, check_range
from jaxrec.config.load import Overrides, load_config, to_dict, to_yaml
from jaxrec.config.logged import LoggedConfig
from jaxrec.config.schema import Config
from jaxrec.data.pseudonyms import check_key_outside
from jaxrec.envs.rewards import feedback_weights
from jaxrec.nets.policy import make_policy
from jaxrec.progress import note, quiet
from jaxrec.runs.devices import describe_devices
from jaxrec.runs.fit_encoder import check_sources, size_of
from jaxrec.runs.host_loop import Outcome, Schedule, Training, Wording, run_training
from jaxrec.runs.item_table import embed, item_table
from jaxrec.runs.pretrain_judge import Metrics, PretrainJudge, liked
from jaxrec.runs.read_log import Corpus, read_corpus
from jaxrec.runs.recipe import Recipe, default_folder, log_config, read_recipe
from jaxrec.runs.streams import stream
from jaxrec.runs.users.fitted_folder import log_identity
from jaxrec.serve import SavedPolicy, load_policy, save_policy
from jaxrec.sharding.compile import compiled, repeated
from jaxrec.sharding.mesh import make_mesh, replicated
from jaxrec.storage.checkpoint import Checkpoints, abstract_like
from jaxrec.storage.files import write_json
from jaxrec.storage.run import PretrainFolder
from jaxrec.supervised.pretrain import Plan, PretrainData, Pretraining, PretrainState, make_pretraining, num_negatives
from jaxrec.supervised.user_windows import make_windows
from jaxrec.types import PADDING, EnvSpec, Params, SlateAction, World
from jaxrec.version import __version__

SCORE = "validation_ndcg@10"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A pretrained policy and how it ranks held-out rows."""

    run: PretrainFolder
    step: int  # the last one
    best: int  # whose parameters are the policy
    score: float  # of the best, on validation rows
    test: dict[str, Metrics]  # of the test rows, by kind of target; empty if a signal stopped the training
    interrupted: bool
    seconds: float


class Prepared(NamedTuple):
    """What a pretraining reads and writes."""

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
    with quiet(silent):
        config = read_recipe(recipe, overrides)
        check_recipe(config)
        path = run or default_folder(recipe)
        check_key_outside(log_config(config), Path(path))
        folder = _resumed(config, path) if resume else PretrainFolder.create(path, to_yaml(config))
        note(f"run {folder.path} on {describe_devices()}")
        return pretrain_in(config, folder, read_corpus(config))


def check_recipe(config: Config) -> None:
    """Raise InputError if the recipe has no log, or its users are not fitted to one."""
    log_config(config)
    if not isinstance(config.env, LoggedConfig):
        raise InputError(f"env.name: {config.env.name} has no log to pretrain on; set it to logged.")
    make_mesh(config.train.devices)


def pretrain_in(config: Config, run: PretrainFolder, corpus: Corpus) -> Pretrained:
    """Pretrain in an opened folder, from its newest checkpoint if there is one."""
    started = time.perf_counter()
    check_sources(run, **{name: str(value) for name, value in log_identity(corpus).items()})
    ready = Prepared(config, run, corpus, policy_spec(config, corpus), policy_world(config, corpus))
    outcome, pretraining, test = _train(ready), None, {}
    del pretraining
    if not outcome.interrupted:
        judge = _judge(ready)
        test = judge.test(load_policy(run.path).params)
        write_json(run.evaluation, {"step": outcome.best_step, SCORE: outcome.best_score, **test})
    return Pretrained(
        run=run,
        step=outcome.step,
        best=outcome.best_step,
        score=outcome.best_score,
        test=test,
        interrupted=outcome.interrupted,
        seconds=time.perf_counter() - started,
    )


def observed_history(config: Config) -> int:
    """H, the rows of a user's history that a policy of this recipe observes."""
    return config.response.history_length


def policy_spec(config: Config, corpus: Corpus) -> EnvSpec:
    """The environment of the recipe as policies see it, without fitting its users."""
    log = corpus.dataset.log
    names = log.feedback_names
    return EnvSpec(
        name="logged",
        action=SlateAction(size=config.env.slate_size),
        num_items=log.num_items,
        feedback=names,
        reward_weights=feedback_weights(config.env.reward, names),
        feedback_range=((0.0, 1.0),) * len(names),
        context_size=0 if log.context is None else log.context.shape[1],
        history_length=observed_history(config),
    )


def policy_world(config: Config, corpus: Corpus) -> World:
    """The item table that `jaxrec train` makes from this log, and the items with enough training rows of all users."""
    vectors = embed(config, corpus.dataset.catalogue.texts)
    if not config.pretrain.texts:
        vectors = np.random.default_rng(config.seed).normal(0, vectors.shape[1] ** -0.5, vectors.shape)
    train = corpus.split.train
    often = np.bincount(train.item, minlength=train.num_items) >= log_config(config).min_item_ratings
    if not often.any():
        raise InputError(
            f"data.min_item_ratings: no item has {log_config(config).min_item_ratings} training rows; lower it."
        )
    return World(
        jnp.asarray(item_table(vectors, corpus.train)),
        recommendable=jnp.asarray(np.flatnonzero(often), jnp.int32),
        usual_context=None if corpus.train.context is None else jnp.asarray(corpus.train.context.mean(0), jnp.float32),
    )


def make_data(config: Config, corpus: Corpus, world: World) -> tuple[PretrainData, Plan]:
    """Windows of all users' training rows, and their sizes."""
    train, fit = corpus.split.train, config.pretrain
    assert world.recommendable is not None
    some = np.asarray(world.recommendable)
    place = np.full(train.num_items, PADDING)
    place[some] = np.arange(len(some))
    target = place[train.item]
    if fit.target == "liked":
        target = np.where(liked(train), target, PADDING)
    if not (target != PADDING).any():
        raise InputError(
            f"pretrain.target: none of the {len(train):,} training rows is a target; set it to next, or lower "
            "data.min_item_ratings."
        )
    longest = min(window_length(config), max(2, int(np.diff(train.offsets).max())))
    positions = fit.batch_size * longest
    rows, buckets = make_windows(train, target, longest, positions)
    shares = np.bincount(train.item, minlength=train.num_items)[some] / len(train)
    plan = Plan(buckets, train.num_users, positions, num_negatives(fit, len(some)))
    return PretrainData(rows, jnp.asarray(np.log(shares), jnp.float32)), plan


def window_length(config: Config) -> int:
    """Rows of a window: by default those that the policy reads, and the one that is then predicted."""
    read = observed_history(config)
    return config.pretrain.window or min(config.learner.policy.history or read, read) + 1


def _judge(ready: Prepared) -> PretrainJudge:
    policy = make_policy(ready.spec, ready.config.learner.policy)
    return PretrainJudge(ready.config, ready.corpus, policy, ready.spec, ready.world)


def _train(ready: Prepared) -> Outcome:
    config, fit, catalogue = ready.config, ready.config.pretrain, ready.corpus.dataset.catalogue
    data, plan = make_data(config, ready.corpus, ready.world)
    network = dataclasses.replace(config.learner.policy, dropout=fit.dropout)
    pretraining = make_pretraining(make_policy(ready.spec, network), fit, plan, len(ready.spec.feedback))
    everywhere = replicated(make_mesh(config.train.devices))
    world, data = jax.device_put((ready.world, data), everywhere)
    key, judge = stream(config, "pretrain"), _judge(ready)
    abstract = jax.eval_shape(pretraining.init, key, world)
    abstract = abstract_like(abstract, jax.tree.map(lambda _: everywhere, abstract))
    epoch = pretraining.steps_per_epoch
    note(_sizes(ready, plan, pretraining, abstract.params))

    def save(state: PretrainState, step: int) -> None:
        save_policy(
            ready.run.policy,
            params=state.params,
            world=ready.world,
            spec=ready.spec,
            config=config.learner.policy,
            feedback=log_config(config).feedback,
            items=(catalogue.ids, catalogue.titles),
            step=step,
        )

    def restore(checkpoints: Checkpoints, step: int) -> PretrainState:
        return checkpoints.restore(step, abstract)

    init = compiled(pretraining.init, out_shardings=everywhere)
    training = Training(
        start=lambda: init(key, world),
        restore=restore,
        update_many=compiled(repeated(pretraining.update, fit.steps_per_call), donate=0, out_shardings=everywhere),
        arguments=(world, data),
        evaluate=lambda state, step: (state, judge.validation(state.params)),
        new_best=save,
        size=sum(bucket.batches for bucket in plan.buckets) and fit.batch_size,
        wording=Wording(
            title="pretraining",
            update="step",
            score=SCORE,
            rate="windows_per_s",
            note=lambda row, speed, score: _note(row, epoch, score),
            advice="Lower pretrain.learning_rate in another run.",
        ),
    )
    schedule = Schedule(
        updates=fit.epochs * epoch,
        updates_per_call=fit.steps_per_call,
        evaluate_every=fit.evaluate_every * epoch,
        keep_latest=1,
        patience=fit.patience,
    )
    return run_training(training, ready.run, schedule)[1]


def _sizes(ready: Prepared, plan: Plan, pretraining: Pretraining, params: Params) -> str:
    rows, loss = len(ready.corpus.split.train), "all items"
    if plan.negatives:
        loss = f"{plan.negatives:,} sampled negatives"
    assert ready.world.recommendable is not None
    return (
        f"  {rows:,} rows in windows of up to {plan.buckets[-1].length}, softmax over {loss} of "
        f"{ready.world.num_recommendable:,}; {size_of(params):,} parameters; {pretraining.steps_per_epoch} steps per epoch"
    )


def _note(row: dict[str, Any], epoch: int, score: float) -> str:
    judged = "" if math.isnan(score) else f", validation {score:.4f}"
    return f"epoch {row['step'] / epoch:.1f}, loss {row['loss']:.3f}{judged}"


def _resumed(config: Config, path: str | Path) -> PretrainFolder:
    """Open the folder to resume; raises InputError if another recipe made it."""
    run = PretrainFolder.open(path)
    check_same_recipe(load_config(Config, run.config), config, run)
    return run


def check_same_recipe(before: Config, config: Config, run: PretrainFolder) -> None:
    """Raise InputError if what pretraining reads differs between the recipes."""
    for name in ("seed", "data", "encoder", "pretrain"):
        if to_dict(getattr(before, name)) != to_dict(getattr(config, name)):
            raise InputError(
                f"{run.config}: `{name}` differs; resume with `jaxrec pretrain {run.config} --run {run.path} "
                "--resume`, or start another run with --run."
            )
    if before.learner.policy != config.learner.policy:
        raise InputError(f"{run.config}: `learner.policy` differs; start another run with --run.")
