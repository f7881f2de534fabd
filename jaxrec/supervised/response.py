"""The fitted response model as simulators read it: a user's history -> probability of every feedback kind.

Everything here is pure and plain. `UserHistory` is what a simulated user carries: `add_to_history` pushes a shown
slate into it, `user_state` reads it, `probabilities` predicts the feedback on items. Fitting is in response_fit.py.
"""

from pathlib import Path

import flax.errors
import flax.traverse_util as tree_paths
import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import struct
from safetensors import SafetensorError

from jaxrec.checks import InputError
from jaxrec.config.logged import ResponseConfig
from jaxrec.nets.response import ResponseHead, UserEncoder
from jaxrec.storage.digests import check_digests, sealed_folder
from jaxrec.storage.files import read_json_object, write_json
from jaxrec.types import PADDING, Array, Params

FORMAT = "jaxrec.response.2"


class Response(struct.PyTreeNode):
    """Encoded items, the user networks and the calibration; arrays, and static fields."""

    params: Params  # {"user": ..., "head": ...}
    items: Array  # [I, d] encodings
    item_logits: Array  # [I, F]
    base: Array  # [F] mean feedback of the log, inside (0, 1)
    scale: Array  # [F] Platt calibration of the logits
    shift: Array  # [F]
    config: ResponseConfig = struct.field(pytree_node=False)
    feedback_names: tuple[str, ...] = struct.field(pytree_node=False)
    context_size: int = struct.field(pytree_node=False, default=0)  # C

    @property
    def history_length(self) -> int:
        """H, latest items that a user's state reads."""
        return self.config.history_length


class UserHistory(struct.PyTreeNode):
    """The latest items one by one, totals of everything before now, and the context of the visit."""

    items: Array  # [..., H] int32, newest last, PADDING where empty
    feedback: Array  # [..., H, F], 0 where empty
    count: Array  # [...] float32, items so far
    totals: Array  # [..., F], feedback so far
    context: Array | None = None  # [..., C] of the visit; None where the log has none


def empty_history(response: Response) -> UserHistory:
    """Build the history of one user about whom nothing is known."""
    length, kinds = response.config.history_length, len(response.feedback_names)
    return UserHistory(
        items=jnp.full(length, PADDING, jnp.int32),
        feedback=jnp.zeros((length, kinds)),
        count=jnp.zeros(()),
        totals=jnp.zeros(kinds),
        context=jnp.zeros(response.context_size) if response.context_size else None,
    )


def add_to_history(history: UserHistory, items: Array, feedback: Array) -> UserHistory:
    """Push a shown slate [..., K] and its feedback [..., K, F] after the newest item, in slate order."""
    length = history.items.shape[-1]
    return history.replace(
        items=jnp.concatenate([history.items, items], axis=-1)[..., -length:],
        feedback=jnp.concatenate([history.feedback, feedback], axis=-2)[..., -length:, :],
        count=history.count + items.shape[-1],
        totals=history.totals + feedback.sum(-2),
    )


def latest(history: UserHistory, length: int) -> UserHistory:
    """Cut the window to its newest `length` rows; totals stay those of the whole past."""
    return history.replace(items=history.items[..., -length:], feedback=history.feedback[..., -length:, :])


def user_state(response: Response, history: UserHistory) -> Array:
    """Read histories [...] into states z [..., d]."""
    config, mask = response.config, history.items >= 0
    encoder = UserEncoder(config.width, config.layers, config.heads)
    rows = response.items[jnp.maximum(history.items, 0)]
    features = user_features(history, response.base, config.recent)
    user = {"params": response.params["user"]}
    return jnp.asarray(encoder.apply(user, rows, history.feedback, mask, features, last=True))


def probabilities(response: Response, z: Array, items: Array) -> Array:
    """P(feedback) of items [..., K] for users in states z [..., d] -> [..., K, F]."""
    return calibrated(response, raw_logits(response, z, response.items[items], response.item_logits[items]))


def all_probabilities(response: Response, z: Array) -> Array:
    """P(feedback) of the whole catalogue for users in states z [..., d] -> [..., I, F]."""
    return calibrated(response, raw_logits(response, z, response.items, response.item_logits))


def raw_logits(response: Response, z: Array, encoding: Array, item_logit: Array) -> Array:
    """Uncalibrated: z [..., d], encodings [..., K, d], item logits [..., K, F] -> logits [..., K, F]."""
    head = ResponseHead(len(response.feedback_names))
    logits = head.apply({"params": response.params["head"]}, z, encoding, item_logit)
    return jnp.asarray(logits)


