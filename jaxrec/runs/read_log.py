"""Read and clean the log of a recipe, and split its users into those who train and those who judge."""

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
from jaxrec.data.item_features import Encodings, FeatureBlocks, encode, fit_encoding
from jaxrec.data.split import few_targets
from jaxrec.progress import note
from jaxrec.runs.item_table import embed
from jaxrec.runs.recipe import log_config
from jaxrec.serve import SavedPolicy
from jaxrec.supervised.own_texts import TextBasis, add_own_texts
from jaxrec.supervised.simple import most_popular


class ContextColumns(NamedTuple):
    """The context columns and item features of an earlier reading, which its policy still expects."""

    names: tuple[str, ...]  # the columns of `data.context`
    own_texts: TextBasis | None
    item_features: Encodings  # empty: none


class Sides(NamedTuple):
    """The users who trained and who judged in an earlier run, as marks computed from their pseudonyms."""

    salt: str
    train: frozenset[str]
    judge: frozenset[str]

    def of(self, users: Sequence[str]) -> np.ndarray:
        """[num_users] int8: 0 for users who judged before, 1 for users who trained, -1 for new users."""
        marks = user_marks(users, self.salt)
        return np.array([0 if mark in self.judge else 1 if mark in self.train else -1 for mark in marks], np.int8)


def user_marks(users: Sequence[str], salt: str) -> list[str]:
    """64 bits of a salted SHA-256 of each pseudonym. Runs hold no pseudonyms, so they cannot be joined by them."""
    return [hashlib.sha256(f"{salt} {user}".encode()).hexdigest()[:16] for user in users]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corpus:
    """A log as training and evaluation read it."""

    dataset: Dataset
    split: Split
    train: Log  # rows of the users for the training simulator and the baselines
    judge: Log  # rows of the other users
    own_texts: TextBasis | None = None  # of the context columns from users' own texts
    features: FeatureBlocks = dataclasses.field(default_factory=FeatureBlocks)  # of the items

    @property
    def counts(self) -> np.ndarray:
        """[I] interactions of the training users."""
        return most_popular(self.train)


def read_corpus(config: Config, before: ContextColumns | None = None, sides: Sides | None = None) -> Corpus:
    """Read, clean and split the log of the recipe, with the columns and sides of an earlier reading."""
    data = log_config(config)
    dataset = load_dataset(data, config.seed)
    for line in dataset.account:
        note(f"  {line}")
    log, basis = dataset.log, None
    if before is not None:
        log, basis = in_columns(log, before.names), before.own_texts
    split = make_split(data, log)
    if data.own_texts:
        log, basis = add_own_texts(log, split.train, partial(embed, config, what="own text"), data.own_texts, basis)
        split = make_split(data, log)
    if advice := few_targets(data, split):
        note(f"  {advice}")
    dataset = dataclasses.replace(dataset, log=log)
    values = dataset.catalogue.features
    features = encode(values, fit_encoding(values, data) if before is None else before.item_features)
    stood = None if sides is None else sides.of(dataset.users)
    judge, train = split_users(split.train, config.evaluate.judge_share, config.seed, stood)
    return Corpus(dataset=dataset, split=split, train=train, judge=judge, own_texts=basis, features=features)


def check_same_catalogue(saved: SavedPolicy, corpus: Corpus) -> None:
    """Raise InputError if the catalogue is not the one of the policy, whose item numbers would be wrong."""
    if saved.ids != corpus.dataset.catalogue.ids:
        raise InputError(
            f"data.path: the log has {len(corpus.dataset.catalogue)} items, expected the {len(saved.ids)} items that "
            "the policy was trained on; give the same log with data.path=FOLDER."
        )
