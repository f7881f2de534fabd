import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.config.data import FeedbackKind
from jaxrec.config.policy import PolicyConfig
from jaxrec.nets.policy import catalogue_scores, make_policy
from jaxrec.serve.new_catalogue import carried_params, deployed_in, in_order
from jaxrec.serve.policy import SavedPolicy
from jaxrec.types import EnvSpec, Observation, SlateAction, World
from tests.tiny_tastes import random_tastes

OLD, NEW = ("a", "b", "c", "d"), ("x", "c", "a", "b", "y")  # d is gone, x and y are new
SPEC = EnvSpec(name="logged", action=SlateAction(size=2), num_items=4, feedback=("liked",), history_length=3)


@pytest.fixture
def saved() -> SavedPolicy:
    network = PolicyConfig(width=4, hidden=(4,), item_residual=True)
    policy = make_policy(SPEC, network)
    world = World(item_table=jnp.arange(12.0).reshape(4, 3) / 10, recommendable=jnp.array([0, 1, 3], jnp.int32))
    params = policy.init(jax.random.key(0), world)
    params["residual_vectors"] = jnp.arange(16.0).reshape(4, 4)
    params["residual_bias"] = jnp.array([1.0, 2.0, 3.0, 4.0])
    return SavedPolicy(network, params, world, SPEC, {"liked": FeedbackKind()}, OLD, OLD, 7)


def test_what_belongs_to_an_item_follows_its_id_and_is_zero_for_new_items(saved: SavedPolicy) -> None:
    params = carried_params(saved, NEW)
    np.testing.assert_array_equal(params["residual_bias"], [0, 3, 1, 2, 0])
    np.testing.assert_array_equal(params["residual_vectors"][1], saved.params["residual_vectors"][2])
    np.testing.assert_array_equal(params["residual_vectors"][0], np.zeros(4))
    np.testing.assert_array_equal(params["query"]["kernel"], saved.params["query"]["kernel"])


def test_in_another_catalogue_the_title_must_be_the_same_too(saved: SavedPolicy) -> None:
    params = carried_params(saved, NEW, ("x", "c", "another", "b", "y"))
    np.testing.assert_array_equal(params["residual_bias"], [0, 3, 0, 2, 0])


def observed(item: int) -> Observation:
    return Observation(history_items=jnp.array([[-1, -1, item]]), history_feedback=jnp.ones((1, 3, 1)))


def test_the_old_policy_scores_old_items_as_before_and_never_shows_what_it_could_not(saved: SavedPolicy) -> None:
    world = World(item_table=jnp.full((5, 3), 9.0))  # the newer log's rows: all recommendable
    policy, params, items = deployed_in(saved, NEW, world)
    history = observed(3)  # b in the new catalogue
    got = catalogue_scores(policy, params, items, history, world)[0]
    before = observed(1)
    want = catalogue_scores(saved.policy, saved.params, saved.items, before, saved.world)[0]
    assert float(got[2]) == pytest.approx(float(want[0]), rel=1e-5)  # a
    assert np.isneginf(got[0])  # x, unknown to it
    assert np.isneginf(got[1])  # c, which was not recommendable
    assert np.isneginf(got[3])  # b, in the history


def test_tastes_follow_the_ids_and_of_new_items_only_the_mean_is_known(saved: SavedPolicy) -> None:
    tastes = random_tastes(4, 2, kinds=1)
    spec, network = dataclasses.replace(SPEC, reward_weights=(1.0,)), PolicyConfig(width=4, hidden=(4,), belief=True)
    world = saved.world.replace(tastes=tastes)
    params = make_policy(spec, network).init(jax.random.key(0), world)
    old = dataclasses.replace(saved, network=network, params=params, world=world, spec=spec)
    moved = deployed_in(old, NEW, World(item_table=jnp.ones((5, 3)))).items.tastes
    assert moved is not None
    np.testing.assert_array_equal(moved.item_vectors[jnp.array([1, 2, 3])], tastes.item_vectors[jnp.array([2, 0, 1])])
    np.testing.assert_array_equal(moved.item_vectors[jnp.array([0, 4])], np.zeros((2, 2)))
    np.testing.assert_allclose(moved.item_logits[4], tastes.item_logits.mean(0), rtol=1e-6)
    policy, params, items = deployed_in(old, NEW, World(item_table=jnp.ones((5, 3))))
    got = catalogue_scores(policy, params, items, observed(3), World(item_table=jnp.ones((5, 3))))[0]
    want = catalogue_scores(old.policy, old.params, old.items, observed(1), world)[0]
    assert float(got[2]) == pytest.approx(float(want[0]), rel=1e-5) and np.isneginf(got[0])


def test_the_order_of_the_items_changes_no_slate_and_no_score(saved: SavedPolicy) -> None:
    turned = in_order(saved, ("c", "d", "b", "a"))
    np.testing.assert_array_equal(turned.world.recommendable, [1, 2, 3])  # c, now first, may not be shown
    np.testing.assert_array_equal(turned.params["residual_bias"], [3, 4, 2, 1])
    before, after = (one.recommend(["b:1"], k=2) for one in (saved, turned))
    assert [item.id for item in after] == [item.id for item in before] and {item.id for item in after} == {"a", "d"}
    np.testing.assert_allclose([item.score for item in after], [item.score for item in before], rtol=1e-6)
    for others in (("a", "b", "c"), ("a", "b", "c", "x"), ("a", "b", "c", "d", "d")):
        with pytest.raises(ValueError, match="same items in another order"):
            in_order(saved, others)


def test_tastes_that_a_policy_reads_change_their_order_too(saved: SavedPolicy) -> None:
    world = saved.world.replace(tastes=random_tastes(items=4, width=3))
    turned = in_order(dataclasses.replace(saved, world=world), ("c", "d", "b", "a")).world.tastes
    np.testing.assert_array_equal(turned.item_vectors, world.tastes.item_vectors[np.array([2, 3, 1, 0])])
    np.testing.assert_array_equal(turned.item_logits, world.tastes.item_logits[np.array([2, 3, 1, 0])])
