"""Rank what users chose next among the whole catalogue, without sampled negatives."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError, check_range, check_shape
from jaxrec.data.log import Log, Split
from jaxrec.data.windows import latest_rows
from jaxrec.ops.parts import equal_parts, next_power
from jaxrec.ops.ranking import METRICS, mid_rank
from jaxrec.sharding.compile import compiled
from jaxrec.types import PADDING, Array, Observation

BATCH_SCORES = 2**22  # scores held at a time, users times items
PAIRED = 10  # cutoff of the NDCG that is compared user by user
SHORTEST_WINDOW = 8

Score = Callable[[Observation], Array]  # history_items, history_feedback and context of [B] users -> [B, I]
UserScore = Callable[[np.ndarray], np.ndarray]  # numbers of [B] users of the log -> [B, I]


class Batch(NamedTuple):
    """Test users with histories of similar length; rows beyond the last user are padding."""

    obs: Observation  # history_items [B, L] int32, history_feedback [B, L, F], context [B, C] or None
    masked: np.ndarray  # [B, I] bool, items of the whole history
    targets: np.ndarray  # [B, n] int32
    rows: np.ndarray  # [B, n] rows of the test log; 0 where the target is PADDING
    who: np.ndarray  # [B] numbers of the users
    users: int  # rows that are not padding


class HeldOut(NamedTuple):
    """Ranking metrics by name, over two kinds of targets."""

    all: dict[str, float]  # all test rows
    liked: dict[str, float] | None  # only positive test rows; None if there are none
    all_ndcg: np.ndarray  # [users] NDCG@10 of each user, in the order of their numbers
    liked_ndcg: np.ndarray  # [users with a liked row]


def held_out_metrics(
    score: Score, split: Split, ks: Sequence[int] = (5, 10, 20), history_length: int | None = None
) -> dict[str, float]:
    """Mean over test users of hit rate, recall, precision and NDCG at each of `ks`; 'users' is their number.

    `score(obs) -> [B, I]` is any recommender of observations with history_items [B, L] int32, history_feedback
    [B, L, F] and, where the log has one, context [B, C]. It is called with few different shapes, so the caller should
    compile it. The history is a user's training and validation rows. `score` sees its latest `history_length` rows, but
    all its items are masked, unless the log keeps repeated rows (`data.repeats`). The context is that of the user's
    first test row. Ranks are over the whole catalogue, ties by mid-rank. A target that is masked counts as a miss.
    Users without history are included.
    """
    return held_out_tables(score, split, ks, history_length).all


def held_out_tables(
    score: Score, split: Split, ks: Sequence[int] = (5, 10, 20), history_length: int | None = None
) -> HeldOut:
    """The metrics of `held_out_metrics`, of all test rows and of the positive ones alone (`positive_targets`)."""
    return _tables(lambda batch: score(batch.obs), split, ks, history_length)


def held_out_tables_of_users(score: UserScore, split: Split, ks: Sequence[int] = (5, 10, 20)) -> HeldOut:
    """Compute `held_out_tables` for a ranking that knows the users: `score(who)` takes numbers [B] and gives [B, I].

    Raises InputError without test rows.
    """
    return _tables(lambda batch: jnp.asarray(score(batch.who)), split, ks, None)


def _tables(score: Callable[[Batch], Array], split: Split, ks: Sequence[int], history_length: int | None) -> HeldOut:
    for k in ks:
        check_range("ks", k, 1)
    if history_length is not None:
        check_range("history_length", history_length, 1)
    if not len(split.test):
        raise InputError("split: no test rows to evaluate on; choose another data.split or a longer log.")
    positive, (narrow, affected) = split.test.positive, positive_targets(split)
    whole, part = _Best(2 * max(ks)), _Best(2 * max(ks))
    for who, ranks, real, rows in _ranked(score, split, history_length):
        whole.add(who, ranks, real)
        part.add(who, ranks, real & positive[rows] & ~affected[who][:, None])
    if affected.any():
        own = dataclasses.replace(narrow, test=narrow.test.take(affected[narrow.test.user]))
        for who, ranks, real, _ in _ranked(score, own, history_length):
            part.add(who, ranks, real)
    return HeldOut(whole.metrics(ks), part.metrics(ks) if positive.any() else None, whole.ndcg(), part.ndcg())


def positive_targets(split: Split) -> tuple[Split, np.ndarray]:
    """The split with only the positive test rows, and users whose history is another one for that: [U] bool.

    Rows without success that were shown together with a positive test row leave the history. They would tell that the
    success is another item of the slate, and they could not be recommended. Without positive test rows nothing changes.
    """
    positive = split.test.positive
    affected = np.zeros(split.test.num_users, bool)
    if not positive.any():
        return split, affected
    test = split.test.take(positive)
    moments = set(zip(test.user.tolist(), test.time.tolist(), strict=True))
    first = np.full(test.num_users, np.iinfo(np.int64).max)
    np.minimum.at(first, test.user, test.time)

    def apart(log: Log) -> Log:
        late = np.flatnonzero((log.time >= first[log.user]) & ~log.positive)  # few, as histories come before
        pairs = zip(log.user[late].tolist(), log.time[late].tolist(), strict=True)
        shown = late[np.array([pair in moments for pair in pairs], bool)]
        affected[log.user[shown]] = True
        return log.take(np.delete(np.arange(len(log)), shown)) if len(shown) else log

    return Split(train=apart(split.train), validation=apart(split.validation), test=test), affected


def _ranked(
    score: Callable[[Batch], Array], split: Split, history_length: int | None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Users [B], ranks of their targets, which of these are there, and their rows of the test log, each [B, n]."""
    rank = compiled(_ranks)
    for batch in batches(split, history_length):
        scores = score(batch)
        check_shape("scores", scores, batch.masked.shape)
        ranks, real = np.asarray(rank(scores, batch.targets, batch.masked)), batch.targets != PADDING
        own = slice(batch.users)
        yield batch.who[own], ranks[own], real[own], batch.rows[own]


