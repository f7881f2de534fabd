"""Recommenders to compare a policy with, from random slates to oracles of the simulator.

All of them obey the policy's rules: only recommendable items, and no item of the history. A single ranking for all
users thus gives each user the first K items that are new to them. Where `EnvSpec.repeats` allows items of the
history to be shown again, `repeats` allows it here.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.config.full_matrix import FullMatrixConfig
from jaxrec.config.logged import LoggedConfig
from jaxrec.config.policy import PolicyConfig
from jaxrec.envs import full_matrix
from jaxrec.envs.logged import expected_rewards
from jaxrec.envs.rewards import feedback_weights
from jaxrec.envs.vector_actions import make_to_slate
from jaxrec.evaluation.scorers import Scorer
from jaxrec.evaluation.simulate import Recommender
from jaxrec.nets.belief import expected_after
from jaxrec.nets.offers import exclude_history
from jaxrec.nets.policy import Items, Policy, catalogue_scores, make_policy
from jaxrec.nets.tastes import Tastes
from jaxrec.nets.vector_policy import VectorPolicy, make_vector_policy
from jaxrec.ops.slates import top_slate
from jaxrec.sharding.compile import compiled
from jaxrec.types import Array, Env, EnvSpec, Observation, Params, VectorAction, World

ArraysOf = Callable[[Params], Any]  # parameters of a policy -> the arrays of its recommender


def learned(policy: Policy, slate_size: int, arrays: tuple[Params, Items] | None = None) -> Recommender:
    """The trained policy's slate, as it would be shown; `arrays` are its parameters and the item tower's output."""

    def choose(arrays: tuple[Params, Items], key: Array, env_state: Any, obs: Observation, world: World) -> Array:
        params, items = arrays
        return policy.show(key, policy.apply(params, items, obs, world), items, obs, world, slate_size)

    def score(arrays: tuple[Params, Items], obs: Observation, world: World) -> Array:
        return catalogue_scores(policy, *arrays, obs, world)

    return Recommender(choose, arrays, score)


def names_items(spec: EnvSpec) -> bool:
    """False for policies that only weigh the behaviours which simulated users predict."""
    return not isinstance(spec.action, VectorAction) or spec.action.of in ("item", "query")


def weighing(policy: VectorPolicy, env: Env, arrays: tuple[Params, Items, World] | None = None) -> Recommender:
    """Slates by the behaviour weights of a policy; `env` takes slates, and expects feedback from what policies see.

    The third of the `arrays` is the world whose model expects, also while other users are judged. Where their answers
    are known, these take the model's place.
    """
    to_slate = make_to_slate(env, policy.action)

    def choose(
        arrays: tuple[Params, Items, World], key: Array, env_state: Any, obs: Observation, world: World
    ) -> Array:
        params, items, fitted = arrays
        expecting = world if world.users.members is None else fitted
        weights = policy.best(params, items, obs)
        return jax.vmap(to_slate, in_axes=(0, 0, 0, None))(env_state, obs, weights, expecting)

    return Recommender(choose, arrays)


def of_policy(spec: EnvSpec, network: PolicyConfig, env: Env, fitted: World) -> tuple[Recommender, ArraysOf]:
    """The recommender of a policy over `spec` and the function that gives its arrays; `env` is that of slates."""
    policy = make_policy(spec, network)
    if names_items(spec):
        return learned(policy, env.spec.slate_size), lambda params: (params, policy.items(params, fitted))
    vectors = make_vector_policy(spec, network)
    return weighing(vectors, env), lambda params: (params, policy.items(params, fitted), fitted)


def uniform(slate_size: int, repeats: bool = False) -> Recommender:
    """A uniformly random slate."""

    def choose(arrays: None, key: Array, env_state: Any, obs: Observation, world: World) -> Array:
        scores = jax.random.uniform(key, _offer_shape(obs, world))
        return _best(scores, obs, world, slate_size, repeats)

    return Recommender(choose)


def ranking(scores: Array, slate_size: int, repeats: bool = False) -> Recommender:
    """The same ranking for all users, by `scores` [I]."""

    def choose(scores: Array, key: Array, env_state: Any, obs: Observation, world: World) -> Array:
        offered = jnp.broadcast_to(_on_offer(scores, obs, world), _offer_shape(obs, world))
        return _best(offered, obs, world, slate_size, repeats)

    def score(scores: Array, obs: Observation, world: World) -> Array:
        assert obs.history_items is not None
        return jnp.broadcast_to(scores, (*obs.history_items.shape[:-1], *scores.shape))

    return Recommender(choose, scores, score)


def by_scorer(scorer: Scorer, counts: Array, slate_size: int) -> Recommender:
    """The items with the highest scores; equal scores fall back to popularity, by `counts` [I]."""

    def choose(arrays: tuple[Any, Array], key: Array, env_state: Any, obs: Observation, world: World) -> Array:
        inner, counts = arrays
        scores = _allowed(_on_offer(scorer.score(inner, obs), obs, world), obs, world)
        # Popular items come first, and the highest of equal scores is the first one.
        order = jnp.broadcast_to(jnp.argsort(-_on_offer(counts, obs, world), axis=-1), scores.shape)
        best = top_slate(jnp.take_along_axis(scores, order, axis=-1), slate_size)
        return jnp.take_along_axis(order, best, axis=-1)

    def score(arrays: tuple[Any, Array], obs: Observation, world: World) -> Array:
        return scorer.score(arrays[0], obs)

    return Recommender(choose, (scorer.arrays, counts), score)


def greedy(config: LoggedConfig, fitted: World) -> Recommender:
    """Highest expected reward: an oracle that reads the person's hidden state and plans nothing beyond the slate.

    People with tastes have their own in each simulator, and known answers are read where they are known. Users who
    answer by their last rows are asked through the response model of `fitted`, an oracle in that simulator and an
    estimate in others.
    """
    by_tastes = fitted.users.tastes is not None

    def choose(fitted: World | None, key: Array, env_state: Any, obs: Observation, world: World) -> Array:
        known = world if fitted is None or world.users.members is None else fitted
        scores = _on_offer(expected_rewards(env_state, known, config), obs, world)
        return _best(scores, obs, world, config.slate_size, config.repeats)

    return Recommender(choose, None if by_tastes else fitted)


def posterior_mean(config: LoggedConfig, fitted: World) -> Recommender:
    """Highest expected reward under the fitted tastes, given what was seen of the person: what `all_items` learns.

    The person is new to `fitted`, whose items and population are known.
    """
    tastes: Tastes = fitted.tastes
    weights = jnp.asarray(feedback_weights(config.reward, fitted.users.feedback_names))

    def score(tastes: Tastes, obs: Observation, world: World) -> Array:
        assert obs.history_items is not None and obs.history_feedback is not None
        fields = obs.history_items, obs.history_feedback, obs.context, obs.history_shown
        after = jax.vmap(partial(expected_after, tastes), [None if field is None else 0 for field in fields])
        return after(*fields) @ weights

    def choose(tastes: Tastes, key: Array, env_state: Any, obs: Observation, world: World) -> Array:
        return _best(_on_offer(score(tastes, obs, world), obs, world), obs, world, config.slate_size, config.repeats)

    return Recommender(choose, tastes, score)


def oracle(scores: Callable[[Any, World], Array], slate_size: int, repeats: bool = False) -> Recommender:
    """Rank by hidden state of the simulator, without planning: `scores(env_state [B], world) -> [B, I]`."""

    def choose(arrays: None, key: Array, env_state: Any, obs: Observation, world: World) -> Array:
        offered = _on_offer(scores(env_state, world), obs, world)
        return _best(offered, obs, world, slate_size, repeats)

    return Recommender(choose)


def best_fixed(config: LoggedConfig, env: Env, key: Array, users: int = 2048) -> Recommender:
    """The single ranking with the highest expected reward over new users of `env`."""

    def mean_rewards(keys: Array, world: World) -> Array:
        state, _ = jax.vmap(env.reset, in_axes=(0, None))(keys, world)
        return expected_rewards(state, world, config).mean(0)

    program = compiled(mean_rewards)
    parts = [program(keys, env.world) for keys in jax.random.split(key, users).reshape(-1, 256)]
    return ranking(jnp.stack(parts).mean(0), config.slate_size)


def greedy_matrix(config: FullMatrixConfig, *, staying: bool = False) -> Recommender:
    """Highest entry of the user's row, an oracle without planning; `staying`: items that keep the user first."""

    def choose(arrays: None, key: Array, env_state: Any, obs: Observation, world: World) -> Array:
        rewards = jax.vmap(lambda state: full_matrix.matrix_rewards(config, state, world, staying=staying))(env_state)
        return _best(_on_offer(rewards, obs, world), obs, world, 1)

    return Recommender(choose)


