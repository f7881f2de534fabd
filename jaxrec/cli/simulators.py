"""The folder of simulated users that `jaxrec train` and `jaxrec fit-simulator` leave.

FOLDER/train/, judge/   the users that train and, fitted to other people, the users that judge
       log.json         what they were fitted to
       users.json       who trains and who judges, by marks of pseudonyms: a later log must not move anybody
       own_texts/       the basis of context columns that tell what users wrote, where the recipe has them
       validity.json    how far to believe them; validity.html for reading
       fits/            finished members of an ensemble, until the others are fitted too

Every part is written whole or not at all, and what is there is kept: an interrupted fit goes on where it stopped.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxrec
from jaxrec.checks import InputError
from jaxrec.cli.experiment import (
    JUDGE,
    LOG,
    OWN_TEXTS,
    TRAIN,
    USERS,
    ContextColumns,
    Corpus,
    Sides,
    embed,
    item_table,
    log_config,
    stream,
    user_marks,
)
from jaxrec.config.logged import LoggedConfig
from jaxrec.config.schema import Config
from jaxrec.data import Log
from jaxrec.data.log import ROW_COLUMNS
from jaxrec.envs import logged
from jaxrec.envs.logged_world import load_simulator, make_world, save_simulator
from jaxrec.envs.rewards import feedback_weights
from jaxrec.evaluate.comeback_days import comeback_days
from jaxrec.evaluate.page import figure, findings, validity_page
from jaxrec.evaluate.replayed import simulated_beside_logged
from jaxrec.storage.files import atomic_path, remove_unfinished, write_json, write_text
from jaxrec.supervised.comeback import ComebackModel
from jaxrec.supervised.comeback_fit import fit_comebacks
from jaxrec.supervised.own_texts import load_basis, save_basis
from jaxrec.supervised.response import Response, load_response, save_response
from jaxrec.supervised.response_fit import fit_response
from jaxrec.supervised.validity import validity_report
from jaxrec.types import World

VALIDITY, PAGE, FITS = "validity.json", "validity.html", "fits"
PARTS = (LOG, USERS, VALIDITY, PAGE, TRAIN, JUDGE)


def prepare_simulators(config: Config, corpus: Corpus, folder: Path) -> World:
    """The users a run trains in: copied into `folder` from `env.path` where the recipe names one, else fitted."""
    assert isinstance(config.env, LoggedConfig)
    if config.env.path and not folder.exists():
        _copy(Path(config.env.path), corpus, folder)
    _check_same_log(folder, corpus, f"{folder / LOG}: the log has changed since this run began; begin another run.")
    if not config.env.path:
        fit_simulators(config, corpus, folder)
    return load_simulator(folder / TRAIN)


def fit_simulators(config: Config, corpus: Corpus, folder: Path, *, compare_text: bool = False) -> None:
    """Fit what `folder` lacks: first the report of how valid such fits are, printed too, then the two ensembles."""
    assert isinstance(config.env, LoggedConfig)
    recommendable = corpus.counts >= log_config(config).min_item_ratings
    logged.check_room(config.env.slate_size, config.response.history_length, int(recommendable.sum()))
    for place in (folder, folder / FITS):
        remove_unfinished(place)
    if not (folder / LOG).is_file():
        write_json(folder / LOG, log_identity(corpus))
    if not (folder / USERS).is_file():
        salt = log_identity(corpus)["halves"]
        marks, sides = np.array(user_marks(corpus.dataset.users, salt)), {TRAIN: corpus.train, JUDGE: corpus.judge}
        marked = {side: sorted(marks[np.unique(log.user)].tolist()) for side, log in sides.items()}
        write_json(folder / USERS, {"salt": salt, **marked})
    if corpus.own_texts is not None and not (folder / OWN_TEXTS).is_dir():
        save_basis(folder / OWN_TEXTS, corpus.own_texts)
    if all((folder / part).exists() for part in PARTS):
        return
    vectors = embed(config, corpus.dataset.catalogue.texts)
    table = item_table(vectors, corpus.train)
    if not (folder / VALIDITY).is_file():
        report = _validity(config, corpus.dataset.log, vectors, table, compare_text)
        write_text(folder / PAGE, validity_page(report, "the simulated users", _facts(config, corpus)))
        write_json(folder / VALIDITY, report)
        print_validity(report)
    for name, log, seed in ((TRAIN, corpus.train, config.seed), (JUDGE, corpus.judge, config.seed + 1)):
        if not (folder / name).is_dir():
            members = _ensemble(config, log, vectors, seed, folder / FITS / name)
            comeback = _comeback(config, members, log, seed, name)
            save_simulator(folder / name, make_world(members, log, table, vectors.shape[1], recommendable, comeback))
    shutil.rmtree(folder / FITS, ignore_errors=True)


def _validity(config: Config, log: Log, vectors: np.ndarray, table: np.ndarray, compare_text: bool) -> dict[str, Any]:
    assert isinstance(config.env, LoggedConfig)
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
    """Members of one simulator; each is kept in `place` as soon as it is fitted."""
    members = []
    for n in range(config.response.members):
        path = place.with_name(f"{place.name}_{n}")
        if not path.is_dir():
            label = f"fit {place.name} users, {n + 1} of {config.response.members}"
            # Steps of two: the training simulator and the judge share no seed.
            save_response(path, fit_response(log, vectors, config.response, seed + 2 * n, label=label)[0])
        members.append(load_response(path))
    return members


def _comeback(config: Config, members: list[Response], log: Log, seed: int, name: str) -> ComebackModel | None:
    """When users of one simulator come back, where the recipe asks for it; prints what the days were fitted to."""
    env = config.env
    assert isinstance(env, LoggedConfig)
    if env.comeback_model is None:
        return None
    weights = feedback_weights(env.reward, log.feedback_names)
    model, report = fit_comebacks(members, log, env.comeback_model, weights, env.slate_size, seed)
    if report["source"] == "seed":
        print(f"  comeback days of {name} users: drawn from seed {report['seed']}, since {report['why']}")
    else:
        print(
            f"  comeback days of {name} users, fitted to {report['comebacks']:,} comebacks in the log: mean "
            f"{report['fitted_mean_day']:.2f} fitted, {report['logged_mean_day']:.2f} logged; log loss "
            f"{report['nll']:.3f} a return, with one chance for everybody {report['nll_one_chance']:.3f}"
        )
    return model


def _copy(source: Path, corpus: Corpus, folder: Path) -> None:
    """Copy finished simulators; raises InputError unless they were fitted to this log and these halves of its users."""
    missing = [part for part in PARTS if not (source / part).exists()]
    if missing:
        raise InputError(
            f"env.path: {source} holds no finished simulators ({missing[0]} is missing); give a folder that "
            "`jaxrec fit-simulator` wrote."
        )
    _check_same_log(
        source,
        corpus,
        f"env.path: {source} was fitted to another log or to other halves of its users; give the log, seed, data.split "
        "and evaluate.judge_share it was fitted with, or fit another with `jaxrec fit-simulator`.",
    )
    print_validity(read_validity(source))
    remove_unfinished(folder.parent)
    with atomic_path(folder.absolute()) as temporary:
        temporary.mkdir()
        for part in [*PARTS, *([OWN_TEXTS] if (source / OWN_TEXTS).is_dir() else [])]:
            copy = shutil.copytree if (source / part).is_dir() else shutil.copyfile
            copy(source / part, temporary / part)


def context_before(*folders: Path) -> ContextColumns | None:
    """Context columns that the first of `folders` with simulators was fitted to, None where none has any."""
    for folder in folders:
        if (folder / LOG).is_file():
            names = tuple(read_object(folder / LOG).get("context", ()))
            if not (folder / OWN_TEXTS).is_dir():
                return ContextColumns(names, None)
            basis = load_basis(folder / OWN_TEXTS)
            return ContextColumns(names[: -len(basis.components)], basis)  # own texts stand last
    return None


def sides_before(*folders: Path) -> Sides | None:
    """On which side users stood in the first of `folders` that says so, None where none does."""
    for folder in folders:
        if (folder / USERS).is_file():
            sides = read_object(folder / USERS)
            return Sides(sides.get("salt", ""), frozenset(sides.get(TRAIN, ())), frozenset(sides.get(JUDGE, ())))
    return None


def _check_same_log(folder: Path, corpus: Corpus, message: str) -> None:
    """Item numbers mean something in one catalogue only, and a judge must not know the users that train."""
    path = folder / LOG
    if path.is_file():
        now, saved = log_identity(corpus), read_object(path)
        if any(saved.get(key, value) != value for key, value in now.items()):  # keys came to be with versions
            raise InputError(message)


def log_identity(corpus: Corpus) -> dict[str, Any]:
    """What tells logs apart: sizes, names, and digests of items, of all rows and of who trains and who judges."""
    log = corpus.dataset.log
    return {
        "rows": len(log),
        "users": log.num_users,
        "items": digest(corpus.dataset.catalogue.ids),
        "feedback": list(log.feedback_names),
        "context": list(log.context_names),
        "values": _rows_digest(log),
        "halves": digest([_rows_digest(corpus.train), _rows_digest(corpus.judge)]),
    }


def digest(value: Any) -> str:
    """SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _rows_digest(log: Log) -> str:
    """SHA-256 of the columns of numbers; reviews count where they became texts or context."""
    columns = [getattr(log, name) for name in ROW_COLUMNS if name != "review"]
    sums = [None if x is None else hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest() for x in columns]
    return digest([sums, log.feedback_names, log.context_names])


