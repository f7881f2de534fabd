import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrec.checks import InputError
from jaxrec.config.every_item import AllItemsConfig, FarSightedConfig
from jaxrec.config.on_policy import PpoConfig
from jaxrec.config.policy import PolicyConfig
from jaxrec.config.replay_learners import DqnConfig
from jaxrec.nets.network import is_value_part
from jaxrec.nets.offers import exclude_history
from jaxrec.nets.policy import (
    Policy,
    example_observation,
    make_policy,
    to_items,
    to_positions,
)
from jaxrec.types import PADDING, EnvSpec, Observation, Params, SlateAction, World

ITEMS, ROW, LENGTH, KINDS = 9, 5, 4, 2
LOGGED = EnvSpec(
    name="log", action=SlateAction(size=2), num_items=ITEMS, feedback=("liked", "seen"), history_length=LENGTH
)
OFFERED = EnvSpec(
    name="offer", action=SlateAction(size=2), num_items=ITEMS, feedback=("click",), num_candidates=6, user_size=3
)
SOME = jnp.array([1, 2, 4, 7, 8], jnp.int32)  # the recommendable items
WORLD = World(item_table=jax.random.normal(jax.random.key(0), (ITEMS, ROW)))
SUBSET = WORLD.replace(recommendable=SOME)


@functools.cache
def made(spec: EnvSpec = LOGGED, **options: Any) -> tuple[Policy, Params, Any]:
    """The policy, parameters that are nowhere zero, and scores and values in one compiled function."""
    policy = make_policy(spec, PolicyConfig(**{"encoder": "mean", "width": 8, "hidden": (6,), **options}))
    shapes = jax.eval_shape(policy.init, jax.random.key(1), WORLD)
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda x: jnp.asarray(rng.normal(0, 0.5, x.shape), x.dtype), shapes)
    return policy, params, jax.jit(lambda p, obs, world: policy.apply(p, policy.items(p, world), obs, world))


def history(items: list, seed: int = 0) -> Observation:
    ids = jnp.array(items, jnp.int32)
    return Observation(
        history_items=ids,
        history_feedback=jax.random.bernoulli(jax.random.key(seed), 0.5, (*ids.shape, KINDS)).astype(jnp.float32),
    )


def offer(lead: tuple[int, ...] = (), seed: int = 0) -> Observation:
    key_user, key_items = jax.random.split(jax.random.key(seed))
    candidates = jax.random.randint(key_items, (*lead, 6), 0, ITEMS)
    return Observation(user=jax.random.normal(key_user, (*lead, 3)), candidates=candidates)


def open_positions(scores: jax.Array) -> list[int]:
    return np.flatnonzero(np.isfinite(scores)).tolist()


def test_parameters_are_plain_dicts_of_arrays() -> None:
    for spec in (LOGGED, OFFERED):
        _, params, _ = made(spec, item_residual=True)

        def walk(node: Any) -> None:
            if isinstance(node, jax.Array):
                return
            assert type(node) is dict
            for key, child in node.items():
                assert isinstance(key, str)
                walk(child)

        walk(params)


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_logits_run_over_what_may_be_shown_for_any_leading_axes(lead: tuple[int, ...]) -> None:
    _, params, apply = made()
    obs = history(np.full((*lead, LENGTH), PADDING).tolist())
    for world, size in ((WORLD, ITEMS), (SUBSET, len(SOME))):
        output = apply(params, obs, world)
        assert output.logits.shape == (*lead, size) and output.value.shape == lead
    _, params, apply = made(OFFERED)
    output = apply(params, offer(lead), WORLD)
    assert output.logits.shape == (*lead, 6) and output.value.shape == lead


