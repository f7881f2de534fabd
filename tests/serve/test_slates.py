import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.ops.exploration import epsilon_greedy_log_probs, epsilon_greedy_slate
from jaxrec.serve.slates import Explore, Visit
from jaxrec.types import Observation
from tests.serve.small_policy import small_policy


def visits(count: int, num_items: int, k: int = 10) -> list[Visit]:
    draw = np.random.default_rng(0)
    sizes = draw.integers(0, 9, count)
    histories = [draw.choice(num_items, size, replace=False).astype(np.int32) for size in sizes]
    return [Visit(h, draw.integers(0, 2, (len(h), 1)).astype(np.float32), k, seed=n) for n, h in enumerate(histories)]


@pytest.mark.parametrize("encoder", ["profile", "gru", "transformer"])
def test_scores_of_a_user_are_bit_for_bit_the_same_alone_and_among_64(encoder: str) -> None:
    saved, everyone = small_policy(700, encoder=encoder), visits(64, 700)
    together = saved.slates.choose(everyone)
    for place in (0, 9, 37, 63):
        alone = saved.slates.choose([everyone[place]])[0]
        np.testing.assert_array_equal(alone.rows, together[place].rows)
        assert alone.scores.tobytes() == together[place].scores.tobytes()
    shuffled = saved.slates.choose(everyone[::-1])[::-1]
    assert all(a.scores.tobytes() == b.scores.tobytes() for a, b in zip(together, shuffled, strict=True))


def test_slates_are_the_highest_scores_that_numpy_finds() -> None:
    shown = list(range(0, 50, 2))
    saved, everyone = small_policy(50, shown), visits(11, 50, k=7)
    for visit, slate in zip(everyone, saved.slates.choose(everyone), strict=True):
        window = np.full(6, -1, np.int32)
        feedback = np.zeros((6, 1), np.float32)
        if last := min(6, len(visit.items)):
            window[-last:], feedback[-last:] = visit.items[-last:], visit.feedback[-last:]
        obs = Observation(history_items=jnp.asarray(window), history_feedback=jnp.asarray(feedback))
        scores = np.asarray(saved.policy.apply(saved.params, saved.items, obs, saved.world).logits).copy()
        scores[np.isin(shown, visit.items)] = -np.inf  # all of the history, not only the window
        best = np.argsort(-scores, kind="stable")[:7]
        assert slate.rows.tolist() == [shown[n] for n in best]
        np.testing.assert_allclose(slate.scores, scores[best], rtol=1e-5, atol=1e-6)


def test_one_program_serves_every_batch_and_every_k_of_its_size() -> None:
    saved = small_policy(40)
    saved.slates.warm(40)
    for count, k in ((1, 1), (3, 5), (8, 16), (9, 17), (20, 40)):
        saved.slates.choose(visits(count, 40, k))
    programs = saved.slates._programs
    assert sorted(programs) == [16, 40] and all(program._cache_size() == 1 for program in programs.values())


def test_k_goes_up_to_the_catalogue_and_no_further() -> None:
    saved = small_policy(20)
    assert sorted(int(i.id) for i in saved.recommend(k=20)) == list(range(20))
    with pytest.raises(InputError, match="k: expected a value at least 1 and at most 20, got 21"):
        saved.recommend(k=21)


def test_items_are_excluded_and_included_by_id() -> None:
    saved = small_policy(20)
    best = [item.id for item in saved.recommend(k=3)]
    assert best[0] not in [item.id for item in saved.recommend(k=19, exclude=best[:1])]
    assert {item.id for item in saved.recommend(["5"], k=20, include=["3", "5", "9"])} == {"3", "9"}
    assert saved.recommend(k=20, include=[]) == []


def test_only_items_that_may_be_shown_are_retrieved() -> None:
    saved = small_policy(60, scorer="mlp", retrieve=4)
    usual = {item.id for item in saved.recommend(k=4)}
    others = [item for item in saved.ids if item not in usual]
    assert len(saved.recommend(k=4, exclude=sorted(usual))) == 4
    assert {item.id for item in saved.recommend(k=4, include=others[:2])} == set(others[:2])


