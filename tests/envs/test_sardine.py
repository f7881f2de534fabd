import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from jaxrec import make_env
from jaxrec.checks import InputError
from jaxrec.config.choice import ChoiceConfig
from jaxrec.config.load import build_section, to_dict
from jaxrec.config.sardine import SARDINE_PRESETS, SardineConfig
from jaxrec.envs import auto_reset
from jaxrec.envs.choice import CHOICES
from jaxrec.envs.sardine import SardineState, bore, draw_items, draw_user, influence, relevance, remembered
from jaxrec.types import PADDING, Env, World

COUNT = 20_000


@functools.cache
def made(**options: Any) -> tuple[Env, Any, Any]:
    """The environment, and its reset and step for many users."""
    env = make_env("sardine", **options)
    reset = jax.jit(jax.vmap(env.reset, in_axes=(0, None)))
    return env, reset, jax.jit(jax.vmap(env.step, in_axes=(0, 0, 0, None)))


def topics(*entries: float) -> jax.Array:
    """A vector over the ten topics from its first entries."""
    return jnp.zeros(10).at[: len(entries)].set(jnp.array(entries, jnp.float32))


def user_with(env: Env, interests: jax.Array, window: int = 5) -> SardineState:
    """A user to whom nothing has been shown."""
    length, slate_size = env.spec.history_length, env.spec.slate_size
    return SardineState(
        user=interests,
        current=interests,
        clicked=jnp.full((window, slate_size), PADDING, jnp.int32),
        boring=jnp.zeros(10, jnp.int32),
        history_items=jnp.full(length, PADDING, jnp.int32),
        history_clicks=jnp.zeros(length),
        step=jnp.asarray(0, jnp.int32),
    )


def play(env: Env, state: SardineState, slates: list[list[int]], world: World) -> tuple[list[SardineState], list]:
    """States and outputs after each slate."""
    states, outs, step = [], [], jax.jit(env.step)
    for key, slate in zip(jax.random.split(jax.random.key(1), len(slates)), slates, strict=True):
        state, out = step(key, state, jnp.array(slate), world)
        states.append(state)
        outs.append(out)
    return states, outs


# Items: topic 0, topic 1, both at cosine 1 to the user (.6, .8), and topic 2.
ROWS = jnp.stack([topics(1.0), topics(0.0, 1.0), topics(0.6, 0.8), topics(0.0, 0.0, 1.0)])
SMALL = {"slate_size": 3, "num_items": 4}


def test_clicks_follow_relevance_and_position() -> None:
    env, _, _ = made(**SMALL, slope=10, decay=0.5)
    world = env.world.replace(item_table=ROWS)
    step = jax.jit(jax.vmap(env.step, in_axes=(0, None, None, None)))
    state = user_with(env, topics(0.6, 0.8))
    keys = jax.random.split(jax.random.key(2), COUNT)
    _, out = step(keys, state, jnp.array([0, 1, 2]), world)
    # sigmoid(10 (.6 - .65)), sigmoid(10 (.8 - .65)) / 2, sigmoid(10 (1 - .65)) / 4
    want = np.array([0.377541, 0.817574 / 2, 0.970688 / 4])
    np.testing.assert_allclose(out.feedback[..., 0].mean(0), want, atol=4 * 0.5 / COUNT**0.5)
    np.testing.assert_array_equal(out.reward, out.feedback.sum((1, 2)))
    assert np.abs(np.corrcoef(out.feedback[..., 0].T) - np.eye(3)).max() < 4 / COUNT**0.5  # each apart


