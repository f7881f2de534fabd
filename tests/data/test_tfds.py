import dataclasses
import os

import numpy as np
import pytest

from jaxrec.checks import InputError
from jaxrec.config.data import Columns, DataConfig, FeedbackKind, TfdsLog
from jaxrec.data import load_dataset, tfds
from tests.data.same import assert_same_dataset

STARS = {"liked": FeedbackKind(column="stars", at_least=4), "seen": FeedbackKind(column="seen")}
FILMS = Columns(
    user="user_id", item="movie_id", time="timestamp", item_id="movie_id", title="movie_title", user_id="user_id"
)


def prepare(builder: type, rows, folder) -> None:
    builder.rows = rows
    builder(data_dir=folder, file_format="array_record").download_and_prepare()


def visits() -> list[dict]:
    rng = np.random.default_rng(2)
    times = np.sort(rng.permutation(5_000)[:400])
    return [
        {
            "user": f"Zoë {rng.integers(15)}",
            "item": int(rng.integers(100, 130)),
            "time": int(time),
            "stars": float(rng.integers(2, 11)) / 2,
            "seen": bool(rng.integers(2)),
            "mood": int(rng.integers(2)),
            "tags": ["a"],
        }
        for time in times
    ]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder where TFDS prepared a log, and a film log with texts."""
    from tests.data import tfds_builders

    folder = tmp_path_factory.mktemp("prepared")
    prepare(tfds_builders.VisitLog, visits(), folder)
    ratings = [("7", "20", 4.0, 5), ("7", "3", 3.5, 6), ("9", "20", 2.0, 1), ("9", "100", 5.0, 2)]
    names = ("user_id", "movie_id", "user_rating", "timestamp")
    prepare(tfds_builders.FilmRatings, [dict(zip(names, row, strict=True)) for row in ratings], folder)
    films = [("3", "Three (1993)", ["Comedy", "Action"]), ("20", "Twenty, The", ["(no genres listed)"]), ("5", "?", [])]
    names = ("movie_id", "movie_title", "movie_genres")
    prepare(tfds_builders.FilmTexts, [dict(zip(names, row, strict=True)) for row in films], folder)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def config(folder, name: str = "visit_log", **settings) -> DataConfig:
    settings = {"feedback": STARS, "text": "{title}", **settings}
    item_name = settings.pop("item_name", "")
    return DataConfig(source="tfds", tfds=TfdsLog(name=name, data_dir=str(folder), item_name=item_name), **settings)


def test_a_prepared_data_set_gives_the_same_arrays_as_its_rows_in_csv(prepared, tmp_path):
    columns = ("user", "item", "time", "stars", "seen")
    lines = [",".join(str(row[name]) for name in columns) for row in visits()]
    (tmp_path / "log.csv").write_text("\n".join([",".join(columns), *lines]))
    as_csv = load_dataset(DataConfig(source="files", path=str(tmp_path), item_file="", feedback=STARS), 0)
    assert_same_dataset(load_dataset(config(prepared), 0), as_csv)
    by_folder = load_dataset(config("", str(prepared / "visit_log" / "1.0.0")), 0)
    assert_same_dataset(by_folder, as_csv)
    assert by_folder.account[0] == "visit_log-1.0.0: read 400 rows"


def test_films_have_titles_and_genres_in_words(prepared):
    kinds = {"liked": FeedbackKind(column="user_rating", at_least=4)}
    settings = {"columns": FILMS, "feedback": kinds, "text": "{title}: {movie_genres}."}
    data = load_dataset(config(prepared, "film_ratings", item_name="film_texts", **settings), 0)
    # the order of the films is the one TFDS shuffled them into; the film that it lacks comes last
    assert dict(zip(data.catalogue.ids, data.catalogue.texts, strict=True)) == {
        "3": "Three (1993): Comedy, Action.",
        "20": "Twenty, The: (no genres listed).",
        "100": "100",
    }
    # by time user 9 comes first
    np.testing.assert_array_equal(data.log.user, [0, 0, 1, 1])
    assert [data.catalogue.ids[i] for i in data.log.item] == ["20", "100", "20", "3"]
    np.testing.assert_array_equal(data.log.feedback[:, 0], [0, 1, 1, 0])


def test_a_label_is_a_number_as_feedback_and_a_word_elsewhere(prepared):
    as_feedback = load_dataset(config(prepared, feedback={"good": FeedbackKind(column="mood")}, repeats="last"), 0)
    last = {(row["user"], row["item"]): row["mood"] for row in visits()}
    assert as_feedback.log.feedback.sum() == sum(last.values())
    as_item = load_dataset(config(prepared, feedback={"seen": FeedbackKind()}, columns=Columns(item="mood")), 0)
    assert sorted(as_item.catalogue.ids) == ["bad", "good"]


def test_rows_are_read_once_and_kept_without_raw_user_ids(prepared, cache, monkeypatch):
    first = load_dataset(config(prepared), 0)
    (kept,) = cache.glob("*.parquet")
    assert "Zoë".encode() not in kept.read_bytes()
    monkeypatch.setattr(tfds, "_decoded", None)  # from here on reading rows anew would fail
    assert_same_dataset(load_dataset(config(prepared), 0), first)
    monkeypatch.setenv("JAXREC_USER_KEY", "another key, so that pseudonyms differ")
    with pytest.raises(TypeError):
        load_dataset(config(prepared), 0)


@pytest.mark.parametrize("damage", [lambda raw: raw[:-20], lambda raw: raw[:300] + b"?" + raw[301:], lambda raw: b""])
def test_a_damaged_cache_is_read_anew(damage, prepared, cache):
    first = load_dataset(config(prepared), 0)
    (kept,) = cache.glob("*.parquet")
    whole = kept.read_bytes()
    kept.write_bytes(damage(whole))
    assert_same_dataset(load_dataset(config(prepared), 0), first)
    assert kept.read_bytes() == whole


def test_a_data_set_that_was_prepared_again_is_read_again(prepared, cache):
    load_dataset(config(prepared), 0)
    for file in (prepared / "visit_log" / "1.0.0").glob("*array_record*"):
        os.utime(file)
    load_dataset(config(prepared), 0)
    assert len(list(cache.glob("*.parquet"))) == 2


def test_what_is_wrong_with_a_data_set_is_said_in_one_line(prepared, tmp_path):
    log = config(prepared)
    wrong = {
        r"data.tfds.name: 'visit_logg' is not prepared on this machine.*tfds build visit_logg "
        r"--file_format=array_record --data_dir=.*": TfdsLog(name="visit_logg", data_dir=str(prepared)),
        r"'visit_log' is not prepared.*nothing in .*tfds-prepare": TfdsLog(name="visit_log", data_dir=str(tmp_path)),
        r"data.tfds.split: no split 'test' in 'visit_log' \(known: train\)": dataclasses.replace(
            log.tfds, split="test"
        ),
    }
    for message, settings in wrong.items():
        with pytest.raises(InputError, match=message):
            load_dataset(dataclasses.replace(log, tfds=settings), 0)
    kinds = {"liked": FeedbackKind(column="starz", at_least=4)}
    with pytest.raises(
        InputError, match=r"visit_log-1.0.0: no column 'starz' \(wanted by data.feedback.liked.column\)"
    ):
        load_dataset(config(prepared, feedback=kinds), 0)
    with pytest.raises(InputError, match=r"visit_log-1.0.0: feature 'tags' holds Sequence.*one value per row"):
        load_dataset(config(prepared, columns=Columns(item="tags")), 0)
