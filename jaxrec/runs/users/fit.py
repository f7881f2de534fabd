"""Fit simulated users to a log: the validity report, then the training and the judging ensemble."""

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrec.config.schema import Config
from jaxrec.data import Log
from jaxrec.data.item_features import encodings_as_json
from jaxrec.envs import logged
from jaxrec.envs.leave import leave_weights
from jaxrec.envs.logged_world import make_world, save_simulator
from jaxrec.envs.rewards import feedback_weights
from jaxrec.evaluation.comeback_days import comeback_days
from jaxrec.evaluation.page import validity_page
from jaxrec.evaluation.replayed import feedback_rates, session_lengths, simulated_beside_logged
from jaxrec.nets.tastes import Tastes
from jaxrec.progress import note
from jaxrec.runs.item_table import ItemVectors, embed, item_table
from jaxrec.runs.read_log import Corpus, user_marks
from jaxrec.runs.recipe import log_config
from jaxrec.runs.streams import stream
from jaxrec.runs.users.fitted_folder import (
    FEATURES,
    FITS,
    LOG,
    OWN_TEXTS,
    PAGE,
    PARTS,
    RESTORE,
    USERS,
    VALIDITY,
    log_identity,
)
from jaxrec.runs.users.kind import JUDGE, TRAIN
from jaxrec.runs.users.log_checks import check_kinds
from jaxrec.runs.users.validity_lines import validity_lines
from jaxrec.storage.digests import is_sealed, seal
from jaxrec.storage.files import read_json_object, remove_unfinished, write_json, write_text
from jaxrec.supervised.comeback import ComebackModel
from jaxrec.supervised.comeback_fit import StatesAfter, fit_comebacks, states_after, taste_states
from jaxrec.supervised.contrast import always_one
from jaxrec.supervised.leaving import LeaveModel, fit_leaving
from jaxrec.supervised.own_texts import save_basis
from jaxrec.supervised.response import Response, load_response, save_response
from jaxrec.supervised.response_fit import fit_response
from jaxrec.supervised.taste_path import drawn, follow
from jaxrec.supervised.taste_strengths import Strengths
from jaxrec.supervised.tastes_fit import fit_tastes
from jaxrec.supervised.validity import validity_of_response, validity_of_tastes
from jaxrec.types import Array
from jaxrec.version import __version__


def fit_simulators(config: Config, corpus: Corpus, folder: Path, *, compare_text: bool = False) -> None:
    """Fit the missing parts of `folder`: first the validity report, which is also printed, then both simulators."""
    recommendable = corpus.counts >= log_config(config).min_item_ratings
    logged.observed_rows(config.env, int(recommendable.sum()))
    if not all((folder / part).exists() for part in PARTS):
        check_kinds(config, corpus)  # before anything is written: a refused log leaves a folder that is free
    for place in (folder, folder / FITS):
        remove_unfinished(place)
    _note_sources(corpus, folder)
    if all((folder / part).exists() for part in PARTS):
        if is_sealed(folder / TRAIN) and not is_sealed(folder):  # stopped before its last line
            seal(folder)
        return
    for line in _successes_only(config, corpus.dataset.log):
        note(line)
    vectors = ItemVectors(embed(config, corpus.dataset.catalogue.texts), corpus.features.blocks)
    table = item_table(vectors, corpus.train)
    if not (folder / VALIDITY).is_file():
        validity = _validity_of_tastes if config.env.response == "tastes" else _validity_of_response
        report = validity(config, corpus.dataset.log, vectors, table, compare_text)
        write_text(folder / PAGE, validity_page(report, "the simulated users", _facts(config, corpus, report)))
        write_json(folder / VALIDITY, report)
        for line in validity_lines(report):
            note(line)
    for name, log, seed in ((TRAIN, corpus.train, config.seed), (JUDGE, corpus.judge, config.seed + 1)):
        if not (folder / name).is_dir():
            ones = always_one(corpus.dataset.log)
            fitted, members = _fitted(config, log, vectors, seed, folder, name, ones)
            comeback, leave = _comeback(config, members, log, seed, name), _leave(config, log)
            world = make_world(fitted, log, table, vectors.text.shape[1], recommendable, comeback, leave)
            save_simulator(folder / name, world)
    shutil.rmtree(folder / FITS, ignore_errors=True)
    seal(folder)


