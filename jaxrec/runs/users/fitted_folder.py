"""The folder of simulated users that `jaxrec train` and `jaxrec fit-simulator` write.

FOLDER/train/, judge/   the users for training and, fitted to other people, the users for judging
       log.json         the log they were fitted to
       users.json       who trains and who judges, by marks of pseudonyms, so that a later log moves no user
       own_texts/       the basis of context columns from the users' own texts, if the recipe has them
       item_features.json   the columns of item features, if the recipe has them
       validity.json    how far to trust the users; validity.html is for reading
       fits/            finished members of an ensemble, until all members are fitted
       digests.xxh128   digests of all of it, once it is finished (`jaxrec.storage.digests`)

Every part is written whole or not at all, and finished parts are kept: an interrupted fit continues where it stopped.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.schema import Config
from jaxrec.data import Log
from jaxrec.data.item_features import encodings_as_json, encodings_from_json
from jaxrec.data.log import ROW_COLUMNS
from jaxrec.data.pseudonyms import VARIABLE
from jaxrec.evaluation.page import findings
from jaxrec.foreign import quoted
from jaxrec.progress import note
from jaxrec.runs.read_log import ContextColumns, Corpus, Sides
from jaxrec.runs.recipe import log_config
from jaxrec.runs.users.kind import JUDGE, TRAIN
from jaxrec.runs.users.validity_lines import validity_lines
from jaxrec.storage.digests import check_digests, sealed_folder
from jaxrec.storage.files import read_json_object, remove_unfinished
from jaxrec.storage.inside import check_folder, copy_folder
from jaxrec.storage.run import RunFolder
from jaxrec.supervised.own_texts import load_basis

OWN_TEXTS, LOG, USERS, FEATURES = "own_texts", "log.json", "users.json", "item_features.json"
VALIDITY, PAGE, FITS = "validity.json", "validity.html", "fits"
PARTS = (LOG, USERS, VALIDITY, PAGE, TRAIN, JUDGE)
RESTORE = "the file is damaged: restore it, or delete its folder and fit again"


def copy_simulators(source: Path, corpus: Corpus, folder: Path) -> None:
    """Copy finished simulators; raises InputError unless they were fitted to this log and this split of its users."""
    missing = [part for part in PARTS if not (source / part).exists()]
    if missing:
        raise InputError(
            f"env.path: {source} holds no finished simulators ({missing[0]} is missing); give a folder that "
            "`jaxrec fit-simulator` wrote."
        )
    check_folder(source)
    check_same_log(
        source,
        corpus,
        f"env.path: {source} was fitted to another log or another split of its users; give the log, seed, data.split "
        "and evaluate.judge_share it was fitted with, or fit a new one with `jaxrec fit-simulator`.",
    )
    for line in validity_lines(read_validity(source)):
        note(line)
    remove_unfinished(folder.parent)
    with sealed_folder(folder.absolute()) as temporary:
        for part in [*PARTS, *(part for part in (OWN_TEXTS, FEATURES) if (source / part).exists())]:
            copy = copy_folder if (source / part).is_dir() else shutil.copyfile
            copy(source / part, temporary / part)


def check_whole(folder: Path) -> None:
    """Raise InputError if finished simulators have changed; `train/` and `judge/` are checked when they are read."""
    if folder.is_dir():
        check_digests(folder, f"restore it, or delete {folder} and fit again", must=False)


def context_before(*folders: Path) -> ContextColumns | None:
    """Context columns and item features of the first of `folders` with simulators, or None."""
    for folder in folders:
        check_whole(folder)
        if (folder / LOG).is_file():
            names = tuple(read_json_object(folder / LOG, RESTORE).get("context", ()))
            path = folder / FEATURES
            features = encodings_from_json(read_json_object(path, RESTORE), path) if path.is_file() else {}
            if not (folder / OWN_TEXTS).is_dir():
                return ContextColumns(names, None, features)
            basis = load_basis(folder / OWN_TEXTS)
            return ContextColumns(names[: -len(basis.components)], basis, features)  # own texts come last
    return None


def sides_before(*folders: Path) -> Sides | None:
    """The split of the users in the first of `folders` that records one, or None."""
    for folder in folders:
        check_whole(folder)
        if (folder / USERS).is_file():
            sides = read_json_object(folder / USERS, RESTORE)
            return Sides(sides.get("salt", ""), frozenset(sides.get(TRAIN, ())), frozenset(sides.get(JUDGE, ())))
    return None


def check_users_known(config: Config, sides: Sides | None, users: Sequence[str]) -> None:
    """Raise InputError if it is unknown which users of the log trained the old policy: they must not judge it."""
    old = RunFolder(config.train.continue_from)
    if sides is None:
        raise InputError(
            f"{old.simulators}: {USERS} is missing, so it is unknown which users trained that policy; restore "
            "the file, or train from scratch without --continue."
        )
    if not (sides.of(users) < 0).all():
        return
    if log_config(config).pseudonyms:  # a service hashes with the key of the run, so its users may all be new ones
        note(f"  none of the log's {len(users):,} users is known to {old.path}")
    else:
        raise InputError(
            f"data.path: none of the log's {len(users):,} users is known to {old.path}; give a log that also holds "
            f"the earlier rows, read with the same {VARIABLE} or data.user_key_file."
        )


def check_same_log(folder: Path, corpus: Corpus, message: str) -> None:
    """Raise InputError if `folder` has another log (wrong item numbers) or split (judges might have trained)."""
    path = folder / LOG
    check_whole(folder)
    if path.is_file():
        now, saved = log_identity(corpus), read_json_object(path, RESTORE)
        # Only logs with features have their key. Of the others, older versions wrote fewer.
        features = [one.get("item_features") for one in (saved, now)]
        if features[0] != features[1] or any(saved.get(key, value) != value for key, value in now.items()):
            raise InputError(message)


def log_identity(corpus: Corpus) -> dict[str, Any]:
    """Identify a log by sizes, names, and digests of its items, of all rows and of the split of its users.

    And by the features of its items, if it has any.
    """
    log = corpus.dataset.log
    return {
        "rows": len(log),
        "users": log.num_users,
        "items": digest(corpus.dataset.catalogue.ids),
        "feedback": list(log.feedback_names),
        "context": list(log.context_names),
        "values": _rows_digest(log),
        "halves": digest([_rows_digest(corpus.train), _rows_digest(corpus.judge)]),
        **({"item_features": _features_digest(corpus)} if corpus.features.blocks else {}),
    }


def digest(value: Any) -> str:
    """SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _rows_digest(log: Log) -> str:
    """SHA-256 of the numeric columns; reviews count only through the texts or context made from them."""
    columns = [getattr(log, name) for name in ROW_COLUMNS if name != "review"]
    sums = [None if x is None else hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest() for x in columns]
    return digest([sums, log.feedback_names, log.context_names])


def _features_digest(corpus: Corpus) -> str:
    sums = [hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest() for x in corpus.features.blocks]
    return digest([encodings_as_json(corpus.features.encodings), sums])


def read_validity(folder: Path) -> dict[str, Any]:
    """Read the validity report in `folder`; raises InputError if it is damaged."""
    check_whole(folder)
    report = read_json_object(folder / VALIDITY, RESTORE)
    try:
        findings(report)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder / VALIDITY}: damaged ({quoted(error)}); delete it and fit again.") from None
    return report
