"""Comebacks of a logged user: the day of the comeback, and the next visit of the same user.

After a visit that the user ended, the day of the comeback is drawn (`jaxrec.supervised.comeback`). The next visit
keeps the history and the context. Patience starts again, and `drift` compares with the history at this point. The end
of the last of `sessions` visits is a termination. Its comeback day is drawn and rewarded too. A visit that is cut at
`requests` ends the episode.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.logged import ComebackConfig, LoggedConfig
from jaxrec.envs.answers import Answers
from jaxrec.envs.logged_world import LoggedUsers
from jaxrec.envs.rewards import COMEBACK_DAY, feedback_weights
from jaxrec.supervised.comeback import comeback_chance, draw_day
from jaxrec.types import Array

# (users, state after the request, feedback [K, F], left [] bool, uniform []) -> state, day [] (0: has not left),
# terminated []
Comeback = Callable[[LoggedUsers, Any, Array, Array, Array], tuple[Any, Array, Array]]


def make_comeback(
    config: LoggedConfig, users: LoggedUsers, answers: Answers, restart: Callable[[], Any]
) -> Comeback | None:
    """Build how users come back, or None if they do not; `restart` gives the leave model's state for a new visit.

    Raises InputError if the simulator has no comeback model, or one with other constants.
    """
    model = config.comeback_model
    if model is None:
        return None
    _check_fitted(model, users)
    weights = feedback_weights(config.reward, users.feedback_names)

    def come_back(
        users: LoggedUsers, state: Any, feedback: Array, left: Array, uniform: Array
    ) -> tuple[Any, Array, Array]:
        assert users.comeback is not None
        z = answers.state(users, state.person, state.history)
        satisfaction = (feedback @ jnp.asarray(weights, feedback.dtype)).mean()
        day = draw_day(comeback_chance(users.comeback, z, satisfaction), uniform)
        last = state.session + 1 >= model.sessions
        again = state.replace(
            leave=restart(),
            person=answers.again(state.person, state.history),
            request=jnp.zeros_like(state.request),
            session=state.session + 1,
        )
        after = jax.tree.map(lambda new, old: jnp.where(left & ~last, new, old), again, state)
        return after, jnp.where(left, day, 0).astype(jnp.float32), left & last

    return come_back


def one_session(config: LoggedConfig) -> LoggedConfig:
    """Change the config so that each episode is a single visit."""
    reward = {name: weight for name, weight in config.reward.items() if name != COMEBACK_DAY}
    return dataclasses.replace(config, comeback_model=None, reward=reward)


def _check_fitted(model: ComebackConfig, users: LoggedUsers) -> None:
    fitted = users.comeback
    if fitted is None:
        raise InputError(
            "env.comeback_model: the simulator was fitted without one; fit it again with env.comeback_model set."
        )
    for name in ("reward_weight", "base"):
        want, got = getattr(model, name), float(getattr(fitted, name))
        if not np.isclose(want, got, rtol=1e-5):
            raise InputError(
                f"env.comeback_model.{name}: {want:g}, but the simulator's comeback model was fitted with {got:g}; "
                "use that value, or fit the simulator again."
            )
