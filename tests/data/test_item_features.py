"""Numbers, categories and vectors of items; their columns and the faults of their files."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig, FeedbackKind
from jaxrec.config.load import build_section
from jaxrec.data import load_dataset
from jaxrec.data.item_features import (
    FeatureEncoding,
    encode,
    encodings_as_json,
    encodings_from_json,
    fit_encoding,
)

LOG = "user,item,time,liked\n" + "".join(
    f"{user},{item},{n},{n % 2}\n" for n, (user, item) in enumerate((u, i) for u in "xyz" for i in "abcd")
)
ITEMS = """item,title,year,genres
a,Ash,2000,drama|crime
b,Birch,2002,drama
c,Cedar,,
d,Elm,2004, war | war
e,Fir,x,odd
"""
NAN = float("nan")
FEATURES = {
    "year": {"kind": "number"},
    "genres": {"kind": "category", "separator": "|", "values": 1},
    "image": {"kind": "vector", "file": "image.npy", "ids": "ids.txt"},
}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Four items in the log; item c has no values, and e is not in the log."""
    (tmp_path / "log.csv").write_text(LOG)
    (tmp_path / "items.csv").write_text(ITEMS)
    np.save(tmp_path / "image.npy", np.array([[0.0, 2.0], [3.0, 4.0], [0.0, 0.0], [5.0, 0.0]]))
    (tmp_path / "ids.txt").write_text("b\na\nd\ne\n")
    return tmp_path


def config_of(folder: Path, features: dict, **options) -> DataConfig:
    values = {"source": "files", "path": str(folder), "item_features": features} | options
    section = build_section(DataConfig, values, "data", "recipe")
    return dataclasses.replace(section, feedback={"liked": FeedbackKind(column="liked")})


def values_of(folder: Path, features: dict, **options) -> dict[str, np.ndarray]:
    catalogue = load_dataset(config_of(folder, features, **options), 0).catalogue
    assert catalogue.ids == ("a", "b", "c", "d")
    return dict(catalogue.features)


def test_values_follow_the_items_of_the_log(shop: Path) -> None:
    values = values_of(shop, FEATURES)
    np.testing.assert_array_equal(values["year"], [2000, 2002, NAN, 2004])
    assert values["genres"].tolist() == [("drama", "crime"), ("drama",), (), ("war",)]
    np.testing.assert_array_equal(values["image"], [[3, 4], [0, 2], [NAN, NAN], [NAN, NAN]])  # a row of zeros: missing


def test_each_kind_has_its_columns_and_rows_have_unit_length_in_the_root_mean_square(shop: Path) -> None:
    features = FEATURES | {"image": FEATURES["image"] | {"weight": 0.5}}
    values = values_of(shop, features)
    coded = encode(values, fit_encoding(values, config_of(shop, features)))
    year, genres, image = coded.blocks
    z = 1.5**0.5  # 2 / sqrt((4 + 0 + 4) / 3); the squared lengths are 1.5, 0, 1, 1.5, their mean is 1
    np.testing.assert_allclose(year, [[-z, 0], [0, 0], [0, 1], [z, 0]], rtol=1e-6)
    s = 0.8**0.5  # drama, others, missing; the squared lengths are 2, 1, 1, 1, their mean is 1.25
    np.testing.assert_allclose(genres, [[s, s, 0], [s, 0, 0], [0, 0, s], [0, s, 0]], rtol=1e-6)
    np.testing.assert_allclose(image, [[0.3, 0.4, 0], [0, 0.5, 0], [0, 0, 0.5], [0, 0, 0.5]], rtol=1e-6)
    assert coded.width == 2 + 3 + 3


def test_new_items_get_the_columns_of_the_first_catalogue(shop: Path) -> None:
    values = values_of(shop, FEATURES)
    first = fit_encoding(values, config_of(shop, FEATURES))
    kept = encodings_from_json(json.loads(json.dumps(encodings_as_json(first))), "x")
    assert kept == first
    new = {"year": np.array([2006.0, 1e9, NAN]), "genres": np.empty(3, object), "image": np.array([[0, 9.0]] * 3)}
    new["genres"][:] = [("drama", "war"), (), ("western",)]
    year, genres, image = encode(new, kept).blocks
    np.testing.assert_allclose(year, [[6**0.5, 0], [5, 0], [0, 1]], rtol=1e-6)  # 4 / sqrt(8 / 3); cut at 5
    s = 0.8**0.5
    np.testing.assert_allclose(genres, [[s, s, 0], [0, 0, s], [0, s, 0]], rtol=1e-6)
    np.testing.assert_allclose(image, [[0, 1, 0]] * 3, rtol=1e-6)