def test_many_users_are_answered_like_each_alone_and_cold_users_too() -> None:
    saved = small_policy()
    histories = [[], ["3:5", "4:1"], [{"item": "9", "rating": 4}]]
    assert saved.recommend_many(histories, 4) == [saved.recommend(history, 4) for history in histories]
    assert saved.recommend_many([]) == []


def test_items_outside_the_catalogue_are_refused_or_ignored() -> None:
    saved = small_policy()
    with pytest.raises(InputError, match="no item 'x' in the catalogue"):
        saved.recommend(["3", "x"])
    assert saved.recommend(["3", "x:4", {"item": "y"}], unknown="ignore") == saved.recommend(["3"])
    assert saved.histories.known(["3", "x:4", {"item": "y"}]) == (["3"], 2)
    with pytest.raises(InputError, match="no item 'x' in the catalogue"):
        saved.recommend(exclude=["x"])


def test_drawn_slates_have_the_probability_of_drawing_item_after_item() -> None:
    saved = small_policy(6, history=3)
    slates = saved.slates.exploring(Explore("softmax", 2.0))
    empty = Visit(np.zeros(0, np.int32), np.zeros((0, 1), np.float32))
    all_scores = saved.slates.choose([empty._replace(k=6)])[0]
    scores = np.empty(6)
    scores[all_scores.rows] = all_scores.scores
    drawn = slates.choose([empty._replace(k=3, seed=n) for n in range(40)])
    assert len({tuple(one.rows) for one in drawn}) > 10
    for one in drawn:
        mass, want = np.exp(scores / 2.0), []
        for row in one.rows:
            want.append(np.log(mass[row] / mass.sum()))
            mass[row] = 0.0
        assert one.log_probs is not None
        np.testing.assert_allclose(one.log_probs, want, rtol=1e-4, atol=1e-5)
    assert slates.choose([empty._replace(k=3, seed=4)])[0].rows.tolist() == drawn[4].rows.tolist()


@pytest.mark.parametrize(("allowed", "size"), [(5, 2), (3, 2), (2, 2)])
def test_probabilities_of_epsilon_greedy_slates_are_those_of_20_000_draws(allowed: int, size: int) -> None:
    scores = jnp.where(jnp.arange(5) < allowed, jnp.array([3.0, 1.0, 2.0, 0.0, -1.0]), -jnp.inf)
    best = jnp.argsort(-scores)[:size].astype(jnp.int32)
    keys = jax.random.split(jax.random.key(0), 20_000)
    drawn = np.asarray(jax.vmap(lambda key: epsilon_greedy_slate(key, scores, best, 0.3))(keys))
    counts = {pair: int((drawn == pair).all(1).sum()) for pair in itertools.permutations(range(5), size)}
    total = 0.0
    for pair, count in counts.items():
        if count == 0:
            continue
        probability = float(jnp.exp(epsilon_greedy_log_probs(scores, best, jnp.array(pair, jnp.int32), 0.3).sum()))
        total += probability
        assert abs(count / 20_000 - probability) < 5 * np.sqrt(probability * (1 - probability) / 20_000) + 1e-12
    assert total == pytest.approx(1.0, abs=1e-5)


def test_slates_with_epsilon_know_the_size_that_was_asked_for() -> None:
    saved = small_policy(12)
    slates = saved.slates.exploring(Explore("epsilon", 0.5))
    empty = Visit(np.zeros(0, np.int32), np.zeros((0, 1), np.float32), k=2)
    best = saved.slates.choose([empty])[0].rows
    for one in slates.choose([empty._replace(seed=n) for n in range(30)]):
        replaced = one.rows != best
        outside = 10  # of 12 items, also those that only a longer slate would hold
        want = np.log(0.5) * 2 - sum(np.log(outside - n) for n in range(replaced.sum()))
        assert one.log_probs is not None and float(one.log_probs.sum()) == pytest.approx(want, abs=1e-5)