def myopic(slate_size: int) -> Recommender:
    """Rank candidates by the inner product of observed interests and item row."""

    def choose(arrays: None, key: Array, env_state: Any, obs: Observation, world: World) -> Array:
        assert obs.user is not None
        return top_slate(_on_offer(obs.user @ world.item_table.T, obs, world), slate_size)

    return Recommender(choose)


def by_score(score: Callable[[Observation, Any], Array], slate_size: int) -> Recommender:
    """Rank the candidates by `score(obs, env_state)` [B, M]; a score that reads `env_state` is an oracle."""

    def choose(arrays: None, key: Array, env_state: Any, obs: Observation, world: World) -> Array:
        return top_slate(score(obs, env_state), slate_size)

    return Recommender(choose)


def by_feature(column: int, slate_size: int, *, lowest: bool = False) -> Recommender:
    """Rank documents outside the item table by one of their features, highest first unless `lowest`."""

    def score(obs: Observation, env_state: Any) -> Array:
        assert obs.candidate_features is not None
        feature = obs.candidate_features[..., column]
        return -feature if lowest else feature

    return by_score(score, slate_size)


def _best(scores: Array, obs: Observation, world: World, slate_size: int, repeats: bool = False) -> Array:
    """The K highest scores of items that may be shown."""
    return top_slate(_allowed(scores, obs, world, repeats), slate_size)


def _allowed(scores: Array, obs: Observation, world: World, repeats: bool = False) -> Array:
    """-inf for items that the observation masks, and for items of the history unless they may be shown again."""
    if obs.mask is not None:
        scores = jnp.where(obs.mask, scores, -jnp.inf)
    return scores if repeats else exclude_history(scores, obs, world)


def _on_offer(scores: Array, obs: Observation, world: World) -> Array:
    """Scores of all items [..., I] -> of the candidates [..., M] or the recommendable items [..., R]."""
    assert obs.candidate_features is None, "documents outside the item table have no score by id"
    if obs.candidates is not None:
        return jnp.take_along_axis(
            jnp.broadcast_to(scores, (*obs.candidates.shape[:-1], scores.shape[-1])), obs.candidates, axis=-1
        )
    return scores if world.recommendable is None else jnp.take(scores, world.recommendable, axis=-1)


def _offer_shape(obs: Observation, world: World) -> tuple[int, ...]:
    """[..., M] or [..., R]."""
    if obs.candidates is not None:
        return obs.candidates.shape
    if obs.candidate_features is not None:
        return obs.candidate_features.shape[:-1]
    known = next(x for x in (obs.history_items, obs.user, obs.context) if x is not None)
    return (*known.shape[:-1], world.num_recommendable)
