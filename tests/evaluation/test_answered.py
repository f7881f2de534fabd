"""Numbers worked by hand: two people, four items, answers after the first half of their rows."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.data.log import Log, Split
from jaxrec.evaluation import answered
from jaxrec.evaluation.answered import Asked, Ordered, answers_section, halves
from jaxrec.evaluation.held_out import Score
from jaxrec.types import Array, Observation

# Rows of user 0: items 0, 1, then 2 liked, 3 not, 4 liked. User 1: item 4, then 0 not, 1 liked. User 2 likes all.
USER = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2]
ITEM = [0, 1, 2, 3, 4, 4, 0, 1, 0, 1]
LIKED = [1, 0, 1, 0, 1, 1, 0, 1, 1, 1]
EVERYTHING = np.ones(5, bool)


def log(user: list[int] = USER, item: list[int] = ITEM, liked: list[int] = LIKED, time: list[int] | None = None) -> Log:
    return Log(
        user=np.array(user, np.int32),
        item=np.array(item, np.int32),
        time=np.arange(len(user)) if time is None else np.array(time),
        feedback=np.array(liked, np.float32)[:, None],
        feedback_names=("liked",),
        num_users=max(user) + 1,
        num_items=5,
    )


def fixed(*scores: float):
    """Score items alike for everybody."""
    return lambda obs: jnp.broadcast_to(jnp.array(scores), (len(obs.history_items), 5))


def order_answers(score: Score, asked: Asked) -> Ordered:
    return answered.order_answers({"": score}, asked)[""]


def asked(split: Split, length: int = 8, may: np.ndarray = EVERYTHING, picks: int = 1, expected: Score | None = None):
    return Asked(split, length, may, split.test.feedback[:, 0], picks, expected)


def test_the_first_half_of_every_user_s_rows_is_the_history() -> None:
    split = halves(log())
    assert split.train.item.tolist() == [0, 1, 4, 0] and split.test.item.tolist() == [2, 3, 4, 0, 1, 1]
    assert not len(split.validation)


def test_rows_of_the_same_time_as_the_middle_row_are_no_history() -> None:
    split = halves(log([0, 0, 0, 0, 1], [0, 1, 2, 3, 4], [1, 1, 0, 1, 1], [5, 7, 7, 9, 3]))
    assert split.train.item.tolist() == [0] and split.test.item.tolist() == [1, 2, 3, 4]


def test_the_auc_of_each_user_by_hand() -> None:
    split = halves(log())
    # User 0: item 2 (.3) is above item 3 (.2), item 4 (.1) below it: 1 of 2. User 1: item 1 (.4) is below 0 (.5).
    got = order_answers(fixed(0.5, 0.4, 0.3, 0.2, 0.1), asked(split))
    assert got.auc.tolist() == [0.5, 0.0] and got.rows == 5
    # Ties count half: user 0 has 2 of 2, user 1 a tie.
    assert order_answers(fixed(0.0, 0.0, 0.3, 0.2, 0.3), asked(split)).auc.tolist() == [1.0, 0.5]


def test_items_that_may_not_be_recommended_and_items_of_the_history_do_not_count() -> None:
    split = halves(log())
    may = EVERYTHING.copy()
    may[4] = False
    assert order_answers(fixed(0.5, 0.4, 0.3, 0.2, 0.1), asked(split, may=may)).auc.tolist() == [1.0, 0.0]
    again = halves(log([0] * 6, [0, 1, 2, 0, 3, 4], [1, 1, 1, 1, 0, 1]))  # item 0 was answered before
    got = order_answers(fixed(0.9, 0.0, 0.0, 0.5, 0.2), asked(again))
    assert got.auc.tolist() == [0.0] and got.rows == 2


def test_scores_see_only_the_latest_rows_of_the_history() -> None:
    def latest(obs: Observation) -> Array:
        assert obs.history_items is not None
        assert obs.history_items.shape[-1] <= 8 and bool((obs.history_items < 2).all())
        return jnp.zeros((len(obs.history_items), 5))

    rows = halves(log([0] * 6, [0, 0, 1, 2, 3, 4], [1, 1, 1, 1, 0, 1]))
    assert order_answers(latest, asked(rows)).auc.tolist() == [0.5]


def test_the_section_pairs_users_and_is_left_out_for_a_single_one() -> None:
    split = halves(log())
    scores = {"policy": fixed(0.0, 0.0, 0.3, 0.2, 0.3), "popular": fixed(0.5, 0.4, 0.3, 0.2, 0.1)}
    ordered = {name: order_answers(score, asked(split)) for name, score in scores.items()}
    section = answers_section(ordered, "policy", 1)["answers"]
    assert section["auc"] == {"policy": 0.75, "popular": 0.25}
    assert section["policy_minus"]["popular"] == pytest.approx((0.5, 0.0))  # both users gain .5
    assert (section["users"], section["rows"]) == (2, 5)
    alone = halves(log(USER[:5], ITEM[:5], LIKED[:5]))
    assert answers_section({"policy": order_answers(scores["policy"], asked(alone))}, "policy", 1) == {}


def test_picks_and_the_real_part_of_the_promised_lift_by_hand() -> None:
    split = halves(log())
    expected = fixed(0.2, 0.8, 0.9, 0.3, 0.6)
    policy = order_answers(fixed(0.0, 0.1, 0.3, 0.2, 0.1), asked(split, expected=expected))
    # User 0 answered 2 (liked), 3 and 4 (liked), and 2 is picked. User 1: 0 and 1 (liked), and 1 is picked. User 2
    # answered one item, which is no choice.
    assert policy.picked.tolist() == [1.0, 1.0] and policy.chance.tolist() == pytest.approx([2 / 3, 1 / 2])
    assert policy.promised is not None and policy.promised_chance is not None
    assert policy.promised.tolist() == pytest.approx([0.9, 0.8])
    assert policy.promised_chance.tolist() == pytest.approx([0.6, 0.5])
    other = order_answers(fixed(0.5, 0.4, 0.1, 0.3, 0.2), asked(split, expected=expected))
    assert other.picked.tolist() == [0.0, 0.0]  # 3 and 0, which were not liked
    picks = answers_section({"policy": policy, "popular": other}, "policy", 1)["answers"]["picks"]
    assert (picks["users"], picks["items"]) == (2, 1)
    assert picks["reward"] == pytest.approx({"policy": 1.0, "popular": 0.0, "random": 7 / 12})
    assert picks["promised"] == pytest.approx({"policy": 0.85, "popular": 0.25, "random": 0.55})
    assert picks["policy_minus"]["popular"] == pytest.approx((1.0, 0.0))
    # Real lifts 1/3 and 1/2, promised ones .3 and .3: (5/12) / .3, and the interval of its residuals +-1/12
    assert picks["lift_real"] == pytest.approx(5 / 12 / 0.3)
    assert picks["lift_real_95"] == pytest.approx(1.959964 * (1 / 6 / 2**0.5) / 2**0.5 / 0.3)


def test_people_with_few_answers_have_no_picks() -> None:
    ordered = order_answers(fixed(0.5, 0.4, 0.3, 0.2, 0.1), asked(halves(log()), picks=2))  # 4 answers are needed
    assert len(ordered.picked) == 0 and ordered.promised is None
    assert "picks" not in answers_section({"policy": ordered}, "policy", 2)["answers"]
