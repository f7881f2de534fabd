"""From a recipe to what training and judging need: the log, the catalogue, the simulators."""

import dataclasses
import hashlib
import json
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig
from jaxrec.config.schema import Config
from jaxrec.config.users import InterestEvolutionConfig, LoggedConfig
from jaxrec.data import Dataset, Log, Split, load_dataset, make_split, split_users
from jaxrec.encoder import embed_texts, load_encoder
from jaxrec.envs import interest_evolution, logged
from jaxrec.envs.rewards import make_reward
from jaxrec.evaluate.simulate import ItemFacts
from jaxrec.serve import SavedPolicy
from jaxrec.sharding.mesh import check_shards, make_mesh
from jaxrec.storage.files import write_json
from jaxrec.supervised.response_fit import fit_response
from jaxrec.supervised.simple import most_popular
from jaxrec.supervised.validity import validity_report
from jaxrec.types import Array, Env, World

TRAIN, JUDGE = "train", "judge"  # folders of the two simulators


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corpus:
    """A log as training and judging read it."""

    dataset: Dataset
    split: Split
    train: Log  # rows of the users that the training simulator and the baselines know
    judge: Log  # rows of the other users

    @property
    def counts(self) -> np.ndarray:
        """[I] interactions in the training users' rows."""
        return most_popular(self.train)


def read_corpus(config: Config) -> Corpus:
    """Read, clean and split the log of the recipe; prints the account of cleaning."""
    data = log_config(config)
    dataset = load_dataset(data, config.seed)
    for line in dataset.account:
        print(f"  {line}")
    split = make_split(data, dataset.log)
    judge, train = split_users(split.train, config.evaluate.judge_share, config.seed)
    return Corpus(dataset=dataset, split=split, train=train, judge=judge)


def embed_catalogue(config: Config, corpus: Corpus) -> np.ndarray:
    """Text vectors [I, E] of the catalogue, from the cache where they are known."""
    encoder = load_encoder(config.encoder.model, max_length=config.encoder.max_length, dtype=config.encoder.dtype)
    cache = str(Path(config.encoder.cache_dir).expanduser()) if config.encoder.cache_dir else ""
    texts = corpus.dataset.catalogue.texts
    return embed_texts(encoder, texts, batch_tokens=config.encoder.batch_tokens, cache_dir=cache)


def make_environment(config: Config, world: World | None) -> Env:
    """The environment of the recipe, without auto-reset."""
    if isinstance(config.env, InterestEvolutionConfig):
        return interest_evolution.make(config.env)
    return logged.make(config.env, world)


def fit_simulators(config: Config, corpus: Corpus, folder: Path) -> World:
    """Fit the training simulator and the judge, print how valid such fits are, and save all three in `folder`.

    What is already there is kept, so an interrupted run does not fit twice.
    """
    assert isinstance(config.env, LoggedConfig)
    recommendable = corpus.counts >= log_config(config).min_item_ratings
    logged.check_room(config.env.slate_size, config.response.history_length, int(recommendable.sum()))
    _check_unchanged(folder / "log.json", corpus)
    vectors = embed_catalogue(config, corpus)
    if not (folder / "validity.json").is_file():
        report = validity_report(corpus.dataset.log, vectors, config.response, config.seed)
        write_json(folder / "validity.json", report)
        print_validity(report)
    table = item_table(vectors, corpus.train)
    for name, log, seed in ((TRAIN, corpus.train, config.seed), (JUDGE, corpus.judge, config.seed + 1)):
        if (folder / name).is_dir():
            continue
        seeds = [seed + 2 * n for n in range(config.response.members)]  # the two simulators share none
        members = [fit_response(log, vectors, config.response, s, label=f"fit {name} users")[0] for s in seeds]
        logged.save_simulator(folder / name, logged.make_world(members, log, table, recommendable))
    return logged.load_simulator(folder / TRAIN)


def _check_unchanged(path: Path, corpus: Corpus) -> None:
    """Item numbers mean something in one catalogue only: a run is not resumed on a log that has changed."""
    log = corpus.dataset.log
    ids = hashlib.sha256(json.dumps(corpus.dataset.catalogue.ids).encode()).hexdigest()
    now = {"rows": len(log), "users": log.num_users, "items": ids, "feedback": list(log.feedback_names)}
    if not path.is_file():
        write_json(path, now)
    elif json.loads(path.read_text(encoding="utf-8")) != now:
        raise InputError(f"{path}: the log has changed since this run began; begin another run with --run.")


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
    table = np.asarray(env.params.item_table, np.float32)
    if corpus is None:
        rows, counts = table, np.ones(len(table))
    else:
        rows, counts = table[:, : -1 - len(env.spec.feedback)], corpus.counts + 1.0  # the text part
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-8)
    return ItemFacts(rows=jnp.asarray(rows), surprise=jnp.asarray(-np.log2(counts / counts.sum()), jnp.float32))


def print_validity(report: dict) -> None:
    """How far the fitted users can be believed."""
    for name, kind in report["feedback"].items():
        print(
            f"  response model, '{name}' on the last {report['test_share']:.0%} of the log: "
            f"AUC {_figure(kind['auc'])}, calibration error {_figure(kind['ece'])} "
            f"(base rate {_figure(kind['base_rate'])}; "
            f"AUC of the item's mean {_figure(kind['auc_item_mean'])}, of running means "
            f"{_figure(kind['auc_running_means'])})"
        )


def _figure(value: float | None) -> str:
    """AUC is None where the test rows are all of one kind."""
    return "-" if value is None else f"{value:.4f}"


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
    if isinstance(config.env, LoggedConfig):
        if config.env.path:
            raise InputError("env.path: `jaxrec train` fits its own simulators; remove it (make_env takes it).")
        make_reward(config.env.reward, tuple(log_config(config).feedback))
    elif config.data is not None:
        raise InputError(f"data: {config.env.name} reads no log; remove the section, or set env.name to logged.")


def log_config(config: Config) -> DataConfig:
    """The data section; raises InputError for recipes that lack it."""
    if config.data is None:
        raise InputError("data: the logged environment needs a log; add a data section to the recipe.")
    return config.data
