"""Generated users whose answers have a past."""

import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig, GeneratedLog, GeneratedVisits
from jaxrec.data import load_dataset
from jaxrec.data.generated_visits import comeback_chance, visits_of

MINUTE, DAY = 60, 86_400


def test_boredom_grows_with_every_item_of_the_topic_and_wears_off() -> None:
    # Interest 100 and boredom 60 make answers certain: liked while less than 1.67 items of the topic are remembered.
    visits = GeneratedVisits(slate_size=1, boredom=60.0, keep=0.5, leave=-50.0, content=0.0)
    topic, interest = np.array([0, 0, 0, 1, 0, 0]), np.array([100.0, -100.0])
    liked, times = visits_of(visits, topic, interest, np.zeros(6), np.arange(6), 0.0, np.random.default_rng(0))
    # Remembered of topic 0: 0, 1, 1.5, -, .875 (after an item of topic 1), 1.4375; logits 100 - 60 times that.
    np.testing.assert_array_equal(liked, [True, True, True, False, True, True])
    np.testing.assert_array_equal(times, MINUTE * np.arange(6))
    stronger = GeneratedVisits(slate_size=1, boredom=80.0, keep=0.5, leave=-50.0, content=0.0)
    liked, _ = visits_of(stronger, topic, interest, np.zeros(6), np.arange(6), 0.0, np.random.default_rng(0))
    np.testing.assert_array_equal(liked, [True, True, False, False, True, False])  # 100 - 80 x 1.5 and x 1.4375


def test_users_leave_after_slates_without_likes_and_come_back_sooner_when_content() -> None:
    visits = GeneratedVisits(slate_size=2, boredom=0.0, leave=50.0, content=100.0, comeback=0.0, return_content=1.0)
    topic, interest = np.array([0, 0, 1, 1, 0, 0]), np.array([100.0, -100.0])
    liked, times = visits_of(visits, topic, interest, np.zeros(6), np.arange(6), 0.0, np.random.default_rng(0))
    np.testing.assert_array_equal(liked, [1, 1, 0, 0, 1, 1])
    np.testing.assert_array_equal(times[:4], [0, 0, MINUTE, MINUTE])  # items of a slate have one time
    assert times[4] == times[5] == MINUTE + 10 * DAY  # the chance of a day is .001, and ten days are the longest
    assert comeback_chance(visits, 1.0) == 0.999


def test_a_log_with_visits_has_sessions_and_fewer_likes() -> None:
    def read(visits: GeneratedVisits | None):
        sizes = GeneratedLog(items=200, users=100, interactions=40, visits=visits)
        return load_dataset(DataConfig(generated=sizes, text="{title}"), 0).log

    plain, bored = read(None), read(GeneratedVisits())
    np.testing.assert_array_equal(plain.item[:5], read(None).item[:5])
    assert bored.feedback.mean() < plain.feedback.mean() - 0.03
    pauses = np.diff(bored.time)[np.diff(bored.user) == 0]
    assert set(pauses[pauses < DAY].tolist()) == {0, MINUTE}
    assert 0.02 < (pauses >= DAY).mean() < 0.2


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match=r"data\.generated\.visits\.keep"):
        GeneratedVisits(keep=1.0)
    with pytest.raises(InputError, match=r"data\.generated\.visits\.comeback"):
        GeneratedVisits(comeback=1.5)
