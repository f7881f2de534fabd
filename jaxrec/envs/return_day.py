"""What happens between two visits of a logged user: the day of return, and the next visit of the same user.

After a visit that the user ended, the day of return is drawn (`jaxrec.supervised.returns`) and the next visit begins
with the history as it is: patience starts again, the context stays, `drift` counts from here. The end of the last of
`sessions` visits is a termination; its day of return is drawn and rewarded too. A visit cut at `requests` ends all.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.logged import LoggedConfig, ReturnConfig
from jaxrec.envs.rewards import RETURN_DAY, feedback_weights
from jaxrec.envs.simulator import LoggedUsers
from jaxrec.supervised.response import user_state
from jaxrec.supervised.returns import draw_day, return_chance
from jaxrec.types import Array

# (users, state after the request, feedback [K, F], left [] bool, uniform []) -> state, day [] (0: has not left),
# terminated []
ComeBack = Callable[[LoggedUsers, Any, Array, Array, Array], tuple[Any, Array, Array]]


def make_return(config: LoggedConfig, users: LoggedUsers, restart: Callable[[], Any]) -> ComeBack | None:
    """How users come back, None where they do not; `restart` gives the leave model's state of a visit that begins.

    Raises InputError where the simulator has no return model, or one of other constants.
    """
    model = config.return_model
    if model is None:
        return None
    _check_fitted(model, users)
    weights = feedback_weights(config.reward, users.members.feedback_names)

    def come_back(
        users: LoggedUsers, state: Any, feedback: Array, left: Array, uniform: Array
    ) -> tuple[Any, Array, Array]:
        assert users.returns is not None
        z = jax.vmap(lambda member: user_state(member, state.history))(users.members)  # [members, d]
        satisfaction = (feedback @ jnp.asarray(weights, feedback.dtype)).mean()
        day = draw_day(return_chance(users.returns, z, satisfaction), uniform)
        last = state.session + 1 >= model.sessions
        again = state.replace(
            leave=restart(),
            first=None if state.first is None else state.history,
            request=jnp.zeros_like(state.request),
            session=state.session + 1,
        )
        after = jax.tree.map(lambda new, old: jnp.where(left & ~last, new, old), again, state)
        return after, jnp.where(left, day, 0).astype(jnp.float32), left & last

    return come_back


def one_session(config: LoggedConfig) -> LoggedConfig:
    """The same users in single visits."""
    reward = {name: weight for name, weight in config.reward.items() if name != RETURN_DAY}
    return dataclasses.replace(config, return_model=None, reward=reward)


def _check_fitted(model: ReturnConfig, users: LoggedUsers) -> None:
    fitted = users.returns
    if fitted is None:
        raise InputError(
            "env.return_model: the simulator was fitted without one; fit it again with env.return_model in its recipe."
        )
    for name in ("reward_weight", "base"):
        want, got = getattr(model, name), float(getattr(fitted, name))
        if not np.isclose(want, got, rtol=1e-5):
            raise InputError(
                f"env.return_model.{name}: {want:g}, but the simulator's return model was fitted with {got:g}; "
                "use that, or fit it again."
            )