def test_every_user_of_every_shard_is_scored_as_if_alone() -> None:
    ids = jax.random.randint(jax.random.key(3), (2, 3, LENGTH), -1, ITEMS)
    for spec, obs in ((LOGGED, history(ids.tolist())), (OFFERED, offer((2, 3)))):
        _, params, apply = made(spec)
        whole = apply(params, obs, SUBSET)
        for s, n in ((0, 0), (1, 2)):
            alone = apply(params, jax.tree.map(lambda x, s=s, n=n: x[s, n], obs), SUBSET)
            np.testing.assert_allclose(whole.logits[s, n], alone.logits, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(whole.value[s, n], alone.value, rtol=1e-5, atol=1e-6)


def test_scores_of_recommendable_items_are_those_of_the_whole_catalogue() -> None:
    _, params, apply = made()
    obs = history([3, 1, 5, 2])
    whole, some = apply(params, obs, WORLD), apply(params, obs, SUBSET)
    np.testing.assert_allclose(some.logits, whole.logits[SOME], rtol=1e-5)
    np.testing.assert_allclose(some.value, whole.value)


def test_scores_of_candidates_are_those_of_their_rows_by_hand() -> None:
    policy, params, apply = made(OFFERED)
    obs = offer()
    items = policy.items(params, WORLD)
    table = np.asarray(WORLD.item_table, np.float64)
    np.testing.assert_allclose(items.vectors, table @ np.asarray(params["item_vectors"]["kernel"]), atol=1e-5)

    def dense(x: np.ndarray, layer: str) -> np.ndarray:
        return x @ np.asarray(params[layer]["kernel"]) + np.asarray(params[layer]["bias"])

    assert obs.user is not None and obs.candidates is not None
    query = dense(np.tanh(dense(np.asarray(obs.user), "query_hidden_0")), "query")
    bias = table @ np.asarray(params["item_bias"]["kernel"])[:, 0]
    want = np.asarray(items.vectors) @ query / 8**0.5 + bias
    got = apply(params, obs, WORLD)
    np.testing.assert_allclose(got.logits, want[np.asarray(obs.candidates)], rtol=1e-4, atol=1e-5)
    value = dense(np.tanh(dense(np.asarray(obs.user), "value_hidden_0")), "value")[0]
    np.testing.assert_allclose(got.value, value, rtol=1e-5)


def test_a_large_table_is_gathered_to_the_same_scores() -> None:
    # 6 candidates: above 96 items rows are gathered, below all are scored
    _, params, apply = made(OFFERED)
    large = World(item_table=jnp.concatenate([WORLD.item_table, jnp.zeros((100, ROW))]))
    np.testing.assert_allclose(
        apply(params, offer((2,)), large).logits, apply(params, offer((2,)), WORLD).logits, rtol=1e-5, atol=1e-6
    )


def test_masked_candidates_have_no_probability() -> None:
    _, params, apply = made(OFFERED)
    mask = jnp.array([True, False, True, True, False, True])
    free, masked = apply(params, offer(), WORLD), apply(params, offer().replace(mask=mask), WORLD)
    assert open_positions(masked.logits) == [0, 2, 3, 5]
    np.testing.assert_array_equal(masked.logits[mask], free.logits[mask])


def test_a_residual_is_a_vector_and_a_bias_an_item() -> None:
    policy, params, apply = made(item_residual=True)
    obs = history([3, 1, -1, 2])
    assert params["residual_vectors"].shape == (ITEMS, 8) and params["residual_bias"].shape == (ITEMS,)
    before = policy.items(params, WORLD)
    lifted = {**params, "residual_bias": params["residual_bias"].at[7].add(2.0)}
    change = apply(lifted, obs, WORLD).logits - apply(params, obs, WORLD).logits
    np.testing.assert_allclose(change[jnp.array([0, 4, 7])], [0.0, 0.0, 2.0], atol=1e-5)
    turned = {**params, "residual_vectors": params["residual_vectors"].at[7].add(1.0)}
    change = policy.items(turned, WORLD).vectors - before.vectors
    np.testing.assert_allclose(change, np.eye(ITEMS)[:, 7:8] * np.ones((1, 8)), atol=1e-6)


def test_items_of_the_history_are_not_shown_again() -> None:
    _, params, apply = made()
    obs = history([PADDING, 0, 4, 8])
    assert open_positions(apply(params, obs, WORLD).logits) == [1, 2, 3, 5, 6, 7]
    assert open_positions(apply(params, obs, SUBSET).logits) == [0, 1, 3]  # items 1, 2 and 7


@pytest.mark.parametrize("encoder", ["gru", "lstm", "transformer", "graph", "mean"])
def test_any_history_encoder_lets_the_history_count(encoder: str) -> None:
    _, params, apply = made(encoder=encoder)
    output = apply(params, history([[PADDING] * 4, [PADDING, 0, 4, 8], [0, 1, 2, 3]]), WORLD)
    assert output.logits.shape == (3, ITEMS)
    for values in (output.value, output.logits[:, 5]):  # item 5 is in none of them
        assert len(np.unique(values.round(4))) == 3


def test_excluding_a_history_from_scores_by_hand() -> None:
    obs = history([[PADDING, PADDING, 2, 2], [0, 3, 8, 7], [PADDING] * 4])
    scores = jnp.arange(15.0).reshape(3, 5)
    inf = np.inf
    # positions are those of 1, 2, 4, 7, 8: items 0 and 3 are not among them, nor is an empty place
    want = [[0, -inf, 2, 3, 4], [5, 6, 7, -inf, -inf], [10, 11, 12, 13, 14]]
    np.testing.assert_array_equal(exclude_history(scores, obs, SUBSET), want)


def test_an_item_beyond_the_last_recommendable_one_excludes_nothing() -> None:
    world = WORLD.replace(recommendable=jnp.array([1, 2], jnp.int32))
    scores = exclude_history(jnp.zeros(2), history([8, 8, 0, PADDING]), world)
    np.testing.assert_array_equal(scores, np.zeros(2))


def test_scores_of_candidates_are_left_alone() -> None:
    scores = jnp.arange(6.0)
    np.testing.assert_array_equal(exclude_history(scores, offer(), WORLD), scores)
    seen = offer().replace(history_items=jnp.zeros(LENGTH, jnp.int32))
    np.testing.assert_array_equal(exclude_history(scores, seen, WORLD), scores)


exclude = jax.jit(exclude_history)


@given(
    ids=st.lists(st.integers(-1, ITEMS - 1), min_size=LENGTH, max_size=LENGTH),
    some=st.lists(st.integers(0, ITEMS - 1), min_size=LENGTH + 1, max_size=LENGTH + 1, unique=True),
)
@settings(deadline=None, max_examples=60, derandomize=True)
def test_exactly_the_items_seen_are_excluded_and_never_all(ids: list[int], some: list[int]) -> None:
    obs = Observation(history_items=jnp.array(ids, jnp.int32))
    some = sorted(some)
    scores = exclude(jnp.zeros(len(some)), obs, WORLD.replace(recommendable=jnp.array(some, jnp.int32)))
    assert open_positions(scores) == [n for n, item in enumerate(some) if item not in ids] != []
    assert open_positions(exclude(jnp.zeros(ITEMS), obs, WORLD)) == [n for n in range(ITEMS) if n not in ids]


def test_positions_and_items_translate_both_ways() -> None:
    obs, positions = history([PADDING] * 4), jnp.array([[4, 0], [2, 3]], jnp.int32)
    items = to_items(positions, obs, SUBSET)
    assert items.tolist() == [[8, 1], [4, 7]]
    back = to_positions(items, obs, SUBSET)
    assert back.tolist() == positions.tolist() and back.dtype == jnp.int32


def test_candidates_and_whole_catalogues_need_no_translation() -> None:
    positions = jnp.array([4, 0], jnp.int32)
    for obs, world in ((offer(), SUBSET), (offer(), WORLD), (history([PADDING] * 4), WORLD)):
        assert to_items(positions, obs, world).tolist() == to_positions(positions, obs, world).tolist() == [4, 0]


@pytest.mark.parametrize("spec", [LOGGED, OFFERED], ids=["history", "candidates"])
def test_gradients_are_finite_and_reach_every_parameter(spec: EnvSpec) -> None:
    policy, params, _ = made(spec, item_residual=True)
    obs = history([PADDING, 3, 0, 5]) if spec is LOGGED else offer()

    def loss(params: Params) -> jax.Array:
        output = policy.apply(params, policy.items(params, WORLD), obs, WORLD)
        return output.value + jnp.square(jnp.where(jnp.isfinite(output.logits), output.logits, 0.0)).sum()

    gradient = jax.jit(jax.grad(loss))(params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert jnp.isfinite(leaf).all() and leaf.any(), jax.tree_util.keystr(path)


def test_a_new_policy_scores_all_items_almost_alike_and_its_residuals_are_zero() -> None:
    policy = make_policy(LOGGED, PolicyConfig(encoder="mean", item_residual=True))
    params = jax.jit(policy.init)(jax.random.key(0), WORLD)
    assert not params["residual_vectors"].any() and not params["residual_bias"].any()
    assert not {"residual_vectors", "residual_bias"} & set(made()[1])
    output = jax.jit(policy.apply)(params, policy.items(params, WORLD), history([PADDING, 3, 0, 5]), WORLD)
    assert jnp.ptp(output.logits[jnp.isfinite(output.logits)]) < 0.1


def test_the_type_of_the_table_may_be_half_precision() -> None:
    policy, params, _ = made()
    items = policy.items(params, WORLD.replace(item_table=WORLD.item_table.astype(jnp.bfloat16)))
    assert items.vectors.dtype == items.bias.dtype == jnp.float32


def test_observations_of_every_kind_have_an_example() -> None:
    obs = example_observation(LOGGED)
    assert obs.history_items is not None and obs.history_feedback is not None
    assert (obs.history_items.shape, obs.history_feedback.shape) == ((LENGTH,), (LENGTH, KINDS))
    assert obs.user is obs.context is obs.candidates is None
    obs = example_observation(OFFERED)
    assert obs.user is not None and obs.candidates is not None
    assert obs.user.shape == (3,) and obs.candidates.shape == (6,) and obs.history_items is None


def test_nothing_observed_is_nothing_to_act_from() -> None:
    blind = EnvSpec(name="blind", action=SlateAction(size=1), num_items=3, feedback=("click",))
    with pytest.raises(InputError, match="policy: blind observes neither history, user nor context"):
        make_policy(blind, PolicyConfig())


def test_queries_of_all_positions_give_the_logits_of_each_shorter_history() -> None:
    policy, params, score = made(encoder="gru", item_residual=True)
    items, obs = policy.items(params, WORLD), history([3, 1, 4, 7])
    queries = policy.queries(params, items, obs, None)
    assert queries.shape == (LENGTH + 1, 8)
    for t in range(LENGTH + 1):
        padded = [PADDING] * (LENGTH - t) + [3, 1, 4, 7][:t]
        feedback = jnp.concatenate([jnp.zeros((LENGTH - t, KINDS)), obs.history_feedback[:t]])
        logits = score(params, Observation(history_items=jnp.array(padded), history_feedback=feedback), WORLD).logits
        own = items.vectors @ queries[t] + items.bias
        seen = jnp.isfinite(logits)
        np.testing.assert_allclose(np.asarray(own)[seen], np.asarray(logits)[seen], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("encoder", ["gru", "lstm", "transformer", "graph", "mean"])
def test_a_policy_may_read_only_the_latest_rows_but_never_shows_the_others_again(encoder: str) -> None:
    _, params, score = made(encoder=encoder, history=2)
    obs = history([3, 1, 4, 7])
    other = obs.replace(history_items=jnp.array([5, 0, 4, 7]))
    a, b = score(params, obs, WORLD).logits, score(params, other, WORLD).logits
    both = np.isfinite(a) & np.isfinite(b)
    np.testing.assert_array_equal(np.asarray(a)[both], np.asarray(b)[both])
    assert open_positions(a) == [0, 2, 5, 6, 8] and open_positions(b) == [1, 2, 3, 6, 8]
    whole = made(encoder=encoder)[2](params, obs, WORLD).logits
    assert not np.allclose(np.asarray(a)[both], np.asarray(whole)[both])


def test_layers_and_heads_are_those_of_the_transformer() -> None:
    _, params, _ = made(encoder="transformer", layers=3, heads=2)
    assert {name for name in params["history"] if name.startswith("layer_")} == {"layer_0", "layer_1", "layer_2"}


def slopes(value: str, spec: EnvSpec = LOGGED, *, of_scores: bool = False) -> dict[bool, float]:
    """Largest slope of values or scores by parameters that only the value depends on (True), and by the others."""
    policy, params, _ = made(spec, value=value, hidden=(6, 4))
    obs = history([3, 1, 5, 2]) if spec is LOGGED else offer()

    def output(params: Params) -> jax.Array:
        found = policy.apply(params, policy.items(params, WORLD), obs, WORLD)
        return jnp.where(jnp.isfinite(found.logits), found.logits, 0.0).sum() if of_scores else found.value

    largest = {True: 0.0, False: 0.0}
    for name, part in jax.grad(output)(params).items():
        size = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(part))
        largest[is_value_part(name)] = max(largest[is_value_part(name)], size)
    return largest


def test_only_a_shared_value_network_moves_the_parameters_of_scores() -> None:
    assert slopes("shared")[False] > 0.01
    for value in ("stopped", "separate"):
        for spec in (LOGGED, OFFERED):
            found = slopes(value, spec)
            assert found[False] == 0.0 and found[True] > 0.01


@pytest.mark.parametrize("value", ["shared", "stopped", "separate"])
def test_scores_do_not_depend_on_the_parts_of_the_value(value: str) -> None:
    found = slopes(value, of_scores=True)
    assert found[True] == 0.0 and found[False] > 0.01


def test_a_slate_is_the_best_scores_unless_it_should_be_diverse() -> None:
    policy, params, scored = made()
    items, obs = policy.items(params, SUBSET), history([PADDING, PADDING, 3, 0])
    output = scored(params, obs, SUBSET)
    assert policy.slate(output, items, obs, SUBSET, 3).tolist() == np.argsort(-output.logits)[:3].tolist()

    diverse = made(diversity=0.6, diversity_rows=2.0)[0].slate(output, items, obs, SUBSET, 3).tolist()
    # By hand: centred vectors of all items, probabilities, and a weight of .6 / (1 + 2 / 2) after two rows.
    unit = np.asarray(items.vectors) - np.asarray(items.vectors).mean(0)
    unit = (unit / np.linalg.norm(unit, axis=1, keepdims=True))[np.asarray(SOME)]
    gains, picked = 1 / (1 + np.exp(-np.asarray(output.logits + output.value))), []
    for _ in range(3):
        cost = [max([0.0, *(unit[i] @ unit[j] for j in picked)]) for i in range(len(SOME))]
        score = [-np.inf if i in picked else gains[i] - 0.3 * cost[i] for i in range(len(SOME))]
        picked.append(int(np.argmax(score)))
    assert diverse == picked


def test_documents_and_users_without_history_have_no_diversity() -> None:
    with pytest.raises(InputError, match=r"learner\.policy\.diversity: offer has no history of items"):
        make_policy(OFFERED, PolicyConfig(diversity=0.1))


def test_only_scores_that_are_expected_rewards_can_be_diverse() -> None:
    for config in (AllItemsConfig, FarSightedConfig):
        assert config(policy=PolicyConfig(diversity=0.1)).policy.diversity == 0.1
    for config in (PpoConfig, DqnConfig):
        with pytest.raises(InputError, match=r"learner\.policy\.diversity: .* all_items and far_sighted alone"):
            config(policy=PolicyConfig(diversity=0.1))


def test_a_separate_value_network_has_its_own_encoder_and_nothing_else_new() -> None:
    _, params, apply = made()
    _, stopped, apply_stopped = made(value="stopped")
    _, separate, apply_separate = made(value="separate")
    assert params.keys() == stopped.keys() and separate.keys() - params.keys() == {"value_history"}
    obs = history([[3, 1, 5, 2], [PADDING, PADDING, 0, 8]])
    want = apply(params, obs, WORLD)
    copied = params | {"value_history": params["history"]}
    for got in (apply_stopped(params, obs, WORLD), apply_separate(copied, obs, WORLD)):
        np.testing.assert_allclose(got.logits, want.logits, rtol=1e-6)
        np.testing.assert_allclose(got.value, want.value, rtol=1e-6)
    other = apply_separate(params | {"value_history": separate["value_history"]}, obs, WORLD)
    np.testing.assert_allclose(other.logits, want.logits, rtol=1e-6)
    assert (jnp.abs(other.value - want.value) > 1e-3).all()
