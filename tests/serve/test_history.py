"""Histories as people write them."""

import re

import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.data import FeedbackKind
from jaxrec.serve.history import HistoryReader

IDS = ("318", "a:b", "SKU 0, red", "SKU 0", "7")
RATINGS = {
    "liked": FeedbackKind(column="rating", at_least=4),
    "disliked": FeedbackKind(column="rating", at_most=2),
}
EVENTS = {"clicked": FeedbackKind(column="is_click"), "hated": FeedbackKind(column="is_hate"), "shown": FeedbackKind()}


def reader(feedback: dict[str, FeedbackKind], rewarded: tuple[bool, ...]) -> HistoryReader:
    return HistoryReader(IDS, feedback, rewarded)


@pytest.mark.parametrize(
    ("entry", "row", "want"),
    [
        ("318", 0, [1, 0]),  # a success, and not a dislike
        ("318:4.5", 0, [1, 0]),
        ("318:2", 0, [0, 1]),
        ("318: rating = 3 ", 0, [0, 0]),
        ("318:liked=0:disliked=1", 0, [0, 1]),
        ("a:b", 1, [1, 0]),
        ("a:b:1.5", 1, [0, 1]),
        ({"item": 318, "rating": 5}, 0, [1, 0]),
        ({"item": "a:b"}, 1, [1, 0]),
    ],
)
def test_a_number_is_read_as_in_the_log(entry, row: int, want: list[float]) -> None:
    items, feedback = reader(RATINGS, (True, False)).read([entry])
    assert (items.tolist(), feedback.tolist()) == ([row], [want])


@pytest.mark.parametrize(
    ("entry", "want"),
    [
        ("7", [1, 0, 0]),
        ("7:is_hate=1", [0, 1, 1]),  # the row itself is the feedback `shown`
        ("7:clicked=1:hated=0", [1, 0, 1]),
    ],
)
def test_kinds_of_several_columns_are_named(entry: str, want: list[float]) -> None:
    assert reader(EVENTS, (True, False, False)).read([entry])[1].tolist() == [want]


@pytest.mark.parametrize(
    ("entry", "want"), [("7:cart", [0, 1]), ("7:event=buy", [1, 1]), ("7:event=view", [0, 0]), ("7:bought=1", [1, 0])]
)
def test_words_are_read_as_in_the_log(entry: str, want: list[float]) -> None:
    kinds = {
        "bought": FeedbackKind(column="event", equals="buy"),
        "carted": FeedbackKind(column="event", in_=("cart", "buy")),
    }
    assert reader(kinds, (True, False)).read([entry])[1].tolist() == [want]


@pytest.mark.parametrize(
    ("entry", "want"), [("7:cart", [1]), ("7:event=view", [0]), ("7:event=other", [0]), ("7:wanted=1", [1]), ("7", [1])]
)
def test_words_with_weights_are_read_as_in_the_log(entry: str, want: list[float]) -> None:
    kinds = {"wanted": FeedbackKind(column="event", weights={"view": 1.0, "cart": 3.0}, at_least=3)}
    assert reader(kinds, (True,)).read([entry])[1].tolist() == [want]


def test_without_rewarded_kinds_the_first_one_is_the_success() -> None:
    assert reader(EVENTS, (False, False, False)).read(["7"])[1].tolist() == [[1, 0, 0]]


def test_an_empty_history_has_no_rows() -> None:
    items, feedback = reader(EVENTS, (True, False, False)).read([])
    assert items.shape == (0,) and items.dtype == np.int32 and feedback.shape == (0, 3)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("", []),
        ("318,7", ["318", "7"]),
        (" 318 : 4 , 7,", ["318 : 4", "7"]),
        ("SKU 0, red", ["SKU 0, red"]),
        ("SKU 0,318,SKU 0, red:2,7", ["SKU 0", "318", "SKU 0, red:2", "7"]),
        ("no such,318", ["no such", "318"]),
        ('"SKU 0, red":2,"318"', ["SKU 0, red:2", "318"]),
    ],
)
def test_a_text_is_split_at_commas_that_are_not_in_ids(text: str, want: list[str]) -> None:
    assert reader(RATINGS, (True, False)).split(text) == want


def test_quotes_that_belong_to_ids_stay() -> None:
    ids = ('12" disc', "7")
    assert HistoryReader(ids, RATINGS, (True, False)).split('12" disc:5,7') == ['12" disc:5', "7"]


@pytest.mark.parametrize(
    ("feedback", "entry", "message"),
    [
        (RATINGS, "319", "history: no item '319' in the catalogue of 5; did you mean '318'?"),
        (RATINGS, "318:x", "history: expected a number for rating, got 'x'."),
        (RATINGS, "318:rating=4:5", "history: expected NAME=NUMBER after 318, got '5'."),
        (RATINGS, "318:ratings=4", "history: no 'ratings'; did you mean 'rating'? (known: disliked, liked, rating)."),
        (RATINGS, "318:liked=4", "history: expected 0 or 1 for liked, got 4."),
        (RATINGS, {"rating": 4}, "history: no field item in {'rating': 4}; give the id of the item there."),
        (EVENTS, "7:1", "history: the log has several feedback columns (is_click, is_hate); name the one of the"),
        (EVENTS, "7:is_click=2", "history: expected 0 or 1 for is_click, got 2."),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(feedback, entry, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as error:
        reader(feedback, (True,) * len(feedback)).read([entry])
    assert "\n" not in str(error.value)
