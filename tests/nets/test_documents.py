"""Policies over documents that are in no table: known by their features alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.policy import PolicyConfig
from jaxrec.nets.offers import exclude_history
from jaxrec.nets.policy import example_observation, make_policy, to_items, to_positions
from jaxrec.types import EnvSpec, Observation, SlateAction, World

SPEC = EnvSpec(
    name="fresh",
    action=SlateAction(size=2),
    num_items=0,
    feedback=("click",),
    num_candidates=4,
    candidate_size=3,
    user_size=2,
)
WORLD = World(item_table=jnp.zeros((1, 3)))
POLICY = make_policy(SPEC, PolicyConfig(width=8, hidden=(6,)))


def parameters() -> dict:
    """Parameters that are nowhere zero."""
    shapes, rng = jax.eval_shape(POLICY.init, jax.random.key(1), WORLD), np.random.default_rng(1)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(0, 0.5, x.shape), x.dtype), shapes)


def observation(lead: tuple[int, ...] = ()) -> Observation:
    key_user, key_documents = jax.random.split(jax.random.key(0))
    documents = jax.random.normal(key_documents, (*lead, 4, 3))
    return Observation(user=jax.random.normal(key_user, (*lead, 2)), candidate_features=documents)


def apply(params: dict, obs: Observation):
    return POLICY.apply(params, POLICY.items(params, WORLD), obs, WORLD)


def test_an_example_has_features_and_no_ids() -> None:
    obs = example_observation(SPEC)
    assert obs.candidates is None and obs.candidate_features is not None and obs.offers_candidates
    assert obs.candidate_features.shape == (4, 3)


def test_scores_of_documents_are_those_of_their_features_by_hand() -> None:
    params, obs = parameters(), observation()

    def dense(x: np.ndarray, layer: str) -> np.ndarray:
        return x @ np.asarray(params[layer]["kernel"]) + np.asarray(params[layer]["bias"])

    query = dense(np.tanh(dense(np.asarray(obs.user), "query_hidden_0")), "query")
    documents = np.asarray(obs.candidate_features)
    want = documents @ np.asarray(params["item_vectors"]["kernel"]) @ query / 8**0.5
    want += documents @ np.asarray(params["item_bias"]["kernel"])[:, 0]
    np.testing.assert_allclose(apply(params, obs).logits, want, rtol=1e-4, atol=1e-5)


def test_documents_of_every_user_are_scored_as_if_alone_and_masked_ones_not_at_all() -> None:
    params, obs = parameters(), observation((2, 3))
    obs = obs.replace(mask=jnp.ones((2, 3, 4), bool).at[1, 2, 0].set(False))
    whole = apply(params, obs)
    assert whole.logits.shape == (2, 3, 4) and whole.value.shape == (2, 3)
    alone = apply(params, jax.tree.map(lambda x: x[1, 2], obs))
    np.testing.assert_allclose(whole.logits[1, 2], alone.logits, rtol=1e-5)
    assert np.isneginf(alone.logits[0]) and np.isfinite(alone.logits[1:]).all()


def test_positions_among_documents_are_the_slate() -> None:
    obs, slate, world = observation(), jnp.array([3, 1]), WORLD.replace(recommendable=jnp.array([0]))
    assert to_items(slate, obs, world) is slate and to_positions(slate, obs, world) is slate
    scores, seen = jnp.arange(4.0), obs.replace(history_items=jnp.array([0, 1]))
    assert exclude_history(scores, seen, WORLD) is scores


def test_gradients_reach_the_item_tower() -> None:
    params, obs = parameters(), observation()
    gradient = jax.grad(lambda p: jnp.square(apply(p, obs).logits).sum())(params)
    for part in ("item_vectors", "item_bias", "query"):
        assert all(bool(jnp.isfinite(x).all() and x.any()) for x in jax.tree.leaves(gradient[part])), part


def test_a_residual_for_documents_that_are_new_each_time_is_refused() -> None:
    with pytest.raises(InputError, match="item_residual: documents of fresh are new each time"):
        make_policy(SPEC, PolicyConfig(item_residual=True))
