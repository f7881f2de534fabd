"""Fitting the response model to a log: causal windows of all users, then calibration on held-out rows."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrec.checks import InputError, check_shape
from jaxrec.config.logged import ResponseConfig
from jaxrec.data.log import Log
from jaxrec.nets.response import ItemEncoder, ResponseHead, UserEncoder
from jaxrec.ops.parts import equal_parts
from jaxrec.sharding.compile import compiled
from jaxrec.supervised.calibration import auc, expected_calibration_error, platt, sigmoid
from jaxrec.supervised.fit import Schedule, fit
from jaxrec.supervised.histories import other_users_totals, row_histories
from jaxrec.supervised.response import (
    Response,
    UserHistory,
    raw_logits,
    shrunk_logit,
    user_features,
    user_state,
)
from jaxrec.types import Array, Params

ROWS_PER_CALL = 2048
# Weight of the penalty on any correction, per calibration row. The latest rows come from few users, whose rows are
# alike: about half of the correction that they suggest holds for later users.
PRIOR = 0.2


def fit_response(
    log: Log,
    item_table: np.ndarray | None,
    config: ResponseConfig,
    seed: int,
    label: str = "fit response model",
) -> tuple[Response, dict]:
    """Fit to `log`, calibrated on its latest rows; item_table [I, E] is the text field.

    The report has the mean loss of every epoch and, for every kind of feedback, AUC and calibration error on
    the calibration rows. In the end items take their statistics from all rows. Raises InputError
    if a kind of feedback has only one value, since there is nothing to learn.
    """
    held = _latest(log, config.holdout)
    fitted_log = log.take(~held)
    _check(fitted_log, item_table)
    base = np.clip(fitted_log.feedback.mean(0), 0.01, 0.99)
    data = {} if item_table is None else {"text": jnp.asarray(item_table, jnp.float32)}
    data["trust"] = item_fields(fitted_log, base, config)[1]
    networks = _Networks.build(log.num_items, len(base), config)
    batches = window_batches(fitted_log, base, config, seed)
    key_init, key_fit = jax.random.split(jax.random.key(seed))
    params = networks.init(key_init, data, jax.tree.map(lambda x: x[0], batches(0)))
    schedule = Schedule(config.epochs, config.learning_rate, config.weight_decay)

    def loss(params: Params, data: dict, batch: dict, key: Array) -> Array:
        logits = networks.logits(params, data, batch, {"dropout": key})
        weight = batch["mask"][..., None].astype(jnp.float32)
        each = optax.sigmoid_binary_cross_entropy(logits, batch["feedback"]) * weight
        return each.sum() / (jnp.maximum(weight.sum(), 1.0) * logits.shape[-1])

    params, losses = fit(loss, params, data, batches, schedule, key_fit, label)
    response = assemble(networks, params, fitted_log, data, base, config)
    logits, labels = logits_of_rows(response, log, np.flatnonzero(held)), log.feedback[held]
    fits = [platt(labels[:, b], logits[:, b], PRIOR * len(labels)) for b in range(labels.shape[1])]
    scale, shift = (jnp.asarray(x, jnp.float32) for x in zip(*fits, strict=True))
    report = {"losses": losses.tolist(), "calibration_rows": int(held.sum()), "calibration": {}}
    for b, name in enumerate(log.feedback_names):
        p = sigmoid(fits[b][0] * logits[:, b] + fits[b][1])
        report["calibration"][name] = {
            "auc": auc(labels[:, b], p),
            "ece": expected_calibration_error(labels[:, b], p),
            "scale": fits[b][0],
            "shift": fits[b][1],
        }
    return assemble(networks, params, log, data, base, config).replace(scale=scale, shift=shift), report


class _Networks(NamedTuple):
    """The three networks with their dropout, tied together over windows of rows."""

    item: ItemEncoder
    user: UserEncoder
    head: ResponseHead

    @staticmethod
    def build(num_items: int, kinds: int, config: ResponseConfig) -> "_Networks":
        return _Networks(
            ItemEncoder(num_items, kinds, config.width, config.dropout),
            UserEncoder(config.width, config.layers, config.heads, config.dropout),
            ResponseHead(kinds),
        )

    def init(self, key: Array, data: dict, batch: dict) -> Params:
        """Parameters {"item", "user", "head"} for one batch of `window_batches`."""
        key_item, key_user, key_head = jax.random.split(key, 3)
        ids, statistics, features = batch["item"], batch["statistics"], batch["features"]
        text, trust = self._text(data, ids), data["trust"][ids]
        (encoding, logit), item = self.item.init_with_output(key_item, ids, text, statistics, trust)
        feedback, mask = batch["feedback"], batch["mask"]
        z, user = self.user.init_with_output(key_user, encoding, feedback, mask, features)
        head = self.head.init(key_head, z, encoding[..., None, :], logit[..., None, :])
        return {"item": item["params"], "user": user["params"], "head": head["params"]}

    def logits(self, params: Params, data: dict, batch: dict, rngs: dict) -> Array:
        """Logits of every row of the windows from the rows before it: [B, L, F]."""
        ids = batch["item"]
        text, trust = self._text(data, ids), data["trust"][ids]
        item: Any = {"params": params["item"]}
        encoded: Any = self.item.apply(item, ids, text, batch["statistics"], trust, rngs=rngs)
        encoding, logit = encoded
        user: Any = {"params": params["user"]}
        feedback, mask, features = batch["feedback"], batch["mask"], batch["features"]
        z = self.user.apply(user, encoding, feedback, mask, features, rngs=rngs)
        head: Any = {"params": params["head"]}
        logits = self.head.apply(head, z, encoding[..., None, :], logit[..., None, :])
        return jnp.asarray(logits)[..., 0, :]

    @staticmethod
    def _text(data: dict, ids: Array) -> Array | None:
        return data["text"][ids] if "text" in data else None


def window_batches(
    log: Log, base: np.ndarray, config: ResponseConfig, seed: int
) -> Callable[[int], dict[str, np.ndarray]]:
    """Cut users' rows into windows of L = history_length: epoch -> arrays [N, B, L, ...], shuffled anew.

    Windows of users with many rows begin elsewhere in every epoch. N is the same in all, so a few windows may be left
    out or empty. Each row has its user's features before it and its item's statistics among other users, so no
    row contains its own answer.
    """
    length, offsets = config.history_length, log.offsets
    position, sizes = np.arange(len(log)) - offsets[log.user], np.diff(offsets)
    long = sizes > length
    count, totals = other_users_totals(log, seed)
    fields = {
        "item": log.item,
        "feedback": log.feedback,
        "statistics": item_statistics(count, totals, base, config),
        "features": _features(log, base, config),
    }
    sizes = sizes[sizes > 0]
    expected = np.where(sizes > length, (sizes + length - 1) / length, 1).sum()  # windows, mean over shifts
    batch = min(config.batch_size, int(expected))
    steps = round(expected / batch)

    def batches(epoch: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([seed, epoch])
        shift = np.where(long, rng.integers(0, length, log.num_users), 0)[log.user] + position
        new = (np.diff(log.user, prepend=-1) != 0) | (shift % length == 0)
        window = np.cumsum(new) - 1
        rows = np.full((window[-1] + 1, length), -1)
        rows[window, shift % length] = np.arange(len(log))
        rows = rng.permutation(rows)[: steps * batch]
        rows = np.pad(rows, ((0, steps * batch - len(rows)), (0, 0)), constant_values=-1)
        rows = rows.reshape(steps, batch, length)
        return {name: values[np.maximum(rows, 0)] for name, values in fields.items()} | {"mask": rows >= 0}

    return batches


def _features(log: Log, base: np.ndarray, config: ResponseConfig) -> np.ndarray:
    """Features of the user before each row: [R, D]; in blocks, since one window per row is large."""
    blocks = []
    for start in range(0, len(log), 32 * ROWS_PER_CALL):
        rows = np.arange(start, min(start + 32 * ROWS_PER_CALL, len(log)))
        history = row_histories(log, rows, config.history_length)
        blocks.append(np.asarray(user_features(history, jnp.asarray(base), config.recent)))
    return np.concatenate(blocks)


def item_statistics(count: np.ndarray, totals: np.ndarray, base: np.ndarray, config: ResponseConfig) -> np.ndarray:
    """What ratings say about items: counts [R], feedback totals [R, F] -> [R, F].

    How often an item is rated is left out: it reflects who rates it rather than who would like it, and a policy would
    exploit the difference.
    """
    means = shrunk_logit(jnp.asarray(count), jnp.asarray(totals), jnp.asarray(base)[None], config.mean_strength)
    return np.asarray(means)


def item_fields(log: Log, base: np.ndarray, config: ResponseConfig) -> tuple[Array, Array]:
    """Statistics [I, F] and trust [I] of every item from all rows of the log."""
    count = np.bincount(log.item, minlength=log.num_items).astype(np.float32)
    totals = np.stack([np.bincount(log.item, f, log.num_items) for f in log.feedback.T], axis=1)
    statistics = item_statistics(count, totals.astype(np.float32), base, config)
    return jnp.asarray(statistics), jnp.asarray(count / (count + config.id_strength), jnp.float32)


def assemble(
    networks: _Networks, params: Params, log: Log, data: dict, base: np.ndarray, config: ResponseConfig
) -> Response:
    """Encode every item with its statistics in `log`; the calibration is the identity."""
    statistics, trust = item_fields(log, base, config)
    ids = jnp.arange(log.num_items)
    encode = compiled(networks.item.apply)
    items, item_logits = encode({"params": params["item"]}, ids, data.get("text"), statistics, trust)
    users = {"user": params["user"], "head": params["head"]}
    ones, zeros = jnp.ones(len(base)), jnp.zeros(len(base))
    context_size = 0 if log.context is None else log.context.shape[1]
    return Response(users, items, item_logits, jnp.asarray(base), ones, zeros, config, log.feedback_names, context_size)


def logits_of_rows(response: Response, log: Log, rows: np.ndarray) -> np.ndarray:
    """Uncalibrated logits of rows [B] of the log, each from all earlier rows of its user: [B, F] float64."""

    def answer(response: Response, history: UserHistory, items: Array) -> Array:
        z = user_state(response, history)
        logits = raw_logits(response, z, response.items[items][:, None], response.item_logits[items][:, None])
        return logits[:, 0]

    run, out = compiled(answer), []
    for places, _ in equal_parts(len(rows), ROWS_PER_CALL):
        part = rows[places]
        history = row_histories(log, part, response.config.history_length)
        out.append(np.asarray(run(response, history, log.item[part])))
    return np.concatenate(out)[: len(rows)].astype(np.float64) if out else np.zeros((0, len(response.base)))


def _latest(log: Log, share: float) -> np.ndarray:
    """Rows [R] bool for calibration: the latest `share`, at least one."""
    held = np.zeros(len(log), bool)
    held[np.argsort(log.time, kind="stable")[len(log) - max(1, round(len(log) * share)) :]] = True
    return held


def _check(log: Log, item_table: np.ndarray | None) -> None:
    """Reject a table of another catalogue, and feedback with only one value."""
    if item_table is not None:
        check_shape("item_table", item_table, (log.num_items, None))
    for name, values in zip(log.feedback_names, log.feedback.T, strict=True):
        if len(values) == 0 or values.min() == values.max():
            raise InputError(
                f"data.feedback.{name}: expected rows with and without it in the training log, got one value "
                f"in all {len(values):,} rows; set at_least so that both occur."
            )