def _fitted(
    config: Config, log: Log, vectors: ItemVectors, seed: int, folder: Path, name: str, ones: np.ndarray
) -> tuple[Tastes | list[Response], Sequence[StatesAfter]]:
    """Fit the users of one side; gives them, and the states that the comeback model reads, for each member."""
    if config.env.response == "tastes":
        strengths = Strengths(**read_json_object(folder / VALIDITY, RESTORE)["fit"]["strengths"])
        tastes, _ = fit_tastes(
            log,
            vectors.text,
            config.tastes,
            seed,
            others=vectors.features,
            strengths=strengths,
            ones=ones,
            label=f"fit {name} users",
        )
        return tastes, [taste_states(tastes)]
    members = _ensemble(config, log, vectors, seed, folder / FITS / name)
    return members, [partial(states_after, member) for member in members]


def _successes_only(config: Config, log: Log) -> Iterator[str]:
    """Say what is assumed about kinds of feedback that are 1 in every row."""
    if config.env.response != "tastes":
        return
    for name, one in zip(log.feedback_names, always_one(log), strict=True):
        if one:
            yield (
                f"  every row of the log is '{name}' = 1: fitted against {config.tastes.negatives} items per row that "
                f"the user does not have (tastes.negatives), assuming tastes.base_rate {config.tastes.base_rate:g}"
            )


def _note_sources(corpus: Corpus, folder: Path) -> None:
    """Write descriptions of the log and the split of its users, before anything is fitted."""
    if corpus.features.blocks and not (folder / FEATURES).is_file():  # before the log, after which it is looked for
        write_json(folder / FEATURES, encodings_as_json(corpus.features.encodings))
    if not (folder / LOG).is_file():
        write_json(folder / LOG, log_identity(corpus))
    if not (folder / USERS).is_file():
        salt = log_identity(corpus)["halves"]
        marks, sides = np.array(user_marks(corpus.dataset.users, salt)), {TRAIN: corpus.train, JUDGE: corpus.judge}
        marked = {side: sorted(marks[np.unique(log.user)].tolist()) for side, log in sides.items()}
        write_json(folder / USERS, {"salt": salt, **marked})
    if corpus.own_texts is not None and not (folder / OWN_TEXTS).is_dir():
        save_basis(folder / OWN_TEXTS, corpus.own_texts)


def _validity_of_tastes(
    config: Config, log: Log, vectors: ItemVectors, table: np.ndarray, compare_text: bool
) -> dict[str, Any]:
    tastes, test, report = validity_of_tastes(
        log, vectors.text, config.tastes, config.seed, others=vectors.features, compare_text=compare_text
    )
    world = make_world(tastes, log, table, vectors.text.shape[1], leave=_leave(config, log.take(~test)))

    def persons(rows: np.ndarray, key: Array) -> Array:
        beliefs = follow(tastes, log, rows, beliefs=True).beliefs
        assert beliefs is not None
        return drawn(tastes, beliefs, key)

    strengths = Strengths(**report["fit"]["strengths"])
    report |= {
        "feedback_rates": _rates_of_own_rows(config, log, vectors, table, strengths),
        "session_lengths": {"left_out": "the log holds successes only, and not what was shown"}
        if always_one(log).all()
        else session_lengths(config.env, world, log, test, stream(config, "replay"), persons),
    }
    return report | _fitted_leaving(config, log)[1] | _comeback_days(config, taste_states(tastes), log, test)


def _rates_of_own_rows(
    config: Config, log: Log, vectors: ItemVectors, table: np.ndarray, strengths: Strengths
) -> dict[str, Any]:
    """Compare feedback rates over the latest fifth of every user's rows, with tastes fitted to the user's other rows.

    Simulated users are people with known logs, so they are compared with the same people, not with new ones.
    """
    offsets, place = log.offsets, np.arange(len(log)) - log.offsets[log.user]
    own, ones = place >= np.ceil(0.8 * np.diff(offsets))[log.user], always_one(log)
    if not own.any() or ones.all():
        return {}
    tastes, _ = fit_tastes(
        log.take(~own),
        vectors.text,
        config.tastes,
        config.seed,
        others=vectors.features,
        strengths=strengths,
        ones=ones,
        label="fit rates",
    )
    world = make_world(tastes, log, table, vectors.text.shape[1], leave=_leave(config, log.take(~own)))

    def persons(rows: np.ndarray, key: Array) -> Array:
        assert tastes.draws is not None
        version = jax.random.randint(key, (len(rows),), 0, len(tastes.draws))
        return tastes.draws[version, log.user[rows]]

    rates = feedback_rates(config.env, world, log, own, stream(config, "rates"), persons)
    return {name: rates[name] for name, one in zip(log.feedback_names, ones, strict=True) if not one}


