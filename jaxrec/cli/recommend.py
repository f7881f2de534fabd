"""`jaxrec recommend`: a slate for a history or for a user of the log, as a table or as JSON."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxrec.checks import InputError
from jaxrec.cli import experiment
from jaxrec.cli.simulators import read_object
from jaxrec.config.data import DataConfig
from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.data import Log, load_dataset
from jaxrec.data.log import counted
from jaxrec.data.pseudonyms import pseudonymise, user_key
from jaxrec.serve import Recommendation, SavedPolicy, load_policy
from jaxrec.storage.run import RunFolder
from jaxrec.supervised.own_texts import NAME, load_basis


class Visitor(NamedTuple):
    """What the log knows of a user; N rows, newest last."""

    items: np.ndarray  # [N] int32, rows of the policy's table
    feedback: np.ndarray  # [N, F]
    context: np.ndarray | None  # [C]


def recommend(
    path: str, k: int, as_json: bool, *, history: str = "", user: str | None = None, data: str | None = None
) -> int:
    """Print ids, titles and scores of the k best items for a history, or for a user of the log in `data`."""
    if user is None and data is not None:
        raise InputError("--data: it is where --user looks; add --user ID.")
    if user is not None and history:
        raise InputError("--user and --history: a user's history is taken from the log; give one of the two.")
    policy = load_policy(path)
    if user is None:
        slate = policy.recommend([entry for entry in history.split(",") if entry.strip()], k)
    else:
        visitor = find_user(RunFolder.open(path), policy, user, data)
        slate = policy.recommend_rows(visitor.items, visitor.feedback, k, visitor.context)
    if as_json:
        print(json.dumps([dataclasses.asdict(item) for item in slate], ensure_ascii=False))
    else:
        _print_table(slate, f"{len(slate)} recommendations from {path} (step {policy.step})")
    return 0


def find_user(run: RunFolder, policy: SavedPolicy, user: str, folder: str | None) -> Visitor:
    """The whole history of a user, whatever their k-core, from the log in `folder` (None: that of the recipe).

    Raises InputError for users that are not in the log, or of whose items the policy knows none; names nobody.
    """
    config = load_config(Config, run.config)
    data = experiment.log_config(config)
    data = dataclasses.replace(data, path=folder or data.path, min_user_rows=1, min_item_rows=1, text="{title}")
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
        raise InputError("--user: the policy knows none of the user's items; give the log it was trained on, or later.")
    if not known.all():
        new = counted(int((~known).sum()), "item")
        print(f"skipped {new} of the user's history that the policy does not know", file=sys.stderr)
    context = _context(config, run, rows) if policy.spec.context_size else None
    return Visitor(items[known], rows.feedback[known], context)


def _pseudonym(user: str, data: DataConfig) -> str:
    user = user.strip()
    return user if data.source == "generated" else pseudonymise([user], user_key(data).secret)[0]


def _context(config: Config, run: RunFolder, rows: Log) -> np.ndarray:
    """Context [C] of the user's last row, and of all they wrote, in the columns of the training log."""
    known = {} if rows.context is None else dict(zip(rows.context_names, rows.context[-1], strict=True))
    if experiment.log_config(config).own_texts and rows.review is not None:
        written = [text for text in rows.review if text]
        if written:
            basis = load_basis(run.simulators / experiment.OWN_TEXTS)
            means = basis.reduce(experiment.embed(config, written)).mean(0)
            known |= {NAME.format(n): value for n, value in enumerate(means)}
    names = read_object(run.simulators / experiment.LOG)["context"]
    return np.array([known.get(name, 0.0) for name in names], np.float32)


def _print_table(slate: Sequence[Recommendation], title: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title))
    table.add_column("rank", justify="right")
    table.add_column("id")
    table.add_column("title", overflow="fold")
    table.add_column("score", justify="right")
    for rank, item in enumerate(slate, 1):
        table.add_row(str(rank), escape(item.id), escape(item.title), f"{item.score:.3f}")
    Console().print(table)