def read_validity(folder: Path) -> dict[str, Any]:
    """The report in `folder`; raises InputError where it is damaged."""
    report = read_object(folder / VALIDITY)
    try:
        findings(report)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder / VALIDITY}: damaged ({error!r}); delete it and fit again.") from None
    return report


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; raises InputError where the file is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}); restore the file, or delete its folder and fit again.") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: damaged (no JSON object); restore the file, or delete its folder and fit again.")
    return value


def print_validity(report: dict[str, Any]) -> None:
    """How far the fitted users can be believed, line by line."""
    for name, kind in report["feedback"].items():
        print(
            f"  response model, '{name}' on the last {report['test_share']:.0%} of the log: "
            f"AUC {figure(kind['auc'])}, calibration error {figure(kind['ece'])} "
            f"(base rate {figure(kind['base_rate'])}; "
            f"AUC of the item's mean {figure(kind['auc_item_mean'])}, of running means "
            f"{figure(kind['auc_running_means'])})"
        )
    rare = report["rare_items"]
    for name in rare["auc"]:
        without = f", without texts {figure(rare['auc_without_text'][name])}" if "auc_without_text" in rare else ""
        print(
            f"  on items with fewer than {rare['fewer_training_rows_than']} earlier rows ({rare['test_rows']:,} rows): "
            f"AUC {figure(rare['auc'][name])}{without}"
        )
    for name, rate in report["feedback_rates"].items():
        print(f"  '{name}' of {rate['users']:,} users over the same rows: {_compared(rate, 3)}")
    lengths = report["session_lengths"]
    if "ks" in lengths:
        print(f"  items of {lengths['sessions']:,} visits, at most {lengths['most_items']}: {_compared(lengths, 1)}")
    days = report.get("comeback_days", {})
    if "ks" in days:
        print(
            f"  days until {days['comebacks']:,} later returns: {_compared(days, 2)}; log loss {days['nll']:.3f}, with "
            f"one chance for everybody {days['nll_one_chance']:.3f}"
        )


def _compared(compared: dict[str, Any], decimals: int) -> str:
    means = (f"{compared[f'{what}_mean']:.{decimals}f} {what}" for what in ("simulated", "logged"))
    return f"{', '.join(means)}, KS distance {compared['ks']:.3f}"


def _facts(config: Config, corpus: Corpus) -> list[str]:
    log = corpus.dataset.log
    env, response = config.env, config.response
    assert isinstance(env, LoggedConfig)
    leave = "nobody leaves" if env.leave is None else f"leave model {env.leave.name}"
    return [
        f"Log: {len(log):,} rows of {log.num_users:,} users and {log.num_items:,} items.",
        f"Response model: history of {response.history_length} items, width {response.width}, "
        f"{response.epochs} epochs; the report is about one fit, the simulator is the mean of {response.members}.",
        f"Environment: {env.requests} requests of {env.slate_size} items, {leave}. Seed {config.seed}.",
        f"jaxrec {jaxrec.__version__}, jax {jax.__version__}.",
    ]