def _validity_of_response(
    config: Config, log: Log, vectors: ItemVectors, table: np.ndarray, compare_text: bool
) -> dict[str, Any]:
    response, test, report = validity_of_response(
        log, vectors.joined, config.response, config.seed, compare_text=compare_text
    )
    world = make_world([response], log, table, vectors.text.shape[1], leave=_leave(config, log.take(~test)))
    report |= simulated_beside_logged(config.env, world, log, test, stream(config, "replay"))
    return report | _fitted_leaving(config, log)[1] | _comeback_days(config, partial(states_after, response), log, test)


def _fitted_leaving(config: Config, log: Log) -> tuple[LeaveModel | None, dict[str, Any]]:
    """When users leave, as fitted to a log, and a report; nothing if the recipe's leave model is not fitted."""
    leave = config.env.leave
    if leave is None or leave.name != "hazard":
        return None, {}
    weights = leave_weights(leave, config.env.reward, log.feedback_names)
    model, report = fit_leaving(log, leave.gap_hours, weights, config.env.slate_size)
    return model, {"leaving": report}


def _leave(config: Config, log: Log) -> LeaveModel | None:
    return _fitted_leaving(config, log)[0]


def _comeback_days(config: Config, states: StatesAfter, log: Log, test: np.ndarray) -> dict[str, Any]:
    """The part of the report about comebacks; empty if the recipe has no comeback model."""
    env = config.env
    if env.comeback_model is None:
        return {}
    weights = feedback_weights(env.reward, log.feedback_names)
    return {"comeback_days": comeback_days(env.comeback_model, states, log, test, weights, env.slate_size)}


def _ensemble(config: Config, log: Log, vectors: ItemVectors, seed: int, place: Path) -> list[Response]:
    """Fit the members of one simulator; each is saved next to `place` as soon as it is fitted."""
    members = []
    for n in range(config.response.members):
        path = place.with_name(f"{place.name}_{n}")
        if not path.is_dir():
            label = f"fit {place.name} users, {n + 1} of {config.response.members}"
            # Steps of two, so that the training and the judging simulator share no seed.
            save_response(path, fit_response(log, vectors.joined, config.response, seed + 2 * n, label=label)[0])
        members.append(load_response(path))
    return members


def _comeback(config: Config, members: Sequence[StatesAfter], log: Log, seed: int, name: str) -> ComebackModel | None:
    """Fit the comeback model of one simulator, if the recipe has one; prints what it was fitted to."""
    env = config.env
    if env.comeback_model is None:
        return None
    weights = feedback_weights(env.reward, log.feedback_names)
    model, report = fit_comebacks(members, log, env.comeback_model, weights, env.slate_size, seed)
    if report["source"] == "seed":
        note(f"  comeback days of {name} users: drawn from seed {report['seed']}, since {report['why']}")
    else:
        note(
            f"  comeback days of {name} users, fitted to {report['comebacks']:,} comebacks in the log: mean "
            f"{report['fitted_mean_day']:.2f} fitted, {report['logged_mean_day']:.2f} logged; log loss "
            f"{report['nll']:.3f} per comeback, with a constant probability {report['nll_one_chance']:.3f}"
        )
    return model


def _facts(config: Config, corpus: Corpus, report: dict[str, Any]) -> list[str]:
    log = corpus.dataset.log
    env, response = config.env, config.response
    leave = "no leave model" if env.leave is None else f"leave model {env.leave.name}"
    if env.response == "tastes":
        tastes = config.tastes
        made_of = report["fit"]["made_of"]
        users = f"Tastes of {tastes.width} dimensions, item vectors made of {made_of}, {tastes.draws} draws."
    else:
        users = (
            f"Response model: history of {response.history_length} items, width {response.width}, {response.epochs} "
            f"epochs; the report is about one fit, the simulator is the mean of {response.members} fits."
        )
    return [
        f"Log: {len(log):,} rows of {log.num_users:,} users and {log.num_items:,} items.",
        users,
        f"Environment: {env.requests} requests of {env.slate_size} items, {leave}. Seed {config.seed}.",
        f"jaxrec {__version__}, jax {jax.__version__}.",
    ]
