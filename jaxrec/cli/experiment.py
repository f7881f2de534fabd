"""From a recipe to what training and judging need: the log, the catalogue, the simulators."""

import dataclasses
import hashlib
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig
from jaxrec.config.full_matrix import FullMatrixConfig
from jaxrec.config.logged import LoggedConfig
from jaxrec.config.schema import Config
from jaxrec.data import Dataset, Log, Split, load_dataset, make_split, split_users
from jaxrec.data.context import in_columns
from jaxrec.encoder import Encoder, embed_texts, open_encoder
from jaxrec.envs import full_matrix, logged
from jaxrec.envs.logged_world import LoggedUsers
from jaxrec.envs.registry import MAKERS
from jaxrec.evaluate.simulate import ItemFacts
from jaxrec.serve import SavedPolicy
from jaxrec.sharding.mesh import check_shards, make_mesh
from jaxrec.supervised.own_texts import TextBasis, add_own_texts
from jaxrec.supervised.simple import most_popular
from jaxrec.types import Array, Env, World

TRAIN, JUDGE = "train", "judge"  # folders of the two simulators
OWN_TEXTS, LOG, USERS = "own_texts", "log.json", "users.json"  # beside them


class ContextColumns(NamedTuple):
    """What the context of an earlier reading was made of, which a policy goes on reading."""

    names: tuple[str, ...]  # those of `data.context`
    own_texts: TextBasis | None


class Sides(NamedTuple):
    """Who trained and who judged in an earlier run, by marks that only who has the pseudonyms can tell."""

    salt: str
    train: frozenset[str]
    judge: frozenset[str]

    def of(self, users: Sequence[str]) -> np.ndarray:
        """[num_users] 0 for who judged before, 1 for who trained, -1 for who is new."""
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
    own_texts: TextBasis | None = None  # of the context columns that tell what users wrote

    @property
    def counts(self) -> np.ndarray:
        """[I] interactions in the training users' rows."""
        return most_popular(self.train)


def read_corpus(config: Config, before: ContextColumns | None = None, sides: Sides | None = None) -> Corpus:
    """Read, clean and split the log of the recipe, with context columns and sides of before; prints the account."""
    data = log_config(config)
    dataset = load_dataset(data, config.seed)
    for line in dataset.account:
        print(f"  {line}")
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


def embed(config: Config, texts: Sequence[str], enc: Encoder | None = None) -> np.ndarray:
    """Vectors [N, E] of texts by the recipe's encoder, open already or not, from the cache where they are known."""
    enc = enc or open_encoder(config.encoder)
    cache = str(Path(config.encoder.cache_dir).expanduser()) if config.encoder.cache_dir else ""
    return embed_texts(enc, texts, batch_tokens=config.encoder.batch_tokens, cache_dir=cache)


def make_environment(config: Config, world: World | None) -> Env:
    """The environment of the recipe, without auto-reset."""
    if isinstance(config.env, LoggedConfig):
        return logged.make(config.env, world)
    if isinstance(config.env, FullMatrixConfig):
        return full_matrix.make(config.env, world)
    return MAKERS[config.env.name](config.env)


def item_table(vectors: np.ndarray, log: Log) -> np.ndarray:
    """What policies read of an item: its text vector at unit variance, then statistics of the training log.

    [I, E] -> [I, E + 1 + F]: log interactions and, a kind of feedback, the mean shrunk towards the average by ten
    pseudo-interactions; all standardised.
    """
    counts = most_popular(log).astype(np.float64)
    totals = np.zeros((len(counts), log.feedback.shape[1]))
    np.add.at(totals, log.item, log.feedback)
    means = (totals + 10 * log.feedback.mean(0)) / (counts[:, None] + 10)
    statistics = np.concatenate([np.log1p(counts)[:, None], means], axis=1)
    statistics = (statistics - statistics.mean(0)) / (statistics.std(0) + 1e-8)
    return np.concatenate([vectors * vectors.shape[1] ** 0.5, statistics], axis=1).astype(np.float32)


def item_facts(env: Env, corpus: Corpus | None) -> ItemFacts:
    """Rows and surprise for diversity and novelty; without a log every item is equally novel."""
    table, users = env.world.item_table, env.world.users
    rows = np.asarray(users.text(table) if isinstance(users, LoggedUsers) else table, np.float32)
    counts = np.ones(len(rows)) if corpus is None else corpus.counts + 1.0
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-8)
    return ItemFacts(rows=jnp.asarray(rows), surprise=jnp.asarray(-np.log2(counts / counts.sum()), jnp.float32))


def stream(config: Config, name: str) -> Array:
    """A key for one use; streams of different names share nothing."""
    return jax.random.fold_in(jax.random.key(config.seed), zlib.crc32(name.encode()))


def check_same_catalogue(saved: SavedPolicy, corpus: Corpus) -> None:
    """A policy's item numbers mean something only in the catalogue it was trained on."""
    if saved.ids != corpus.dataset.catalogue.ids:
        raise InputError(
            f"data.path: the log has {len(corpus.dataset.catalogue)} items, the policy was trained on "
            f"{len(saved.ids)} or on others; give the same log with data.path=FOLDER."
        )


def check_recipe(config: Config) -> None:
    """What would fail only after minutes of preparation fails here: devices, shards, the log, the rewards."""
    check_shards(make_mesh(config.train.devices), config.learner.shards)
    if config.train.continue_from and not isinstance(config.env, LoggedConfig):
        raise InputError(f"train.continue_from: {config.env.name} has no log that could grow; use --resume.")
    if isinstance(config.env, LoggedConfig):
        logged.check_users(config.env, tuple(log_config(config).feedback), config.response.members)
    elif isinstance(config.env, FullMatrixConfig):
        full_matrix.check_source(config.env, None if config.data is None else tuple(config.data.feedback))
    elif config.data is not None:
        raise InputError(f"data: {config.env.name} reads no log; remove the section, or set env.name to logged.")


def log_config(config: Config) -> DataConfig:
    """The data section; raises InputError for recipes that lack it."""
    if config.data is None:
        raise InputError("data: the logged environment needs a log; add a data section to the recipe.")
    return config.data
