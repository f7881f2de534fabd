"""How users answer: by fitted tastes of their own, by the last rows of their history, or as is known of them.

People with tastes of their own are moved by what was shown lately as far as the log confirms it
(`jaxrec.nets.effects`).

Pure functions of one user. A person is what stays the same while items are shown: with tastes the drawn theta, without
them the history at the start of the visit, and a row of the matrix if the answers are known.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrec.checks import InputError
from jaxrec.config.logged import LoggedConfig
from jaxrec.envs.known_answers import known_probabilities
from jaxrec.envs.logged_world import LoggedUsers
from jaxrec.nets.effects import MEMORY, offsets, remembered
from jaxrec.nets.tastes import Tastes, all_logits, directions_of, logits_of, probabilities
from jaxrec.ops.draws import scaled
from jaxrec.supervised.response import Response, UserHistory, all_probabilities, latest, user_state
from jaxrec.supervised.response import probabilities as response_probabilities
from jaxrec.types import Array


class Answers(NamedTuple):
    """Functions of the users' data, the person and the history."""

    # Users, user [] int32, a number in [0, 1), the history at the start of the visit -> person
    person: Callable[[LoggedUsers, Array, Array, UserHistory], Any]
    # Users, person, history [...], items [..., K] or None for all -> P(feedback) of single items [..., K or I, F]
    probabilities: Callable[[LoggedUsers, Any, UserHistory, Array | None], Array]
    again: Callable[[Any, UserHistory], Any]  # the person at the start of another visit with this history
    state: Callable[[LoggedUsers, Any, UserHistory], Array]  # z [members, d], which the comeback model reads


def make_answers(config: LoggedConfig, users: LoggedUsers) -> Answers:
    """Build how users answer, by what is known of them or was fitted to the log."""
    if users.known is not None:
        return by_known_answers()
    return by_last_rows(config) if users.tastes is None else by_tastes()


def by_tastes() -> Answers:
    """Build users with tastes of their own: an episode draws one of the M versions of a user."""

    def person(users: LoggedUsers, user: Array, uniform: Array, history: UserHistory) -> Array:
        assert users.tastes is not None and users.tastes.draws is not None
        draws = users.tastes.draws
        return draws[scaled(uniform, draws.shape[0]), user]  # [F, D]

    def answer(users: LoggedUsers, theta: Array, history: UserHistory, items: Array | None) -> Array:
        assert users.tastes is not None
        logits = all_logits(users.tastes, theta) if items is None else logits_of(users.tastes, theta, items)
        if users.tastes.effects is None:
            return probabilities(users.tastes, logits)
        return probabilities(users.tastes, logits, offset=_moved(users.tastes, theta, history, items))

    def state(users: LoggedUsers, theta: Array, history: UserHistory) -> Array:
        return theta.reshape(1, -1)

    return Answers(person, answer, lambda theta, history: theta, state)


def moved_probabilities(tastes: Tastes, theta: Array, history: UserHistory, items: Array, more: Array) -> Array:
    """P(feedback) of items [K] of one user who remembers `more` [k] than the history holds: [K, F]."""
    logits = logits_of(tastes, theta, items)
    return probabilities(tastes, logits, offset=_moved(tastes, theta, history, items, more))


def _moved(tastes: Tastes, theta: Array, history: UserHistory, items: Array | None, more: Array | float = 0.0) -> Array:
    """What the short-term effects add to the logits of items [..., K] or of all: [..., K or I, F]."""
    assert tastes.effects is not None
    rows, answered = history.items[..., -MEMORY:], history.feedback[..., -MEMORY:, :]
    seen, rows = rows >= 0, jnp.maximum(rows, 0)
    surprise = answered - probabilities(tastes, logits_of(tastes, theta, rows))
    recent = remembered(tastes.effects, directions_of(tastes, rows), surprise, seen)
    recent = recent.replace(shown=recent.shown + more)
    return offsets(tastes.effects, recent, directions_of(tastes, items), history.context)


def by_known_answers() -> Answers:
    """Build users whose answers are known; the person is a row of the matrix, [] int32."""

    def person(users: LoggedUsers, user: Array, uniform: Array, history: UserHistory) -> Array:
        return user

    def answer(users: LoggedUsers, person: Array, history: UserHistory, items: Array | None) -> Array:
        assert users.known is not None
        return known_probabilities(users.known, person, items)

    def state(users: LoggedUsers, person: Array, history: UserHistory) -> Array:
        raise InputError("env.comeback_model: when people with known answers come back is not known; remove it.")

    return Answers(person, answer, lambda person, history: person, state)


def by_last_rows(config: LoggedConfig) -> Answers:
    """Build users of the KuaiSim class, whose answers follow what was shown last.

    For each member of the ensemble, P is drift p(history now) + (1 - drift) p(history at the start of the visit). The
    result is the mean over the members minus `pessimism` standard deviations, at least 0.
    """

    def person(users: LoggedUsers, user: Array, uniform: Array, history: UserHistory) -> UserHistory | None:
        # State z is not stored instead: auto-reset would compute a new user's z at every step.
        return history if config.drift < 1 else None

    def answer(users: LoggedUsers, first: UserHistory | None, history: UserHistory, items: Array | None) -> Array:
        assert users.members is not None

        def read(model: Response, rows: UserHistory) -> Array:
            z = user_state(model, latest(rows, model.history_length))
            return all_probabilities(model, z) if items is None else response_probabilities(model, z, items)

        def member(model: Response) -> Array:
            if first is None:
                return read(model, history)
            if config.drift == 0:
                return read(model, first)
            return config.drift * read(model, history) + (1 - config.drift) * read(model, first)

        p = jax.vmap(member)(users.members)
        if not config.pessimism:
            return p.mean(0)
        return jnp.maximum(p.mean(0) - config.pessimism * p.std(0), 0.0)

    def again(first: UserHistory | None, history: UserHistory) -> UserHistory | None:
        return history if config.drift < 1 else None

    def state(users: LoggedUsers, first: UserHistory | None, history: UserHistory) -> Array:
        assert users.members is not None
        length = users.members.history_length
        return jax.vmap(lambda member: user_state(member, latest(history, length)))(users.members)

    return Answers(person, answer, again, state)
