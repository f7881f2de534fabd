import collections

import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig, FeedbackKind, GeneratedLog
from jaxrec.data import load_dataset
from jaxrec.data.generated import draw_tastes
from jaxrec.data.topics import TOPICS

SIZES = GeneratedLog(items=300, users=200, topics=12, interactions=40)
CONFIG = DataConfig(generated=SIZES, text="{title}. {description}")


def test_the_same_seed_gives_the_same_log_and_another_seed_another() -> None:
    first, again, other = (load_dataset(CONFIG, seed) for seed in (3, 3, 4))
    for name in ("user", "item", "time", "feedback"):
        np.testing.assert_array_equal(getattr(first.log, name), getattr(again.log, name))
    assert first.catalogue == again.catalogue and first.account == again.account
    assert first.catalogue.texts != other.catalogue.texts
    assert len(first.log) != len(other.log) or not np.array_equal(first.log.item, other.log.item)


def test_the_log_holds_likes_and_dislikes_of_popular_and_rare_items() -> None:
    log = load_dataset(CONFIG, 0).log
    assert log.num_users == 200 and log.num_items <= 300
    assert 34 < len(log) / log.num_users < 46
    assert 0.3 < log.feedback.mean() < 0.7
    rows = np.sort(np.bincount(log.item))
    assert rows[-10:].mean() > 3 * np.median(rows)
    assert np.all(np.diff(log.time)[np.diff(log.user) == 0] >= 0)
    assert len(set(zip(log.user.tolist(), log.item.tolist(), strict=True))) == len(log)


def test_the_feedback_kind_may_have_any_name_and_reads_the_column_liked() -> None:
    unnamed = load_dataset(CONFIG, 0).log
    config = DataConfig(generated=SIZES, feedback={"clap": FeedbackKind(column="liked")}, text="{title}")
    named = load_dataset(config, 0).log
    assert named.feedback_names == ("clap",)
    np.testing.assert_array_equal(named.feedback, unnamed.feedback)
    with pytest.raises(InputError, match=r"data.feedback.clap.column: no column 'like'.*did you mean 'liked'"):
        load_dataset(DataConfig(generated=SIZES, feedback={"clap": FeedbackKind(column="like")}), 0)


def test_no_single_slate_comes_near_what_each_user_would_like_best() -> None:
    tastes = draw_tastes(GeneratedLog(), np.random.default_rng(0))
    likes = np.stack([tastes.like_probability(user) for user in range(GeneratedLog().users)])
    one_for_all = np.sort(likes.mean(axis=0))[-5:].mean()
    personal = np.sort(likes, axis=1)[:, -5:].mean()
    assert personal > 0.9
    assert one_for_all < 0.45


def test_texts_differ_and_speak_of_their_topic() -> None:
    catalogue = load_dataset(DataConfig(generated=GeneratedLog(topics=24), text="{title}. {description}"), 0).catalogue
    assert len(set(catalogue.titles)) == len(catalogue)
    topics_of = [
        {n for n, topic in enumerate(TOPICS) if any(word in text for word in topic.subjects + topic.details)}
        for text in catalogue.texts
    ]
    own = collections.Counter(min(found, key=lambda n: n) for found in topics_of if len(found) == 1)
    assert sum(own.values()) > 0.95 * len(catalogue)
    assert len(own) == 24