def test_the_latest_ten_clicks_are_counted() -> None:
    none = [PADDING] * 4
    clicked = jnp.array([[7, PADDING, 7, 1], none, [2, 2, 2, 2], [1, 1, PADDING, 3], [3, PADDING, 3, PADDING]])
    # twelve clicks: the two 7 of the oldest slate are forgotten, its 1 is the tenth from the end
    np.testing.assert_array_equal(remembered(clicked), [0, 3, 4, 3, 0, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(remembered(jnp.array([none] * 5)), np.zeros(10))


def test_a_topic_bores_for_five_slates_and_can_do_so_again() -> None:
    # one topic clicked whenever it does not bore; three clicks bore
    env, _, _ = made(slate_size=1, num_items=4, slope=1000, decay=1, boredom_threshold=3)
    states, outs = play(env, user_with(env, topics(1.0)), [[0]] * 19, env.world.replace(item_table=ROWS))
    assert [float(out.reward) for out in outs] == [1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1]
    boring = [0, 0, 5, 4, 3, 2, 1, 0, 0, 0, 5]
    assert [int(state.boring[0]) for state in states[:11]] == boring
    assert all((state.boring[1:] == 0).all() for state in states)
    # the observation tells clicks over the threshold: they are remembered for five slates
    seen = [1 / 3, 2 / 3, 1, 1, 1, 2 / 3, 1 / 3, 0]
    np.testing.assert_allclose([out.obs.user[0] for out in outs[:8]], seen, rtol=1e-6)


def test_a_topic_whose_clicks_are_remembered_beyond_its_boredom_bores_again() -> None:
    counts, still = jnp.array([5, 5, 5, 4]), jnp.array([0, 1, 3, 1])
    np.testing.assert_array_equal(bore(still, counts, jnp.asarray(5), 5), [5, 5, 2, 0])


@pytest.mark.parametrize(("boredom", "left"), [("churn_and_return", topics()), ("topic", topics(0.6))])
def test_boredom_takes_everything_or_the_topic_that_bores(boredom: str, left: jax.Array) -> None:
    env, _, _ = made(**SMALL, slope=1000, offset=0.5, decay=1, boredom_threshold=2, boredom=boredom)
    world = env.world.replace(item_table=ROWS)
    states, outs = play(env, user_with(env, topics(0.6, 0.8)), [[3, 1, 2], [0, 1, 2]], world)
    assert outs[0].feedback[:, 0].tolist() == [0, 1, 1]  # both of topic 1, which bores
    np.testing.assert_array_equal(states[0].boring, topics(0, 5))
    chex.assert_trees_all_close(states[0].current, left)
    chex.assert_trees_all_close(states[0].user, topics(0.6, 0.8))  # untouched beneath
    # (.6, 0) likes item 0 by .6, above the offset of .5; and items 1 and 2 by 0 and .36
    assert outs[1].feedback[:, 0].tolist() == ([1, 0, 0] if boredom == "topic" else [0, 0, 0])


def test_clicks_draw_the_interests_along() -> None:
    rows, click, half = ROWS[jnp.array([1, 2, 3])], jnp.array([1.0, 1.0, 0.0]), jnp.asarray(0.5)
    # mean of (0, 1) and (.6, .8) is (.3, .9); (1, 0) / 2 + (.3, .9) / 2 = (.65, .45), of length .790569
    got = influence(topics(1.0), rows, click, half, compat=False)
    np.testing.assert_allclose(got, topics(0.822192, 0.569210), atol=1e-6)
    # over items and topics: 2.4 / 20 = .12; (.56, .06, ..., .06), of length .588218
    got = influence(topics(1.0), rows, click, half, compat=True)
    np.testing.assert_allclose(got, [0.952028] + [0.102003] * 9, atol=1e-6)
    for compat in (False, True):
        np.testing.assert_array_equal(influence(topics(1.0), rows, jnp.zeros(3), half, compat), topics(1.0))


def test_items_are_unit_vectors_of_two_or_three_topics_drawn_from_their_own_seed() -> None:
    rows = np.asarray(draw_items(jax.random.key(0), COUNT))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), np.ones(COUNT), rtol=1e-5)
    count = (rows > 0).sum(1)
    assert set(count) == {2, 3} and abs((count == 2).mean() - 0.5) < 4 * 0.5 / COUNT**0.5
    np.testing.assert_allclose((rows > 0).mean(0), np.full(10, 0.25), atol=4 * 0.433 / COUNT**0.5)
    same, other = (make_env("sardine", item_seed=seed).world.item_table for seed in (0, 1))
    chex.assert_trees_all_equal(same, make_env("sardine", preset="SlateTopK-BoredInf").world.item_table)
    assert not np.array_equal(same, other)


