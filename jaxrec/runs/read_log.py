"""The log of a recipe, read, cleaned and split into users who train and users who judge."""

import dataclasses
import hashlib
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.schema import Config
from jaxrec.data import Dataset, Log, Split, load_dataset, make_split, split_users
from jaxrec.data.context import in_columns
from jaxrec.progress import note
from jaxrec.runs.item_table import embed
from jaxrec.runs.recipe import log_config
from jaxrec.serve import SavedPolicy
from jaxrec.supervised.own_texts import TextBasis, add_own_texts
from jaxrec.supervised.simple import most_popular


class ContextColumns(NamedTuple):
    """What the context of an earlier reading was made of, which a policy goes on reading."""

    names: tuple[str, ...]  # those of `data.context`
    own_texts: TextBasis | None


class Sides(NamedTuple):
    """Who trained and who judged in an earlier run, by marks that only a reader of the pseudonyms can compute."""

    salt: str
    train: frozenset[str]
    judge: frozenset[str]

    def of(self, users: Sequence[str]) -> np.ndarray:
        """[num_users] 0 for users who judged before, 1 for users who trained, -1 for new users."""
        marks = user_marks(users, self.salt)
        return np.array([0 if mark in self.judge else 1 if mark in self.train else -1 for mark in marks], np.int8)


def user_marks(users: Sequence[str], salt: str) -> list[str]:
    """64 bits of a salted SHA-256 of each pseudonym: runs hold no pseudonyms, by which they could be joined."""
    return [hashlib.sha256(f"{salt} {user}".encode()).hexdigest()[:16] for user in users]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corpus:
    """A log as training and judging read it."""

    dataset: Dataset
    split: Split
    train: Log  # rows of the users that the training simulator and the baselines know
    judge: Log  # rows of the other users
    own_texts: TextBasis | None = None  # of the context columns about what users wrote

    @property
    def counts(self) -> np.ndarray:
        """[I] interactions in the training users' rows."""
        return most_popular(self.train)


def read_corpus(config: Config, before: ContextColumns | None = None, sides: Sides | None = None) -> Corpus:
    """Read, clean and split the log of the recipe, with the context columns and sides of an earlier reading."""
    data = log_config(config)
    dataset = load_dataset(data, config.seed)
    for line in dataset.account:
        note(f"  {line}")
    log, basis = dataset.log, None
    if before is not None:
        log, basis = in_columns(log, before.names), before.own_texts
    split = make_split(data, log)
    if data.own_texts:
        log, basis = add_own_texts(log, split.train, partial(embed, config), data.own_texts, basis)
        split = make_split(data, log)
    dataset = dataclasses.replace(dataset, log=log)
    stood = None if sides is None else sides.of(dataset.users)
    judge, train = split_users(split.train, config.evaluate.judge_share, config.seed, stood)
    return Corpus(dataset=dataset, split=split, train=train, judge=judge, own_texts=basis)


def check_same_catalogue(saved: SavedPolicy, corpus: Corpus) -> None:
    """A policy's item numbers mean something only in the catalogue it was trained on."""
    if saved.ids != corpus.dataset.catalogue.ids:
        raise InputError(
            f"data.path: the log has {len(corpus.dataset.catalogue)} items, the policy was trained on "
            f"{len(saved.ids)} or on others; give the same log with data.path=FOLDER."
        )
