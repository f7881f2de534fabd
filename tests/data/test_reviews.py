import dataclasses
from pathlib import Path

import pytest

from jaxrec.config.data import Columns, DataConfig, FeedbackKind
from jaxrec.data import load_dataset, make_split

LOG = """user,item,time,stars,words
u,a,1,5,early u on a
u,b,5,1,"u on b, in
two lines"
u,c,8,1,u on c
u,d,9,4,last word of u
v,a,2,5,v on a
v,b,3,1,
v,c,6,4,v on c
v,a,7,4,v on a again
w,a,3,5,w on a
w,d,1,2,w on d
"""
ITEMS = "item,title,reviews\na,Apple,x\nb,Bread,x\nd,Date,x\n"


@pytest.fixture
def shop(tmp_path: Path) -> DataConfig:
    (tmp_path / "log.csv").write_text(LOG)
    (tmp_path / "items.csv").write_text(ITEMS)
    stars = {"liked": FeedbackKind(column="stars", at_least=4)}
    columns = Columns(review="words")
    return DataConfig(source="files", path=str(tmp_path), feedback=stars, columns=columns, text="{title}: {reviews}")


def test_reviews_stay_with_their_rows(shop: DataConfig) -> None:
    log = load_dataset(shop, 0).log
    assert log.review is not None
    # u: a b c d, v: b c a (the later row of a), w: d a
    assert log.review[:4].tolist() == ["early u on a", "u on b, in\ntwo lines", "u on c", "last word of u"]
    assert log.review[4:].tolist() == ["", "v on c", "v on a again", "w on d", "w on a"]


def test_item_texts_hold_the_earliest_training_reviews_only(shop: DataConfig) -> None:
    data = load_dataset(shop, 0)
    # Of u, c and d are held out; of v, c and a. w has two rows and only trains. c is in no item table, and without
    # a training review it reads as its id.
    assert dict(zip(data.catalogue.ids, data.catalogue.texts, strict=True)) == {
        "a": "Apple: early u on a w on a",
        "b": "Bread: u on b, in two lines",
        "d": "Date: w on d",
        "c": "c",
    }
    first = load_dataset(dataclasses.replace(shop, max_reviews=1), 0).catalogue
    assert first.texts[0] == "Apple: early u on a"


@pytest.mark.parametrize("split", ["leave_one_out", "global_time"])
def test_no_held_out_review_is_in_any_text(shop: DataConfig, split: str) -> None:
    config = dataclasses.replace(shop, split=split)
    data = load_dataset(config, 0)
    parts = make_split(config, data.log)
    texts = " | ".join(data.catalogue.texts)
    for log in (parts.validation, parts.test):
        assert log.review is not None and len(log)
        assert not [review for review in log.review if review and " ".join(review.split()) in texts]
    assert parts.train.review is not None
    assert [review for review in parts.train.review if review and " ".join(review.split()) in texts]


def test_an_item_in_no_table_reads_as_its_id_and_its_reviews(shop: DataConfig) -> None:
    data = load_dataset(dataclasses.replace(shop, item_file=""), 0)
    assert data.catalogue.texts[0] == "a: early u on a w on a"


def test_an_own_column_called_reviews_is_read_where_the_log_has_none(shop: DataConfig) -> None:
    data = load_dataset(dataclasses.replace(shop, columns=Columns()), 0)
    assert data.log.review is None
    assert data.catalogue.texts[0] == "Apple: x"