def test_users_are_unit_vectors_of_three_to_five_topics() -> None:
    users = np.asarray(jax.vmap(draw_user)(jax.random.uniform(jax.random.key(1), (COUNT, 21))))
    np.testing.assert_allclose(np.linalg.norm(users, axis=1), np.ones(COUNT), rtol=1e-5)
    count = (users > 0).sum(1)
    # binomial(10, .4) at 3, 4, 5: .2150, .2508, .2007, together .6665
    for topics_kept, share in ((3, 0.32258), (4, 0.37634), (5, 0.30108)):
        assert abs((count == topics_kept).mean() - share) < 4 * 0.48 / COUNT**0.5
    assert (count >= 3).all() and (count <= 5).all()
    np.testing.assert_allclose((users > 0).mean(0), np.full(10, 0.397849), atol=4 * 0.49 / COUNT**0.5)


def test_a_new_user_has_seen_a_random_slate_whose_clicks_count() -> None:
    env, reset, _ = made(preset="SlateRerank-Bored")
    state, obs = reset(jax.random.split(jax.random.key(0), 4000), env.world)
    np.testing.assert_array_equal(obs.history_items, state.history_items)
    share = np.bincount(np.asarray(obs.history_items).ravel(), minlength=10) / 40_000
    np.testing.assert_allclose(share, np.full(10, 0.1), atol=4 * 0.3 / 200)
    assert any(len(set(slate)) < 10 for slate in obs.history_items.tolist())  # with replacement
    clicks = obs.history_feedback[..., 0] > 0
    main = jnp.argmax(env.world.item_table, axis=1)[obs.history_items]
    np.testing.assert_array_equal(state.clicked[:, -1], np.where(clicks, main, PADDING))
    assert (state.clicked[:, :-1] == PADDING).all() and (state.step == 0).all()
    counts = [np.bincount(m[c], minlength=10) for m, c in zip(np.asarray(main), np.asarray(clicks), strict=True)]
    np.testing.assert_allclose(obs.user, np.minimum(np.array(counts) / 4, 1), rtol=1e-6)
    np.testing.assert_array_equal((state.boring > 0), np.array(counts) >= 4)


def test_the_history_holds_the_shown_items_with_their_clicks() -> None:
    env, _, _ = made(**SMALL, slope=1000, offset=0.5, decay=1, history_slates=2)
    states, outs = play(env, user_with(env, topics(1.0)), [[3, 0, 1], [2, 1, 0]], env.world.replace(item_table=ROWS))
    assert outs[0].obs.history_items.tolist() == [-1, -1, -1, 3, 0, 1]
    assert outs[1].obs.history_items.tolist() == [3, 0, 1, 2, 1, 0]
    assert outs[1].obs.history_feedback[:, 0].tolist() == [0, 1, 0, 1, 0, 1]
    chex.assert_trees_all_equal(outs[1].obs, outs[1].final_obs)
    assert states[1].clicked[-2:].tolist() == [[-1, 0, -1], [1, -1, 0]]


@pytest.mark.parametrize("compat", [False, True])
def test_the_ideal_state_tells_interests_and_boredom(compat: bool) -> None:
    options = {**SMALL, "slope": 1000, "offset": 0.5, "decay": 1, "boredom_threshold": 2, "boredom": "topic"}
    env, _, _ = made(**options, ideal_state=True, compat=compat)
    world = env.world.replace(item_table=ROWS)
    _, outs = play(env, user_with(env, topics(0.6, 0.8)), [[3, 1, 2], [3, 1, 2]], world)
    assert env.spec.user_size == 30
    for out, left in zip(outs, (1.0, 0.8), strict=True):
        np.testing.assert_allclose(out.obs.user[:20], jnp.concatenate([topics(0, 1), topics(0.6)]), atol=1e-6)
        want = np.full(10, 1.0 if compat else 0.0)  # the published code cannot tell a topic that bores anew
        want[1] = left
        np.testing.assert_allclose(out.obs.user[20:], want, atol=1e-6)