def test_a_column_that_no_item_of_the_first_catalogue_needed_stays_zero() -> None:
    number = FeatureEncoding(kind="number", mean=3.0)
    genre = FeatureEncoding(kind="category", values=("drama",))
    lists = np.empty(2, object)
    lists[:] = [(), ("war",)]
    blocks = encode({"n": np.array([NAN, 4.0]), "g": lists}, {"n": number, "g": genre}).blocks
    np.testing.assert_array_equal(blocks[0], [[0, 0], [1, 0]])
    np.testing.assert_array_equal(blocks[1], np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("year"), "the earlier run had genres, image, year, this recipe has genres, image"),
        (
            lambda v: v.update(image=np.ones((1, 3))),
            "the earlier run had a vector of 2 numbers, now it is a vector of 3",
        ),
        (lambda v: v.update(year=np.ones((1, 2))), "the earlier run had a number, now it is a vector of 2 numbers"),
    ],
)
def test_other_features_than_those_of_the_earlier_run_are_refused(shop: Path, change: Callable, message: str) -> None:
    values = values_of(shop, FEATURES)
    kept = fit_encoding(values, config_of(shop, FEATURES))
    change(values)
    with pytest.raises(InputError, match=re.escape(message)):
        encode(values, kept)


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float64(), 2), pa.large_list(pa.int16())])
def test_vectors_are_read_from_a_column_of_lists(shop: Path, kind: pa.DataType) -> None:
    lists = pa.array([[3, 4], [0, 2], None, [5, 0]], kind)
    want = {"a": [3, 4], "b": [0, 2], "c": [NAN, NAN], "d": [NAN, NAN]}
    table = pa.table({"item": ["a", "b", "d", "a"], "title": ["A", "B", "D", "A"], "image": lists})
    parquet.write_table(table, shop / "items.parquet")  # of the two rows of a, the first counts
    inside = load_dataset(config_of(shop, {"image": {"kind": "vector"}}, item_file="items.parquet"), 0).catalogue
    assert inside.ids == ("a", "b", "d", "c")
    np.testing.assert_array_equal(inside.features["image"], [want[item] for item in inside.ids])
    parquet.write_table(pa.table({"id": ["b", "a", "d"], "picture": lists.take([1, 0, 2])}), shop / "one.parquet")
    apart = {"kind": "vector", "file": "one.parquet", "ids": "id", "column": "picture"}
    np.testing.assert_array_equal(values_of(shop, {"image": apart})["image"], list(want.values()))


def test_genres_of_movielens_are_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,1,4,1\n1,2,2,2\n2,1,5,3\n2,2,1,4\n")
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n1,One,Drama|War\n2,Two,(no genres listed)\n")
    features = {"genres": {"kind": "category", "separator": "|"}}
    config = config_of(tmp_path, features, source="movielens", text="{title}. {genres}")
    config = dataclasses.replace(config, feedback={"liked": FeedbackKind(column="rating", at_least=4)})
    catalogue = load_dataset(config, 0).catalogue
    assert catalogue.texts == ("One. Drama, War", "Two.")
    assert catalogue.features["genres"].tolist() == [("Drama", "War"), ()]


def npy(rows, ids: str = "b\na\nd\ne\n") -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        np.save(folder / "image.npy", rows)
        (folder / "ids.txt").write_text(ids)

    return damage


def lists(
    values: list, ids: tuple[str, ...] = ("a", "b", "c"), kind: pa.DataType | None = None
) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        parquet.write_table(pa.table({"id": list(ids), "image": pa.array(values, kind)}), folder / "one.parquet")

    return damage


IMAGE, ROWS = FEATURES["image"], np.ones((4, 2))
LISTS = {"kind": "vector", "file": "one.parquet", "ids": "id"}


