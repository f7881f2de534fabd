"""A fitted simulator: world parameters of logged users, made from a log, saved and loaded.

FOLDER/arrays/, description.json   positions of the log and the item table (`jaxrec.storage.portable`)
FOLDER/response_N/                 the members of the fitted ensemble, if users answer by their last rows
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrec.checks import InputError, check_range
from jaxrec.data.log import Log
from jaxrec.envs.known_answers import KnownAnswers
from jaxrec.nets.tastes import Tastes, as_arrays, from_arrays, without_persons
from jaxrec.storage.digests import sealed_folder
from jaxrec.storage.portable import load_portable, write_portable
from jaxrec.storage.schemas import check_description
from jaxrec.supervised.comeback import ComebackModel
from jaxrec.supervised.leaving import LeaveModel
from jaxrec.supervised.response import Response, load_response, save_response
from jaxrec.types import Array, World

KIND = "simulator"
LAYOUT = 3  # of the arrays and the description
COMEBACK = ("v", "c", "reward_weight", "base")  # arrays of a comeback model
POSITIONS = ("items", "feedback", "totals", "begin", "length")  # arrays that every log has


class LoggedUsers(struct.PyTreeNode):
    """What the user model reads: what was fitted to the users, and the log in which new users start."""

    tastes: Tastes | None  # of the U users
    members: Response | None  # or an ensemble, leaves [members, ...]; users follow its mean probability
    items: Array  # [L] int32, rows of the log sorted by user and time
    feedback: Array  # [L, F]
    totals: Array  # [L, F] feedback that the row's user gave before the row
    begin: Array  # [U] int32, first row of each user; users without rows are left out
    length: Array  # [U] int32, number of rows of each user
    context: Array | None = None  # [L, C]
    comeback: ComebackModel | None = None
    leave: LeaveModel | None = None
    known: KnownAnswers | None = None  # or their answers are known; such worlds only judge, and are not saved
    text_size: int = struct.field(pytree_node=False, default=0)  # leading columns of the item table: text vectors

    @property
    def feedback_names(self) -> tuple[str, ...]:
        """Names of the F kinds of feedback."""
        fitted = self.known or self.tastes or self.members
        assert fitted is not None
        return fitted.feedback_names

    @property
    def num_members(self) -> int:
        """Fits whose mean users follow; 1 if they have tastes."""
        return 1 if self.members is None else self.members.base.shape[0]

    @property
    def context_size(self) -> int:
        """C, 0 if the log has no context."""
        return 0 if self.context is None else self.context.shape[1]

    def text(self, item_table: Array) -> Array:
        """Take the text vectors from rows of the item table: [..., E] -> [..., text_size]."""
        return item_table[..., : self.text_size]


def make_world(
    fitted: Tastes | Sequence[Response] | KnownAnswers,
    log: Log,
    item_table: np.ndarray,
    text_size: int,
    recommendable: np.ndarray | None = None,
    comeback: ComebackModel | None = None,
    leave: LeaveModel | None = None,
) -> World:
    """Build world parameters of users who start at positions of `log`; policies read `item_table` [I, E].

    `fitted` are tastes of the log's users, or response models of one shape with different seeds, or known answers, of
    which each row belongs to a user with rows in `log`. Text vectors are the first `text_size` columns of the table.
    `recommendable` is [I] bool.
    """
    if not len(log):
        raise InputError("simulator: expected a log with rows, in which users start, got none.")
    check_range("text_size", text_size, 1, item_table.shape[1])
    first, length = log.offsets[:-1], np.diff(log.offsets)
    begin = first[log.user]  # [L]
    before = np.concatenate([np.zeros((1, log.feedback.shape[1])), np.cumsum(log.feedback, 0, dtype=np.float64)])
    tastes = _of_users(fitted, length > 0) if isinstance(fitted, Tastes) else None
    users = LoggedUsers(
        tastes=tastes,
        members=_stack(fitted) if isinstance(fitted, Sequence) else None,
        items=jnp.asarray(log.item, jnp.int32),
        feedback=jnp.asarray(log.feedback, jnp.float32),
        totals=jnp.asarray(before[np.arange(len(log))] - before[begin], jnp.float32),
        begin=jnp.asarray(first[length > 0], jnp.int32),
        length=jnp.asarray(length[length > 0], jnp.int32),
        context=None if log.context is None else jnp.asarray(log.context, jnp.float32),
        comeback=comeback,
        leave=leave,
        known=fitted if isinstance(fitted, KnownAnswers) else None,
        text_size=text_size,
    )
    shown = None if recommendable is None else jnp.asarray(np.flatnonzero(recommendable), jnp.int32)
    return _world(item_table, shown, users)


def save_simulator(folder: Path, world: World) -> None:
    """Write a fitted simulator completely or not at all."""
    users: LoggedUsers = world.users
    arrays: dict[str, Any] = {"item_table": world.item_table} | {name: getattr(users, name) for name in POSITIONS}
    optional = {"recommendable": world.recommendable, "context": users.context}
    arrays |= {name: value for name, value in optional.items() if value is not None}
    members = 0 if users.members is None else users.num_members
    description: dict[str, Any] = {"layout": LAYOUT, "members": members, "text_size": users.text_size}
    if users.tastes is not None:
        arrays["tastes"] = as_arrays(users.tastes)
        description["tastes"] = {"feedback": list(users.tastes.feedback_names)}
    if users.comeback is not None:
        arrays["comeback"] = {name: getattr(users.comeback, name) for name in COMEBACK}
        description["comeback"] = {"source": users.comeback.source}
    if users.leave is not None:
        arrays["leave"] = {"weights": users.leave.weights}
    with sealed_folder(Path(folder).absolute()) as temporary:
        write_portable(temporary, KIND, arrays, description)
        for n in range(members):
            save_response(temporary / f"response_{n}", jax.tree.map(lambda x, n=n: x[n], users.members))


def load_simulator(folder: str | Path) -> World:
    """Open what `save_simulator` or `jaxrec fit-simulator` wrote; raises InputError if it is missing or damaged."""
    folder = Path(folder)
    if (folder / "train").is_dir():  # of `jaxrec fit-simulator`, which holds the judge too
        folder = folder / "train"
    arrays, description = load_portable(folder, KIND)
    if description.get("layout") != LAYOUT:
        raise InputError(f"{folder}: simulator of another version of jaxrec; fit it again with `jaxrec train`.")
    check_description(folder / "description.json", description)
    try:
        responses = [load_response(folder / f"response_{n}") for n in range(description["members"])]
        arrays, tastes = jax.tree.map(jnp.asarray, arrays), None
        if "tastes" in description:
            tastes = from_arrays(arrays["tastes"], tuple(description["tastes"]["feedback"]))
        comeback = None
        if "comeback" in arrays:
            comeback = ComebackModel(**arrays["comeback"], source=description["comeback"]["source"])
        users = LoggedUsers(
            tastes,
            _stack(responses) if responses else None,
            *(arrays[name] for name in POSITIONS),
            context=arrays.get("context"),
            comeback=comeback,
            leave=LeaveModel(**arrays["leave"]) if "leave" in arrays else None,
            text_size=description["text_size"],
        )
        return _world(arrays["item_table"], arrays.get("recommendable"), users)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder}: damaged simulator ({error}); fit it again with `jaxrec train`.") from None


def _world(item_table: Array | np.ndarray, recommendable: Array | None, users: LoggedUsers) -> World:
    usual = None if users.context is None else users.context.mean(0)
    tastes = None if users.tastes is None else without_persons(users.tastes)
    return World(jnp.asarray(item_table), recommendable, usual_context=usual, users=users, tastes=tastes)


def _of_users(tastes: Tastes, kept: np.ndarray) -> Tastes:
    """Tastes of the users `kept` [U] bool."""
    assert tastes.means is not None and tastes.draws is not None
    return tastes.replace(means=tastes.means[kept], draws=tastes.draws[:, kept])


def _stack(members: Sequence[Response]) -> Response:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
