"""Examples of users: who is drawn, what they liked, what is recommended, and the most similar liked item."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec import make_env
from jaxrec.evaluation.measures import item_facts
from jaxrec.evaluation.people import Shown, has_people, meet_people
from jaxrec.evaluation.recommenders import ranking
from jaxrec.types import Array, Env, EnvSpec, Observation, SlateAction, World

PAST, ANSWERS = jnp.array([0, 1, 2]), jnp.array([[1.0], [0.0], [1.0]])  # everybody's rows; item 1 was not liked
VECTORS = np.array([[2.0, 0.0], [0.0, 1.0], [0.6, 0.8], [0.8, 0.6], [0.0, 3.0], [1.0, 0.0]], np.float32)
REWARDS = jnp.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
WORLD = World(item_table=jnp.asarray(VECTORS))
SPEC = EnvSpec(
    name="few", action=SlateAction(size=2), num_items=6, feedback=("liked",), reward_weights=(1.0,), history_length=3
)
TITLES = ("zero", "one", "two", "three", "four", "five")


def users_with_up_to_three_rows() -> Env:
    def reset(key: Array, world: World) -> tuple[Array, Observation]:
        known = jax.random.randint(key, (), 0, 4)
        seen = jnp.arange(3) >= 3 - known
        return known, Observation(
            history_items=jnp.where(seen, PAST, -1), history_feedback=jnp.where(seen[:, None], ANSWERS, 0.0)
        )

    def step(*_):
        raise AssertionError("nobody acts")

    return Env(reset, step, WORLD, SPEC, lambda state, world: REWARDS)


def test_people_from_few_rows_to_many_with_their_slates_and_the_nearest_liked_item() -> None:
    recommender = ranking(jnp.array([9.0, 0.0, 8.0, 7.0, 6.0, 5.0]), 2)
    env, facts = users_with_up_to_three_rows(), item_facts(VECTORS)
    people = meet_people(env, WORLD, recommender, facts, TITLES, jax.random.key(0))
    known = [person.known for person in people]
    assert known == sorted(known) and known[0] == 0 and known[-1] == 3 and len(people) == 5
    new, old = people[0], people[-1]
    assert new.liked == () and new.num_liked == 0
    assert new.slate == (Shown("zero", pytest.approx(0.1), "", 0.0), Shown("two", pytest.approx(0.3), "", 0.0))
    assert new.average == pytest.approx(0.35) and new.best == pytest.approx(0.55)
    assert old.liked == ("two", "zero") and old.num_liked == 2  # newest first
    # 0 and 2 were seen. Item 3: cosine .8 with 0, .96 with 2. Item 4, parallel to (0, 1): 0 with 0, .8 with 2.
    assert old.slate == (
        Shown("three", pytest.approx(0.4), "two", pytest.approx(0.96)),
        Shown("four", pytest.approx(0.5), "two", pytest.approx(0.8)),
    )
    assert old.average == pytest.approx(0.5) and old.best == pytest.approx(0.55)  # of items 3, 4 and 5
    assert people == meet_people(env, WORLD, recommender, facts, TITLES, jax.random.key(0))


def test_a_slate_of_recommendable_items_has_their_own_rewards() -> None:
    world = WORLD.replace(recommendable=jnp.array([1, 4, 5]))
    env = users_with_up_to_three_rows()._replace(item_rewards=lambda state, world: REWARDS[world.recommendable])
    recommender = ranking(jnp.array([9.0, 0.0, 8.0, 7.0, 6.0, 5.0]), 2)
    old = meet_people(env, world, recommender, item_facts(VECTORS), TITLES, jax.random.key(0))[-1]
    assert [(one.title, round(one.expected, 6)) for one in old.slate] == [("four", 0.5), ("five", 0.6)]
    assert old.average == pytest.approx(0.55)  # item 1 is in the history


def test_users_without_known_answers_or_history_are_no_examples() -> None:
    env = users_with_up_to_three_rows()
    assert has_people(env) and not has_people(env._replace(item_rewards=None))
    assert not has_people(make_env("interest_evolution"))