@pytest.mark.parametrize(
    ("feature", "damage", "message"),
    [
        ({"kind": "picture"}, None, "data.item_features.f.kind: expected number | category | vector, got 'picture'"),
        ({}, None, "data.item_features.f.kind is missing"),
        (
            {"kind": "number", "column": "yeer"},
            None,
            "items.csv: no column 'yeer' (wanted by data.item_features.f.column)",
        ),
        ({"kind": "number", "file": "x.npy"}, None, "data.item_features.f.file: only of kind vector, got kind number"),
        ({"kind": "number", "separator": "|"}, None, "f.separator: only of kind category, got kind number"),
        ({"kind": "category", "values": 0}, None, "f.values: expected a value at least 1, got 0"),
        ({"kind": "number", "weight": 0}, None, "f.weight: expected a value above 0, got 0"),
        ({"kind": "vector"}, None, "f: only a Parquet item table (data.item_file) can hold vectors"),
        ({"kind": "vector", "file": "x.csv"}, None, "f.file: expected NAME.npy or NAME.parquet, got 'x.csv'"),
        ({"kind": "vector", "file": "x.npy"}, None, "f.ids: missing; set it to the file with one item id per line"),
        ({"kind": "vector", "ids": "x"}, None, "f.ids: set without a file"),
        (IMAGE | {"column": "x"}, None, "f.column: a .npy file has no columns"),
        (IMAGE | {"file": "no.npy"}, None, "no.npy: no such file; correct data.item_features.f.file"),
        (
            {"kind": "number", "column": "genres"},
            None,
            "'drama|crime' of item 'a' is not a finite number (3 such items)",
        ),
        ({"kind": "number", "column": "none"}, "none", "data.item_features.f: missing for all 4 items"),
        ({"kind": "category", "column": "none"}, "none", "data.item_features.f: missing for all 4 items"),
        (IMAGE, npy(np.zeros((4, 2))), "data.item_features.f: missing for all 4 items"),
        (IMAGE, npy(ROWS, "b\na\nd\n"), "image.npy: 4 vectors, but ids.txt has 3 lines"),
        (IMAGE, npy(ROWS, "b\na\n\nd\n"), "ids.txt line 3: no id"),
        (IMAGE, npy(ROWS, "b\na\nb\nd\n"), "image.npy: 2 rows for item 'b', expected one per item"),
        (
            IMAGE,
            npy(ROWS, "1\n2\n3\n4\n"),
            "no id of image.npy is among the 4 items of the log (the first ids are '1' and 'a')",
        ),
        (IMAGE, npy([[1, NAN], [1, 1], [1, 1], [1, 1]]), "NaN or infinity in the vector of item 'b' (1 vector in all)"),
        (IMAGE, npy([[1, 1], [NAN, NAN], [1, 1], [1, 1]]), "image.npy: the vector of item 'a' is NaN"),
        (IMAGE, npy([[1, 1], [1, np.inf], [1, 1], [1e300, 1]]), "NaN or infinity in the vector of item 'a' (2 vectors"),
        (IMAGE, npy(np.ones(4)), "image.npy: expected numbers of shape [items, columns], got float64 of shape (4,)"),
        (IMAGE, npy(np.array([["a"]] * 4)), "image.npy: expected numbers"),
        (IMAGE, lambda folder: (folder / "image.npy").write_bytes(b"x"), "image.npy: not a readable .npy file"),
        (LISTS, lists([1, 2, 3]), "column 'f'"),
        (LISTS | {"column": "image"}, lists([1, 2, 3]), "column 'image' holds int64; expected lists of numbers"),
        (LISTS | {"column": "image"}, lists([["a"]] * 3), "holds lists of string; expected lists of numbers"),
        (LISTS | {"column": "image"}, lists([[1], [1, 2], None]), "column 'image': vectors of 1 to 2 numbers"),
        (LISTS | {"column": "image"}, lists([None] * 3, kind=pa.list_(pa.int8())), "no vector at all"),
        (
            LISTS | {"column": "image"},
            lists([[1.0]] * 3, ("a", "a", "b")),
            "2 rows for item 'a', expected one per item",
        ),
        (LISTS | {"column": "image"}, lists([[1.0, NAN]] * 3), "NaN or infinity in the vector of item 'a'"),
        (LISTS | {"column": "image"}, lists([None, [NAN, NAN], [1, 2]]), "row 2 holds only NaN; write a null instead"),
    ],
)
def test_faults_end_in_one_line(shop: Path, feature: dict, damage: Callable | str | None, message: str) -> None:
    if damage == "none":
        (shop / "items.csv").write_text("item,title,none\n" + "".join(f"{item},T,\n" for item in "abcd"))
    elif callable(damage):
        damage(shop)
    with pytest.raises(InputError) as error:
        load_dataset(config_of(shop, {"f": feature}), 0)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_features_need_an_item_table_unless_they_have_a_file(shop: Path) -> None:
    with pytest.raises(InputError, match=r"data.item_features.year: is read from the item table, and there is none"):
        config_of(shop, {"year": {"kind": "number"}}, item_file="")
    assert values_of(shop, {"image": FEATURES["image"]}, item_file="")["image"].shape == (4, 2)
