"""Fit simulated users to a log: the validity report, then the training and the judging ensemble."""

import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrec.config.schema import Config
from jaxrec.data import Log
from jaxrec.envs import logged
from jaxrec.envs.logged_world import make_world, save_simulator
from jaxrec.envs.rewards import feedback_weights
from jaxrec.evaluation.comeback_days import comeback_days
from jaxrec.evaluation.page import validity_page
from jaxrec.evaluation.replayed import simulated_beside_logged
from jaxrec.progress import note
from jaxrec.runs.item_table import embed, item_table
from jaxrec.runs.read_log import Corpus, user_marks
from jaxrec.runs.recipe import log_config
from jaxrec.runs.streams import stream
from jaxrec.runs.users.fitted_folder import FITS, LOG, OWN_TEXTS, PAGE, PARTS, USERS, VALIDITY, log_identity
from jaxrec.runs.users.kind import JUDGE, TRAIN
from jaxrec.runs.users.validity_lines import validity_lines
from jaxrec.storage.files import remove_unfinished, write_json, write_text
from jaxrec.supervised.comeback import ComebackModel
from jaxrec.supervised.comeback_fit import fit_comebacks
from jaxrec.supervised.own_texts import save_basis
from jaxrec.supervised.response import Response, load_response, save_response
from jaxrec.supervised.response_fit import fit_response
from jaxrec.supervised.validity import validity_report
from jaxrec.version import __version__


def fit_simulators(config: Config, corpus: Corpus, folder: Path, *, compare_text: bool = False) -> None:
    """Fit the missing parts of `folder`: first the validity report, which is also printed, then both ensembles."""
    recommendable = corpus.counts >= log_config(config).min_item_ratings
    logged.check_room(config.env.slate_size, config.response.history_length, int(recommendable.sum()))
    for place in (folder, folder / FITS):
        remove_unfinished(place)
    _note_sources(corpus, folder)
    if all((folder / part).exists() for part in PARTS):
        return
    vectors = embed(config, corpus.dataset.catalogue.texts)
    table = item_table(vectors, corpus.train)
    if not (folder / VALIDITY).is_file():
        report = _validity(config, corpus.dataset.log, vectors, table, compare_text)
        write_text(folder / PAGE, validity_page(report, "the simulated users", _facts(config, corpus)))
        write_json(folder / VALIDITY, report)
        for line in validity_lines(report):
            note(line)
    for name, log, seed in ((TRAIN, corpus.train, config.seed), (JUDGE, corpus.judge, config.seed + 1)):
        if not (folder / name).is_dir():
            members = _ensemble(config, log, vectors, seed, folder / FITS / name)
            comeback = _comeback(config, members, log, seed, name)
            save_simulator(folder / name, make_world(members, log, table, vectors.shape[1], recommendable, comeback))
    shutil.rmtree(folder / FITS, ignore_errors=True)


def _note_sources(corpus: Corpus, folder: Path) -> None:
    """Write descriptions of the log and the split of its users, before anything is fitted."""
    if not (folder / LOG).is_file():
        write_json(folder / LOG, log_identity(corpus))
    if not (folder / USERS).is_file():
        salt = log_identity(corpus)["halves"]
        marks, sides = np.array(user_marks(corpus.dataset.users, salt)), {TRAIN: corpus.train, JUDGE: corpus.judge}
        marked = {side: sorted(marks[np.unique(log.user)].tolist()) for side, log in sides.items()}
        write_json(folder / USERS, {"salt": salt, **marked})
    if corpus.own_texts is not None and not (folder / OWN_TEXTS).is_dir():
        save_basis(folder / OWN_TEXTS, corpus.own_texts)


def _validity(config: Config, log: Log, vectors: np.ndarray, table: np.ndarray, compare_text: bool) -> dict[str, Any]:
    response, test, report = validity_report(log, vectors, config.response, config.seed, compare_text=compare_text)
    world = make_world([response], log, table, vectors.shape[1])
    report |= simulated_beside_logged(config.env, world, log, test, stream(config, "replay"))
    if config.env.comeback_model is not None:
        weights = feedback_weights(config.env.reward, log.feedback_names)
        report["comeback_days"] = comeback_days(
            config.env.comeback_model, response, log, test, weights, config.env.slate_size
        )
    return report


def _ensemble(config: Config, log: Log, vectors: np.ndarray, seed: int, place: Path) -> list[Response]:
    """Fit the members of one simulator; each is saved next to `place` as soon as it is fitted."""
    members = []
    for n in range(config.response.members):
        path = place.with_name(f"{place.name}_{n}")
        if not path.is_dir():
            label = f"fit {place.name} users, {n + 1} of {config.response.members}"
            # Steps of two, so that the training and the judging simulator share no seed.
            save_response(path, fit_response(log, vectors, config.response, seed + 2 * n, label=label)[0])
        members.append(load_response(path))
    return members


def _comeback(config: Config, members: list[Response], log: Log, seed: int, name: str) -> ComebackModel | None:
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


def _facts(config: Config, corpus: Corpus) -> list[str]:
    log = corpus.dataset.log
    env, response = config.env, config.response
    leave = "no leave model" if env.leave is None else f"leave model {env.leave.name}"
    return [
        f"Log: {len(log):,} rows of {log.num_users:,} users and {log.num_items:,} items.",
        f"Response model: history of {response.history_length} items, width {response.width}, "
        f"{response.epochs} epochs; the report is about one fit, the simulator is the mean of {response.members} fits.",
        f"Environment: {env.requests} requests of {env.slate_size} items, {leave}. Seed {config.seed}.",
        f"jaxrec {__version__}, jax {jax.__version__}.",
    ]
