"""Pretrain a generator instead of a policy: `jaxrec pretrain` with `pretrain.model: generative`."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.schema import Config
from jaxrec.evaluation.held_out import Score, held_out_metrics
from jaxrec.evaluation.report import START
from jaxrec.evaluation.scorers import Scorer, compiled_scores, policy_scorer
from jaxrec.generate.dense import DenseItems
from jaxrec.generate.recommender import Catalogue, scores
from jaxrec.generate.saved import SavedGenerator, Tokens, catalogue_of, load_generator, load_tokens, save_generator
from jaxrec.generate.training import DenseTraining, GenerativeData, make_generative
from jaxrec.nets.generator import Shape
from jaxrec.ops.sizes import watched
from jaxrec.progress import note
from jaxrec.runs import pretrain_grpo as grpo
from jaxrec.runs.fit_encoder import size_of
from jaxrec.runs.host_loop import Outcome, Training, run_training
from jaxrec.runs.pretrain_judge import POLICY, Metrics, test_metrics, text_vectors, validation_rows
from jaxrec.runs.pretrain_loop import schedule, wording
from jaxrec.runs.read_log import Corpus, check_same_catalogue
from jaxrec.runs.recipe import log_config
from jaxrec.runs.streams import stream
from jaxrec.runs.tokens import item_vectors, write_tokens
from jaxrec.serve import load_policy
from jaxrec.sharding.compile import compiled, repeated
from jaxrec.sharding.mesh import make_mesh, replicated
from jaxrec.storage.checkpoint import Checkpoints
from jaxrec.storage.checkpoint_arrays import abstract_like
from jaxrec.storage.digests import DESCRIPTION, is_whole
from jaxrec.storage.files import atomic_path
from jaxrec.storage.inside import copy_folder
from jaxrec.storage.stage_folders import PretrainFolder
from jaxrec.supervised.pretrain import PretrainData
from jaxrec.supervised.pretrain_batches import Plan, steps_per_epoch
from jaxrec.types import Array, EnvSpec, Observation, Params, World

CODES_ALONE = "policy_without_dense"  # in evaluation.json
COMPARED = "compared"  # and the encoder of that policy, in evaluation.json


class Ready(NamedTuple):
    """The checked inputs of a training."""

    config: Config
    run: PretrainFolder
    corpus: Corpus
    spec: EnvSpec
    world: World
    tokens: Tokens
    shape: Shape
    catalogue: Catalogue
    start: SavedGenerator | None = None  # of `pretrain.loss: grpo`


def check_generative(config: Config) -> None:
    """Raise InputError for settings of `pretrain` that a generator does not have."""
    fit, default = config.pretrain, type(config.pretrain)()
    if fit.loss == "reinforce":
        raise InputError("pretrain.loss: generators learn by cross_entropy, and then by grpo; set it to one of these.")
    if fit.loss == grpo.LOSS:
        grpo.check_start(config)
        if config.generative.dense:
            raise InputError("generative.dense: reinforcement does not train the towers; set it to 0.")
    elif config.generative.grpo != type(config.generative)().grpo:
        raise InputError("generative.grpo: only read with pretrain.loss=grpo; set that, or remove it.")
    unread = ("crop", "mask", "reorder") if fit.loss == grpo.LOSS else ("start_from",)
    for name in ("negatives", "feedback_weight", *unread):
        if getattr(fit, name) != getattr(default, name):
            loss = f" and pretrain.loss={fit.loss}" if name in unread else ""
            raise InputError(f"pretrain.{name}: not read with pretrain.model=generative{loss}; remove it.")
    if config.encoder.train != type(config.encoder)().train:
        raise InputError("encoder.train: generators do not tune the encoder of the items; set it to frozen.")


def prepare(config: Config, run: PretrainFolder, corpus: Corpus, spec: EnvSpec, world: World) -> Ready:
    """Read or make the codes of the catalogue, and describe the network.

    Raises InputError for codes of another catalogue, damaged ones, and a `generative.compare` of another log.
    """
    fit = config.generative
    tokens = _tokens(config, run, corpus)
    shape = Shape(
        sizes=tokens.sizes,
        kind=fit.shape,
        width=fit.width,
        layers=fit.layers,
        heads=fit.heads,
        hidden=fit.hidden,
        dropout=config.pretrain.dropout,
        buckets=fit.buckets,
        max_distance=fit.max_distance,
        item_rows=fit.item_rows,
    )
    dense = dense_items(config, corpus, world)
    catalogue = catalogue_of(tokens.codes, shape, np.asarray(world.item_table), world.offered(), dense)
    if fit.compare:  # before hours of training
        check_same_catalogue(load_policy(fit.compare), corpus)
    start = grpo.load_start(config, corpus, shape, world, tokens.codes) if config.pretrain.loss == grpo.LOSS else None
    return Ready(config, run, corpus, spec, world, tokens, shape, catalogue, start)


def dense_items(config: Config, corpus: Corpus, world: World) -> DenseItems | None:
    """What the dense check knows of the items; None without one."""
    if not config.generative.dense:
        return None
    offered, touched = world.offered(), np.unique(corpus.split.train.item)
    known, cold = np.intersect1d(offered, touched), np.setdiff1d(offered, touched)
    known, cold = known.astype(np.int32), cold.astype(np.int32)
    order = np.float32(config.generative.dense_order)
    return DenseItems(item_vectors(config, corpus), known, cold, order)  # type: ignore[arg-type]


def _tokens(config: Config, run: PretrainFolder, corpus: Corpus) -> Tokens:
    """The codes in RUN/tokens, so that a resumed run reads the same again: new ones, or a copy of `generative.tokens`.

    Raises InputError if they are damaged, or are those of another catalogue.
    """
    named, own = config.generative.tokens or grpo.codes_of_start(config), run.path / "tokens"
    if (own / DESCRIPTION).is_file():
        named = ""
    elif not named:
        return write_tokens(config, corpus, own).tokens
    tokens = load_tokens(named or own)
    if tokens.ids != corpus.dataset.catalogue.ids:
        setting = "generative.tokens" if config.generative.tokens or not named else "pretrain.start_from"
        raise InputError(
            f"{setting}: {Path(named or own)} has the codes of {len(tokens.ids):,} items of another catalogue "
            f"than the {len(corpus.dataset.catalogue):,} of this log; make them with `jaxrec tokens` and this recipe."
        )
    if not named:
        return tokens
    with atomic_path(own) as temporary:
        copy_folder(Path(named), temporary)
    return load_tokens(own)  # what was copied, if the other folder has changed meanwhile


def train_generator(ready: Ready, data: PretrainData, plan: Plan) -> tuple[Outcome, dict[str, Metrics]]:
    """Train to the end of the recipe; how it ended, and metrics of the test rows unless a signal stopped it."""
    outcome = _train(ready, data, plan)
    if outcome.interrupted:
        return outcome, {}
    saved = load_generator(ready.run.policy)
    return outcome, _test(ready, jax.tree.map(np.asarray, saved.params))


def _train(ready: Ready, rows: PretrainData, plan: Plan) -> Outcome:
    config, fit = ready.config, ready.config.pretrain
    learning = _learning(ready, rows, plan)
    everywhere, epoch = replicated(make_mesh(config.train.devices)), steps_per_epoch(fit, plan)
    data = jax.device_put(learning.data, everywhere)
    key = stream(config, "generative")
    abstract = jax.eval_shape(learning.init, key, data)
    abstract = abstract_like(abstract, jax.tree.map(lambda _: everywhere, abstract))
    init = compiled(learning.init, out_shardings=everywhere)
    judge = validation_judge(ready)

    def restore(checkpoints: Checkpoints, step: int) -> Any:
        return checkpoints.restore(step, abstract)

    def save(state: Any, step: int) -> None:
        _save(ready, state.params, step)

    note(
        f"  {len(ready.corpus.split.train):,} rows in windows of up to {plan.buckets[-1].length}; codes of "
        f"{' x '.join(str(size) for size in ready.shape.sizes)}; {size_of(abstract.params):,} parameters; {epoch} "
        "steps per epoch"
    )
    if learning.words:
        note(learning.words)
    loop = Training(
        start=lambda: init(key, data),
        restore=restore,
        update_many=compiled(
            repeated(watched(learning.update, lambda state: state.params), fit.steps_per_call),
            donate=0,
            out_shardings=everywhere,
        ),
        arguments=(data,),
        evaluate=lambda state, step: (state, judge(state.params)),
        new_best=save,
        trained=lambda state: state.params,
        best_is_kept=lambda: is_whole(ready.run.policy),
        size=learning.size,
        wording=wording(epoch),
    )
    when = schedule(config, epoch)._replace(evaluate_start=ready.start is not None)
    return run_training(loop, ready.run, when)[1]


class _Learning(NamedTuple):
    """The functions of a training, and the data of all its steps."""

    init: Callable[[Array, Any], Any]  # key, data -> state
    update: Callable[[Any, Any], tuple[Any, Any]]
    data: Any
    size: int  # rows or states of a step
    words: str = ""


def _learning(ready: Ready, rows: PretrainData, plan: Plan) -> _Learning:
    """Cross-entropy, or reinforcement from a start."""
    config, fit = ready.config, ready.config.pretrain
    if ready.start is not None:
        made = grpo.make_reinforced(config, ready.corpus, rows, plan, ready.catalogue, ready.start)
        reinforcement, states = made.reinforcement, fit.batch_size
        return _Learning(
            lambda key, data: reinforcement.init(key, data.start), reinforcement.update, made.data, states, made.words
        )
    table = ready.catalogue.table
    sizes = len(ready.spec.feedback), 0 if table is None else table.shape[1], ready.spec.context_size
    towers = ready.catalogue.dense
    dense = None
    if towers is not None:
        own = config.generative.dense_order > 0
        dense = DenseTraining(config.generative.dense, (len(towers.vectors), towers.vectors.shape[1]), own, fit.chunk)
    training = make_generative(ready.shape, fit, plan, *sizes, dense)
    size = -(-len(ready.corpus.split.train) // steps_per_epoch(fit, plan))
    data = GenerativeData(rows.rows, ready.catalogue)
    return _Learning(lambda key, _: training.init(key), training.update, data, size)


def generator_scorer(ready: Ready, params: Params) -> Scorer:
    """A generator as a scorer: its beams have their chances, other items -inf."""
    fit, repeats = ready.config.generative, ready.spec.repeats

    def score(arrays: tuple[Params, Catalogue], obs: Observation) -> Array:
        return scores(ready.shape, *arrays, obs, fit.history, fit.beams, repeats=repeats)

    return Scorer(score, (params, ready.catalogue))


def validation_judge(ready: Ready) -> Callable[[Params], float]:
    """NDCG@10 on validation rows, as `jaxrec.runs.pretrain_judge` measures it of policies."""
    split, program = validation_rows(ready.config, ready.corpus), compiled(generator_scorer(ready, {}).score)

    def judge(params: Params) -> float:
        def score(obs: Observation) -> Array:
            return program((params, ready.catalogue), obs)

        return held_out_metrics(score, split, (10,), ready.spec.history_length)["ndcg@10"]

    return judge


def _test(ready: Ready, params: Params) -> dict[str, Metrics]:
    """Metrics of the test rows by kind of target: of the generator, simple recommenders and another run's policy."""
    config, corpus, world, length = ready.config, ready.corpus, ready.world, ready.spec.history_length
    # One program for all parameters of the same tree; a program of several generators takes long to compile.
    program = compiled(generator_scorer(ready, {}).score)
    ranked: dict[str, Score] = {POLICY: partial(program, (params, ready.catalogue))}
    if ready.start is not None:
        ranked[START] = partial(program, (ready.start.params, ready.catalogue))
    if ready.catalogue.dense is not None:
        alone = catalogue_of(ready.tokens.codes, ready.shape, np.asarray(world.item_table), world.offered())
        ranked[CODES_ALONE] = partial(program, (params, alone))
    ranked |= compiled_scores(_compared(config))
    texts = text_vectors(corpus, ready.spec, world)
    test = test_metrics(config, corpus, world, texts, ranked, length)
    if ready.start is not None:
        grpo.add_leads(corpus, ranked, test, length)
    return test


def _compared(config: Config) -> dict[str, Scorer]:
    """The policy of `generative.compare`, named by its history encoder."""
    if not config.generative.compare:
        return {}
    saved = load_policy(config.generative.compare)
    scorer = policy_scorer(saved.policy, saved.params, saved.items, saved.world)
    return {f"{COMPARED}_{saved.network.encoder}": scorer}


def _save(ready: Ready, params: Params, step: int) -> None:
    catalogue, world, fit = ready.corpus.dataset.catalogue, ready.world, ready.config.generative
    saved = SavedGenerator(
        shape=ready.shape,
        rows=fit.history,
        beams=fit.beams,
        params=jax.tree.map(np.asarray, params),
        codes=ready.tokens.codes,
        table=np.asarray(world.item_table) if fit.item_rows else None,
        recommendable=world.offered().astype(np.int32),
        usual_context=None if world.usual_context is None else np.asarray(world.usual_context),
        spec=dataclasses.replace(ready.spec, history_length=fit.history),
        feedback=log_config(ready.config).feedback,
        ids=catalogue.ids,
        titles=catalogue.titles,
        step=step,
        dense=jax.tree.map(np.asarray, ready.catalogue.dense),
    )
    save_generator(ready.run.policy, saved)
