"""What both adapters share: names of slates, and observations as vectors and dicts."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrec import make_env
from jaxrec.checks import InputError
from jaxrec.envs import to_gymnasium, to_gymnax
from jaxrec.envs.adapters.actions import make_actions, mend_slate
from jaxrec.envs.adapters.observations import make_view
from jaxrec.types import EnvSpec, Observation, SlateAction, World
from tests.envs.short_visits import short_visits


def interest_evolution() -> tuple:
    env = make_env("interest_evolution", num_candidates=5, slate_size=2)
    return env, env.reset(jax.random.key(0), env.world)[1]


@pytest.mark.parametrize(
    ("kind", "count", "action", "slate"),
    [
        ("slate", 0, [4, 1], [4, 1]),
        ("slate", 0, [3, 3], [3, 0]),
        ("slate", 0, [0, 0], [0, 1]),
        ("scores", 0, [0.1, 0.9, -1.0, 0.5, 0.8], [1, 4]),
        ("combinations", 10, 0, [0, 1]),
        ("combinations", 10, 9, [3, 4]),
        ("permutations", 20, 4, [1, 0]),
        ("permutations", 20, 19, [4, 3]),
    ],
)
def test_every_way_to_name_a_slate_names_the_right_one(kind: str, count: int, action: object, slate: list) -> None:
    env, obs = interest_evolution()
    actions = make_actions(env, kind)
    assert actions.numbered == count
    np.testing.assert_array_equal(actions.to_slate(jnp.asarray(action), obs, env.world), slate)


@given(
    slate=st.lists(st.integers(0, 7), min_size=3, max_size=3), allowed=st.lists(st.booleans(), min_size=8, max_size=8)
)
@settings(deadline=None, max_examples=100, derandomize=True)
def test_a_mended_slate_repeats_nothing_and_keeps_what_was_right(slate: list[int], allowed: list[bool]) -> None:
    got = np.asarray(mend_slate(jnp.array(slate, jnp.int32), jnp.array(allowed))).tolist()
    assert len(set(got)) == 3
    for k, position in enumerate(slate):
        if allowed[position] and position not in got[:k]:
            assert got[k] == position
    if sum(allowed) >= 3:
        assert all(allowed[position] for position in got)


def test_positions_are_those_of_recommendable_items_and_the_history_is_not_shown_again() -> None:
    env = short_visits()
    _, obs = env.reset(jax.random.key(0), env.world)
    later = obs.replace(history_items=jnp.array([0, 3], jnp.int32))
    by_position, by_score = (make_actions(env, kind).to_slate for kind in ("slate", "scores"))
    assert by_position(jnp.array([1, 4]), obs, env.world).tolist() == [2, 5]
    assert by_position(jnp.array([0, 2]), later, env.world).tolist() == [2, 4]  # 0 and 3 are in the history
    scores = jnp.array([5.0, 1.0, 4.0, 3.0, 2.0])
    assert by_score(scores, obs, env.world).tolist() == [0, 3]
    assert by_score(scores, later, env.world).tolist() == [4, 5]


def test_a_query_ranks_by_its_product_with_the_rows_of_what_is_on_offer() -> None:
    env, obs = interest_evolution()  # rows are one-hot: the score of a candidate is the weight of its topic
    obs = obs.replace(candidates=jnp.array([7, 2, 7, 0, 19], jnp.int32))
    actions = make_actions(env, "query")
    assert (actions.weights, actions.numbered) == (20, 0)
    weights = jnp.zeros(20).at[jnp.array([2, 7, 19])].set(jnp.array([0.5, 0.2, -1.0]))
    assert actions.to_slate(weights, obs, env.world).tolist() == [1, 0]  # 2 has .5, then the first of two 7s
    assert actions.to_slate(weights.at[0].set(jnp.nan), obs, env.world).tolist() == [1, 0]  # NaN counts as 0
    catalogue = short_visits()  # row of item i: [2 i, 2 i + 1]; item 1 is not recommendable
    _, obs = catalogue.reset(jax.random.key(0), catalogue.world)
    query = make_actions(catalogue, "query")  # [a, b] scores item i as 2 i (a + b) + b
    assert query.weights == 2
    assert query.to_slate(jnp.array([1.0, 0.0]), obs, catalogue.world).tolist() == [5, 4]
    assert query.to_slate(jnp.array([-1.0, 0.5]), obs, catalogue.world).tolist() == [0, 2]
    later = obs.replace(history_items=jnp.array([0, 3], jnp.int32))
    assert query.to_slate(jnp.array([-1.0, 0.5]), later, catalogue.world).tolist() == [2, 4]


def test_vectors_hold_the_rows_of_candidates_and_say_where_every_part_is() -> None:
    env, obs = interest_evolution()
    view = make_view(env, "vector")
    vector = view.show(obs, env.world)
    assert view.layout == {"user": slice(0, 20), "candidates": slice(20, 120)} and vector.shape == (120,)
    np.testing.assert_array_equal(vector[view.layout["user"]], obs.user)
    np.testing.assert_array_equal(vector[view.layout["candidates"]].reshape(5, 20), np.eye(20)[obs.candidates])


def test_histories_are_means_or_rows() -> None:
    env = short_visits()  # row of item i: [2 i, 2 i + 1]
    _, obs = env.reset(jax.random.key(0), env.world)
    full = obs.replace(history_items=jnp.array([1, 4], jnp.int32), history_feedback=jnp.array([[0.5], [1.0]]))
    half = obs.replace(history_items=jnp.array([-1, 4], jnp.int32), history_feedback=jnp.array([[0.0], [1.0]]))
    mean, rows = make_view(env, "vector", "mean"), make_view(env, "vector", "rows")
    assert mean.layout["history_items"] == slice(2, 5) and mean.layout["history_feedback"] == slice(5, 6)
    assert mean.show(full, env.world)[2:].tolist() == [5, 6, 1, 0.75]
    assert mean.show(half, env.world)[2:].tolist() == [8, 9, 0.5, 1]
    assert mean.show(obs, env.world)[2:].tolist() == [0, 0, 0, 0]
    assert rows.show(full, env.world)[2:].tolist() == [2, 3, 8, 9, 0.5, 1.0]
    assert rows.show(half, env.world)[2:].tolist() == [0, 0, 8, 9, 0.0, 1.0]


def test_fresh_documents_context_and_mask_are_parts_too_with_the_ranges_of_the_description() -> None:
    env = short_visits()
    obs = Observation(
        context=jnp.array([7.0]), candidate_features=jnp.array([[1.0, 2.0], [3.0, 4.0]]), mask=jnp.array([True, False])
    )
    spec = EnvSpec(
        name="documents",
        action=SlateAction(size=1),
        num_items=6,
        feedback=("click",),
        num_candidates=2,
        candidate_size=2,
        context_size=1,
        candidate_range=(0.0, 9.0),
        context_range=(-7.0, 7.0),
    )
    env = env._replace(reset=lambda key, params: (None, obs), spec=spec)
    view = make_view(env, "vector")
    assert view.show(obs, env.world).tolist() == [7, 1, 2, 3, 4, 1, 0]
    assert np.concatenate([part.low for part in view.bounds.values()]).tolist() == [-7, 0, 0, 0, 0, 0, 0]
    assert np.concatenate([part.high for part in view.bounds.values()]).tolist() == [7, 9, 9, 9, 9, 1, 1]
    assert make_actions(env, "slate").to_slate(jnp.asarray(1), obs, env.world).tolist() == [0]  # 1 is masked
    query, free = make_actions(env, "query"), obs.replace(mask=None)
    assert query.weights == 2
    assert query.to_slate(jnp.array([1.0, -0.5]), free, env.world).tolist() == [1]  # 1 - 1 and 3 - 2
    assert query.to_slate(jnp.array([1.0, -0.5]), obs, env.world).tolist() == [0]
    assert query.to_slate(jnp.array([0.5, -1.0]), free, env.world).tolist() == [0]  # .5 - 2 and 1.5 - 4
    assert sorted(make_view(env, "dict").show(obs, env.world)) == ["candidate_features", "context", "mask"]


def test_half_precision_tables_become_single_precision_vectors() -> None:
    env, obs = interest_evolution()
    world = World(item_table=env.world.item_table.astype(jnp.bfloat16), users=env.world.users)
    env = env._replace(world=world)
    view = make_view(env, "vector")
    assert view.show(obs, world).dtype == jnp.float32 == view.bounds["candidates"].low.dtype


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda env: make_actions(env, "slates"), "actions: no 'slates'; did you mean 'slate'"),
        (lambda env: make_view(env, "vectors"), "observation: no 'vectors'"),
        (lambda env: make_view(env, "vector", "row"), "history: no 'row'; did you mean 'rows'"),
        (
            lambda env: make_actions(make_env("interest_evolution", num_candidates=20, slate_size=10), "combinations"),
            "184756 combinations are too many",
        ),
    ],
)
def test_unknown_options_are_refused_in_one_line(make, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make(interest_evolution()[0])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("adapter", "library"), [(to_gymnax, "gymnax"), (to_gymnasium, "gymnasium")])
def test_a_library_that_is_not_installed_is_named_with_its_extra(adapter, library: str, monkeypatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"jaxrec.envs.adapters.{library}_env", raising=False)
    with pytest.raises(InputError, match=rf'{library} is not installed; pip install "jaxrec\[{library}\]"'):
        adapter(interest_evolution()[0])


@pytest.mark.parametrize("kind", ["slate", "scores"])
def test_items_of_the_history_are_shown_again_where_the_environment_allows_it(kind: str) -> None:
    env = make_env("sardine", preset="SlateRerank-Static")  # every slate is the whole catalogue
    _, obs = env.reset(jax.random.key(0), env.world)
    order = jnp.array([7, 3, 9, 0, 1, 2, 4, 5, 6, 8])
    action = order if kind == "slate" else -jnp.argsort(order).astype(jnp.float32)
    np.testing.assert_array_equal(make_actions(env, kind).to_slate(action, obs, env.world), order)