def calibrated(response: Response, logits: Array) -> Array:
    """Logits [..., F] -> probabilities; the sigmoid is applied here and nowhere else."""
    axes = tuple(range(logits.ndim - 1))
    scale, shift = jnp.expand_dims(response.scale, axes), jnp.expand_dims(response.shift, axes)
    return jax.nn.sigmoid(logits * scale + shift)


def user_features(history: UserHistory, base: Array, recent: tuple[float, ...]) -> Array:
    """What is known about users apart from single items: [...] -> [..., D], D = 1 + F (1 + len(recent)) + C.

    The number of items so far, their mean feedback shrunk towards `base`, and exponential running means over the
    window (rate `recent`, newest item heaviest), all about 0 for a new user; then the context.
    """
    lead = history.count.ndim
    base = jnp.expand_dims(base, tuple(range(lead)))
    mean = shrunk_logit(history.count, history.totals, base, 3.0)
    steps_ago = jnp.arange(history.items.shape[-1])[::-1].astype(jnp.float32)
    off_base = (history.feedback - base[..., None, :]) * (history.items >= 0)[..., None].astype(jnp.float32)
    running = [4.0 * jnp.einsum("h,...hf->...f", rate * (1.0 - rate) ** steps_ago, off_base) for rate in recent]
    context = [] if history.context is None else [history.context]
    return jnp.concatenate([log_count(history.count)[..., None], mean, *running, *context], axis=-1)


def log_count(count: Array) -> Array:
    """Scale counts to the size of the other features: [...] -> [...]."""
    return jnp.log1p(count) / 3.0 - 0.5


def shrunk_logit(count: Array, totals: Array, base: Array, strength: float) -> Array:
    """Logit of totals [..., F] / count [...] shrunk to `base` by `strength` rows, minus the logit of base."""
    mean = (totals + strength * base) / (count[..., None] + strength)
    return jnp.log(mean / (1.0 - mean)) - jnp.log(base / (1.0 - base))


def save_response(path: str | Path, response: Response) -> None:
    """Write the folder `path` whole or not at all: arrays.safetensors and response.json."""
    arrays = {name: getattr(response, name) for name in ("items", "item_logits", "base", "scale", "shift")}
    flat = tree_paths.flatten_dict(arrays | {"params": response.params}, sep="/")
    meta = {
        "format": FORMAT,
        "config": vars(response.config),
        "feedback": list(response.feedback_names),
        "context_size": response.context_size,
    }
    with sealed_folder(Path(path)) as folder:
        safetensors.numpy.save_file({k: np.asarray(v) for k, v in flat.items()}, folder / "arrays.safetensors")
        write_json(folder / "response.json", meta)


def load_response(path: str | Path) -> Response:
    """Read what `save_response` wrote; raises InputError if the folder is damaged or something else."""
    path = Path(path)
    where, wanted = (
        f"{path}: not a readable response model",
        "expected what `jaxrec train` writes to RUN/simulators; train again",
    )
    if path.is_dir():
        check_digests(path, wanted, must=False)
    meta = read_json_object(path / "response.json", wanted, where=f"{where}: response.json")
    if meta.get("format") != FORMAT:
        raise InputError(f"{path}: response.json is not of format {FORMAT!r}; {wanted}.")
    try:
        config = ResponseConfig(**meta["config"] | {"recent": tuple(meta["config"]["recent"])})
        flat = safetensors.numpy.load_file(path / "arrays.safetensors")
        tree = tree_paths.unflatten_dict({k: jnp.asarray(v) for k, v in flat.items()}, sep="/")
        static = {"feedback_names": tuple(meta["feedback"]), "context_size": meta["context_size"]}
        response = Response(**tree, config=config, **static)
        if broken := [name for name, x in flat.items() if x.dtype.kind == "f" and not np.isfinite(x).all()]:
            raise ValueError(f"{broken[0]} holds numbers that are not finite")
        jax.eval_shape(lambda r: all_probabilities(r, user_state(r, empty_history(r))), response)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        detail = str(error).split("\n")[0]
        raise InputError(f"{where} ({detail}); {wanted}.") from None
    except flax.errors.FlaxError as error:
        raise InputError(f"{path}: arrays do not fit the config ({str(error).splitlines()[0]}); {wanted}.") from None
    return response