class _Best:
    """The best ranks of each user's targets. At most 2k of them are below k, since ties rank by their middle."""

    def __init__(self, width: int):
        self.width = max(width, 2 * PAIRED)
        self.who: list[np.ndarray] = []  # each [users]
        self.ranks: list[np.ndarray] = []  # each [users, width]
        self.num_targets: list[np.ndarray] = []  # each [users]

    def add(self, who: np.ndarray, ranks: np.ndarray, counted: np.ndarray) -> None:
        """Add users `who` [B] with the `counted` [B, n] of their targets; those without one are left out."""
        some = counted.any(axis=-1)
        self.who.append(who[some])
        best = np.sort(np.where(counted, ranks, np.inf)[some], axis=-1)[:, : self.width]
        self.ranks.append(np.pad(best, ((0, 0), (0, self.width - best.shape[1])), constant_values=np.inf))
        self.num_targets.append(counted.sum(axis=-1)[some].astype(np.int32))

    def metrics(self, ks: Sequence[int]) -> dict[str, float]:
        """Means over the users."""
        means = compiled(_means, static=2)(np.concatenate(self.ranks), np.concatenate(self.num_targets), tuple(ks))
        named = {f"{name}@{k}": float(means[f"{name}@{k}"]) for name in METRICS for k in ks}
        return named | {"users": float(sum(map(len, self.ranks)))}

    def ndcg(self) -> np.ndarray:
        """NDCG at PAIRED of each user, in the order of their numbers."""
        at = compiled(METRICS["ndcg"], static=2)
        values = np.asarray(at(np.concatenate(self.ranks), np.concatenate(self.num_targets), PAIRED))
        return values[np.argsort(np.concatenate(self.who))]


def _ranks(scores: Array, targets: Array, masked: Array) -> Array:
    return mid_rank(scores.astype(jnp.float32), targets, masked)


def _means(ranks: Array, num_targets: Array, ks: tuple[int, ...]) -> dict[str, Array]:
    """Mean over users of every metric at every cutoff; [users, n], [users]."""
    return {f"{name}@{k}": at(ranks, num_targets, k).mean() for name, at in METRICS.items() for k in ks}


def batches(split: Split, history_length: int | None) -> Iterator[Batch]:
    """Group test users by length of the window that `score` sees, so that short windows get little padding.

    Windows and batches are padded to powers of two, so that few shapes are compiled.
    """
    history = split.train.merge(split.validation)
    starts, test_starts = history.offsets, split.test.offsets
    users = np.flatnonzero(np.diff(test_starts))
    lengths = np.diff(starts)[users]
    windows = lengths if history_length is None else np.minimum(lengths, history_length)
    windows = next_power(np.maximum(windows, SHORTEST_WINDOW))
    if history_length is not None:
        windows = np.minimum(windows, history_length)
    largest = max(1, BATCH_SCORES // history.num_items)
    for window in np.unique(windows):
        same = users[windows == window]
        size = min(largest, int(next_power(len(same))))
        longest = int(np.diff(test_starts)[same].max())
        for places, own in equal_parts(len(same), size):
            yield _batch(history, split.test, same[places], own, (int(window), longest))


def _batch(history: Log, test: Log, users: np.ndarray, own: int, sizes: tuple[int, int]) -> Batch:
    """Arrays of `users` [B]; only the first `own` get targets, the others are padding; `sizes` are L and n."""
    window, longest = sizes
    masked = np.zeros((len(users), history.num_items), bool)
    targets = np.full((len(users), longest), PADDING, np.int32)
    rows = np.zeros(targets.shape, np.int64)
    starts, test_starts = history.offsets, test.offsets
    for row, user in enumerate(users[:own]):
        if not history.repeats:
            masked[row, history.item[starts[user] : starts[user + 1]]] = True
        chosen = test.item[test_starts[user] : test_starts[user + 1]]
        targets[row, : len(chosen)] = chosen
        rows[row, : len(chosen)] = test_starts[user] + np.arange(len(chosen))
    columns = (history.item, history.feedback)
    items, feedback = latest_rows(columns, starts[users], starts[users + 1], window)
    obs = Observation(
        context=None if test.context is None else jnp.asarray(test.context[test_starts[users]]),
        history_items=jnp.asarray(items),
        history_feedback=jnp.asarray(feedback),
    )
    return Batch(obs, masked, targets, rows, users, own)
