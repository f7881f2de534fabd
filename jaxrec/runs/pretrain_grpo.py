"""Reinforcement of a generator: `jaxrec pretrain --from RUN` with `pretrain.loss: grpo`."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.schema import Config
from jaxrec.evaluation.held_out import Score, held_out_tables
from jaxrec.evaluation.measures import mean_and_half_width
from jaxrec.evaluation.report import START
from jaxrec.foreign import quoted
from jaxrec.generate.recommender import Catalogue
from jaxrec.generate.reinforce import ReinforceData, Reinforcement, Sizes, make_reinforcement, make_states, rows_ahead
from jaxrec.generate.saved import SavedGenerator, load_generator
from jaxrec.nets.generator import Shape
from jaxrec.progress import note
from jaxrec.runs.half_written import read_account
from jaxrec.runs.pretrain_inputs import observed_history
from jaxrec.runs.pretrain_judge import HELD_OUT, LIKED, POLICY, Metrics
from jaxrec.runs.read_log import Corpus
from jaxrec.runs.users.fitted_folder import log_identity
from jaxrec.storage.stage_folders import PretrainFolder
from jaxrec.supervised.pretrain import PretrainData
from jaxrec.supervised.pretrain_batches import Plan, steps_per_epoch
from jaxrec.types import World

LOSS = "grpo"  # value of `pretrain.loss`
LEAD = "ndcg@10_minus_start"  # in evaluation.json, and half the width of its 95% interval


class Reinforced(NamedTuple):
    """What a reinforcement adds to the training of a generator."""

    reinforcement: Reinforcement
    data: ReinforceData
    words: str  # for the line that describes the training


def check_start(config: Config) -> None:
    """Raise InputError if there is no run to start from."""
    source = config.pretrain.start_from
    if not source:
        raise InputError("pretrain.loss: grpo improves a trained generator; name its run with --from RUN.")
    if not Path(source).is_dir():
        raise InputError(f"pretrain.start_from: no folder {quoted(source)}; give a run of a generator with --from RUN.")
    if config.generative.tokens:
        raise InputError(f"generative.tokens: the codes are those of {source}; remove it.")


def codes_of_start(config: Config) -> str:
    """The folder of the codes of the run that learning starts from; empty for other trainings."""
    return str(Path(config.pretrain.start_from) / "tokens") if config.pretrain.loss == LOSS else ""


def load_start(config: Config, corpus: Corpus, shape: Shape, world: World, codes: np.ndarray) -> SavedGenerator:
    """The generator that learning starts from.

    Raises InputError unless it was trained on the same training rows, with this network, codes, vectors and feedback.
    """
    source = config.pretrain.start_from
    run = PretrainFolder.open(source)
    saved = load_generator(run.policy)
    if read_account(run.account).get("log") != log_identity(corpus):
        raise InputError(
            f"pretrain.start_from: {source} was trained on another log or split, so it may have read the test rows of "
            "this one; use its data section and seed."
        )
    if saved.dense is not None:
        raise InputError(
            f"pretrain.start_from: {source} has the towers of generative.dense, which reinforcement does not train; "
            "start from a run without them."
        )
    for name, now in shape._asdict().items():
        was = getattr(saved.shape, name)
        if name != "dropout" and was != now:
            raise InputError(
                f"pretrain.start_from: {source} has the network setting {name}={was}, this recipe {now}; use the "
                "section `generative` of its config.yaml."
            )
    same = np.array_equal(saved.codes, codes)
    if shape.item_rows and saved.table is not None:
        same &= np.array_equal(np.asarray(world.item_table), saved.table)
    if not same or saved.rows != config.generative.history:
        raise InputError(
            f"pretrain.start_from: {source} reads other codes, vectors of items or rows of a history than this "
            "recipe; use its config.yaml."
        )
    return saved


def make_reinforced(
    config: Config,
    corpus: Corpus,
    rows: PretrainData,
    plan: Plan,
    catalogue: Catalogue,
    start: SavedGenerator,
) -> Reinforced:
    """The functions and data of the training. Raises InputError for more samples than the catalogue has items."""
    fit, train, count = config.pretrain, corpus.split.train, len(start.recommendable)
    if config.generative.grpo.samples >= count:
        raise InputError(
            f"generative.grpo.samples: expected less than the {count} recommendable items, got "
            f"{config.generative.grpo.samples}."
        )
    sizes = Sizes(
        shape=start.shape,
        read=start.rows,
        observed=max(observed_history(config), start.rows),
        ahead=rows_ahead(train, fit.gamma, np.asarray(rows.rows.moment)),
        repeats=start.spec.repeats,
    )
    states = make_states(train, np.asarray(rows.rows.target))
    data = ReinforceData(rows.rows, states, catalogue, start.params)
    steps = fit.epochs * steps_per_epoch(fit, plan)
    words = (
        f"  from {fit.start_from} (step {start.step}): {fit.batch_size} of {len(states.row):,} states per step, "
        f"{config.generative.grpo.samples} samples each, rewards up to {sizes.ahead} rows ahead"
    )
    return Reinforced(make_reinforcement(sizes, fit, config.generative.grpo, steps), data, words)


def add_leads(corpus: Corpus, scores: dict[str, Score], test: dict[str, Metrics], length: int) -> None:
    """Add to the metrics of the policy how far its NDCG@10 is above that of the start, paired by user, and say it."""
    tables = [held_out_tables(scores[name], corpus.split, (10,), length) for name in (POLICY, START)]
    pairs: dict[str, Any] = {HELD_OUT: [one.all_ndcg for one in tables]}
    if tables[0].liked is not None:
        pairs[LIKED] = [one.liked_ndcg for one in tables]
    for kind, (own, before) in pairs.items():
        if kind not in test:
            continue
        lead, half = mean_and_half_width(own - before)
        test[kind][POLICY] |= {LEAD: lead, f"{LEAD}_half_width": half}
        where = "test rows" if kind == HELD_OUT else "liked test rows"
        note(f"  NDCG@10 of {where}: {before.mean():.4f} before, {own.mean():.4f} after; {lead:+.4f} ±{half:.4f}")
