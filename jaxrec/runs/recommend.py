"""Recommend a slate for a history, or for a user of the log."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig
from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.data import Log, load_dataset
from jaxrec.data.ids import one_id
from jaxrec.data.log import counted
from jaxrec.data.pseudonyms import pseudonymise, user_key
from jaxrec.language import load_language_model
from jaxrec.runs.item_table import embed
from jaxrec.runs.recipe import log_config
from jaxrec.runs.recommend_generative import open_policy
from jaxrec.runs.users.fitted_folder import LOG, OWN_TEXTS, RESTORE, check_whole
from jaxrec.serve import Recommendation, SavedPolicy
from jaxrec.serve.generator import GenerativePolicy
from jaxrec.serve.history import Entry
from jaxrec.serve.reasons import Reason
from jaxrec.serve.words import in_words
from jaxrec.storage.files import read_json_object
from jaxrec.storage.run import RunFolder
from jaxrec.supervised.own_texts import NAME, load_basis


class Recommended(NamedTuple):
    """A slate, and the update of the policy that chose it."""

    slate: list[Recommendation]
    step: int
    skipped: int = 0  # items of the user's history that the policy does not know
    reasons: list[Reason] | None = None  # one for each item, if asked for


class Visitor(NamedTuple):
    """The rows of a user in the log, N in number, newest last."""

    items: np.ndarray  # [N] int32, rows of the policy's table
    feedback: np.ndarray  # [N, F]
    context: np.ndarray | None  # [C]
    skipped: int  # further rows, of items that the policy does not know


def recommend(
    path: str | Path,
    k: int = 10,
    *,
    history: str | Sequence[Entry] = (),
    user: str | None = None,
    data: str | None = None,
    explain: bool = False,
    words: str | None = None,
) -> Recommended:
    """The k best items of the policy in `path` for a history, or for a user of the log in `data`.

    A history is a text 'ID,ID:NUMBER' or a sequence of entries (`jaxrec.serve.history`). With `explain`, each item has
    a reason, in the words of the language model `words` if one is named. Raises InputError for what cannot be read.
    """
    if words is not None and not explain:
        raise InputError("--words: only used with --explain; add it.")
    if user is None and data is not None:
        raise InputError("--data: only used with --user; add --user ID.")
    if user is not None and history:
        raise InputError("--user and --history: a user's history is taken from the log; give one of the two.")
    policy = open_policy(path)
    if explain and isinstance(policy, GenerativePolicy):
        raise InputError("--explain: generators of semantic ids have no reasons; leave it out, or use another policy.")
    if user is None:
        entries = policy.histories.split(history) if isinstance(history, str) and history else history
        visitor = Visitor(*policy.histories.read(entries), None, 0)
    else:
        visitor = find_user(RunFolder.open(path), policy, user, data)
    slate = policy.recommend_rows(visitor.items, visitor.feedback, k, visitor.context)
    reasons = None
    if explain and not isinstance(policy, GenerativePolicy):
        rows = policy.histories.rows([item.id for item in slate])
        reasons = policy.explainer.explain(visitor.items, visitor.feedback, rows, visitor.context)
        if words is not None:
            reasons = in_words(load_language_model(words), reasons, policy.texts_of_items)
    return Recommended(slate, policy.step, visitor.skipped, reasons)


def find_user(run: RunFolder, policy: SavedPolicy | GenerativePolicy, user: str, folder: str | None) -> Visitor:
    """Read a user's whole history, without k-core filtering, from the log in `folder` (None: that of the recipe).

    Raises InputError for users who are not in the log and users none of whose items the policy knows. Messages contain
    no user id.
    """
    config = load_config(Config, run.config)
    data = log_config(config)
    data = dataclasses.replace(
        data, path=folder or data.path, min_user_rows=1, min_item_rows=1, text="{title}", item_features={}
    )
    dataset = load_dataset(data, config.seed)
    pseudonym = _pseudonym(user, data)
    if pseudonym not in dataset.users:
        raise InputError(
            f"--user: no such user among the {counted(len(dataset.users), 'user')} of the log; correct the id, or "
            "give the folder of a newer log with --data."
        )
    rows = dataset.log.take(dataset.log.user == dataset.users.index(pseudonym))
    place = {item_id: n for n, item_id in enumerate(policy.ids)}
    items = np.array([place.get(dataset.catalogue.ids[n], -1) for n in rows.item], np.int32)
    known = items >= 0
    if not known.any():
        raise InputError("--user: the policy knows none of the user's items; give its training log or a later one.")
    context = _context(config, run, rows) if policy.spec.context_size else None
    return Visitor(items[known], rows.feedback[known], context, int((~known).sum()))


def _pseudonym(user: str, data: DataConfig) -> str:
    user = user.strip()
    return user if data.source == "generated" else pseudonymise([one_id(user, data)], user_key(data).secret)[0]


def _context(config: Config, run: RunFolder, rows: Log) -> np.ndarray:
    """Context [C] from the user's last row and all their own texts, in the columns of the training log."""
    known = {} if rows.context is None else dict(zip(rows.context_names, rows.context[-1], strict=True))
    if log_config(config).own_texts and rows.review is not None:
        written = [text for text in rows.review if text]
        if written:
            basis = load_basis(run.simulators / OWN_TEXTS)
            means = basis.reduce(embed(config, written, what="")).mean(0)
            known |= {NAME.format(n): value for n, value in enumerate(means)}
    check_whole(run.simulators)
    names = read_json_object(run.simulators / LOG, RESTORE)["context"]
    return np.array([known.get(name, 0.0) for name in names], np.float32)