@pytest.mark.parametrize("preset", SARDINE_PRESETS)
def test_every_preset_is_an_environment_of_the_published_sizes(preset: str) -> None:
    env = make_env("sardine", preset=preset)
    values = SARDINE_PRESETS[preset]
    assert (env.spec.slate_size, env.spec.num_items) == (values.slate_size, values.num_items)
    assert env.world.item_table.shape == (values.num_items, 10)
    users = env.world.users
    got = (users.offset, users.slope, users.omega, users.boredom_threshold, users.choice.decay)
    want = (values.offset, values.slope, values.omega, values.boredom_threshold, values.decay)
    np.testing.assert_allclose([float(x) for x in got], want, rtol=1e-6)
    assert preset.startswith("SlateRerank") == (values.requests == values.num_items == 10)


def test_a_field_replaces_the_value_of_the_preset_alone_and_survives_saving() -> None:
    config = SardineConfig(preset="SlateRerank-Bored", slope=7.0)
    assert config.values.slope == 7.0 and config.values.offset == 0.3 and config.choice_model.decay == 0.7
    assert build_section(SardineConfig, to_dict(config), "env", "test") == config


@pytest.mark.parametrize(
    ("options", "want"),
    [
        ({"preset": "SlateTopK"}, "env.preset: expected SingleItem-Static | "),
        ({"preset": "SlateRerank-Static", "slate_size": 11}, "env.slate_size: expected a value at least 1 and at most"),
        ({"omega": 1.5}, "env.omega: expected a value at least 0 and at most 1, got 1.5"),
        ({"requests": 0}, "env.requests: expected a value at least 1"),
        ({"boredom_threshold": 0}, "env.boredom_threshold: expected a value at least 1"),
        ({"history_slates": 0}, "env.history_slates: expected a value at least 1"),
        ({"decay": 0.5, "choice": {"name": "cascade"}}, "env.decay: the choice model in env.choice has its own decay"),
        ({"boredom": "topics"}, "env.boredom: expected churn_and_return | topic, got 'topics'; did you mean 'topic'?"),
        ({"reward": {"clicks": 1}}, "env.reward: no 'clicks'; did you mean 'click'?"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_names_it(options: dict, want: str) -> None:
    with pytest.raises(InputError) as caught:
        make_env("sardine", **options)
    assert want in str(caught.value) and "\n" not in str(caught.value)


def test_a_slate_of_another_size_is_refused() -> None:
    env, _, _ = made(**SMALL)
    with pytest.raises(InputError, match=r"action: expected shape \(3\), got \(2,\)"):
        env.step(jax.random.key(0), user_with(env, topics(1.0)), jnp.array([0, 1]), env.world)


@pytest.mark.parametrize("name", sorted(CHOICES.keys() - {"position"}))
def test_models_of_a_single_click_drive_these_users_too(name: Any) -> None:
    env, reset, step = made(choice=ChoiceConfig(name=name))
    keys = jax.random.split(jax.random.key(0), 256)
    state, _ = reset(keys, env.world)
    best = jax.lax.top_k(relevance(state, env.world), 10)[1]
    _, out = step(keys, state, best, env.world)
    assert np.isfinite(out.reward).all() and (out.reward > 0).any()
    assert out.reward.max() <= 1


def test_other_constants_are_not_another_program() -> None:
    env, _, _ = made(**SMALL, slope=1000, offset=0.5, decay=1)
    step = jax.jit(chex.assert_max_traces(env.step, n=1))
    state, world = user_with(env, topics(1.0)), env.world.replace(item_table=ROWS)
    slate, key = jnp.array([0, 2, 1]), jax.random.key(0)
    for constants, clicks in (
        ({}, [1, 1, 0]),
        ({"offset": jnp.asarray(0.7, jnp.float32)}, [1, 0, 0]),
        ({"choice": world.users.choice.replace(decay=jnp.asarray(0.0, jnp.float32))}, [1, 0, 0]),
    ):
        _, out = step(key, state, slate, world.replace(users=world.users.replace(**constants)))
        assert out.feedback[:, 0].tolist() == clicks


@pytest.mark.parametrize("preset", ["SlateRerank-Bored", "SingleItem-BoredInf"])
def test_an_episode_is_cut_after_exactly_its_requests(preset: Any) -> None:
    env, reset, step = made(preset=preset)
    keys = jax.random.split(jax.random.key(0), 8)
    state, _ = reset(keys, env.world)
    slates = jnp.broadcast_to(jnp.arange(env.spec.slate_size)[None], (8, env.spec.slate_size))
    cut = []
    for _ in range(SARDINE_PRESETS[preset].requests):
        state, out = step(keys, state, slates, env.world)
        cut.append(out.truncated)
        assert not out.terminated.any()
    assert not np.any(cut[:-1]) and np.all(cut[-1])


def test_a_batch_of_users_does_as_each_alone() -> None:
    env, reset, step = made(preset="SlateTopK-BoredInf", boredom="churn_and_return", ideal_state=True)
    keys = jax.random.split(jax.random.key(3), 6)
    state, _ = reset(keys, env.world)
    slates = jax.lax.top_k(relevance(state, env.world), 10)[1]
    batched, alone = step(keys, state, slates, env.world), jax.jit(env.step)
    for n in range(6):
        want = alone(keys[n], jax.tree.map(lambda x, n=n: x[n], state), slates[n], env.world)
        chex.assert_trees_all_close(jax.tree.map(lambda x, n=n: x[n], batched), want, rtol=1e-6)


@given(
    user=st_numpy.arrays(np.float32, 10, elements=st.floats(0, 1, width=32)),
    clicked=st_numpy.arrays(np.int32, (5, 10), elements=st.integers(-1, 9)),
    boring=st_numpy.arrays(np.int32, 10, elements=st.integers(0, 5)),
    slate=st.lists(st.integers(0, 999), min_size=10, max_size=10, unique=True),
    step=st.integers(0, 99),
    seed=st.integers(0, 2**31 - 1),
)
@settings(deadline=None, max_examples=50, derandomize=True)
@pytest.mark.parametrize("boredom", ["churn_and_return", "topic"])
def test_from_any_state_everything_is_finite_and_in_range(boredom, user, clicked, boring, slate, step, seed) -> None:
    env, _, many = made(preset="SlateTopK-BoredInf", boredom=boredom, ideal_state=True)
    norm = np.linalg.norm(user)
    interests = jnp.asarray(user / norm if norm > 1e-3 else np.eye(10)[0], jnp.float32)
    state = user_with(env, interests).replace(
        clicked=jnp.asarray(clicked), boring=jnp.asarray(boring), step=jnp.asarray(step, jnp.int32)
    )
    states = jax.tree.map(lambda x: jnp.broadcast_to(x[None], (16, *x.shape)), state)
    slates = jnp.broadcast_to(jnp.array(slate)[None], (16, 10))
    after, out = jax.device_get(many(jax.random.split(jax.random.key(seed), 16), states, slates, env.world))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((after, out)))
    low, high = env.spec.user_range
    assert (out.obs.user >= low).all() and (out.obs.user <= high).all()
    assert set(np.unique(out.feedback)) <= {0.0, 1.0} and out.feedback.shape == (16, 10, 1)
    assert (out.reward == out.feedback.sum((1, 2))).all()
    assert (out.obs.history_items == np.array(slate)).all()  # feedback is of the shown items, nothing else
    assert (out.obs.history_feedback == out.feedback).all()
    np.testing.assert_allclose(np.linalg.norm(after.user, axis=1), np.ones(16), rtol=1e-4)
    assert ((after.boring >= 0) & (after.boring <= 5)).all() and (out.truncated == (step == 99)).all()
    assert ((after.current == 0) | (after.current == after.user)).all()


def test_an_automatic_reset_leaves_nothing_of_the_old_user() -> None:
    env = make_env("sardine", preset="SlateTopK-BoredInf", requests=1)
    step = jax.jit(auto_reset(env).step)
    state, _ = env.reset(jax.random.key(0), env.world)
    for seed in range(5):
        key = jax.random.key(seed)
        fresh = env.reset(jax.random.split(key)[1], env.world)
        state, out = step(key, state, jnp.arange(10) + seed, env.world)
        assert out.truncated and not np.array_equal(out.obs.history_items, out.final_obs.history_items)
        chex.assert_trees_all_close((state, out.obs), fresh, rtol=1e-6)
