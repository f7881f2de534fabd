"""Everything a person can get wrong in a log: one line that names the file and the remedy."""

import dataclasses
import gzip
import io
import lzma
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from jaxrec.checks import InputError
from jaxrec.config.data import Columns, DataConfig, FeedbackKind, TfdsLog
from jaxrec.data import load_dataset

LOG = "user,item,time,stars\nu,a,1,5\nu,b,2,1\n"
ITEMS = "item,title\na,Apple\nb,Bread\n"
JSON = '{"user": "u", "item": "a", "time": 1, "stars": 5}\n'
RATINGS = "userId,movieId,rating,timestamp\n1,3,4.0,5\n"
STARS = {"liked": FeedbackKind(column="stars", at_least=4)}
MOVIELENS = {"source": "movielens", "feedback": {"liked": FeedbackKind()}}


@dataclasses.dataclass(frozen=True)
class BadInput:
    """Files of a folder (None: a folder of that name), settings of `data`, and what the message must hold."""

    name: str
    wants: tuple[str, ...]
    log: str | bytes | None = LOG
    items: str | bytes | None = ITEMS
    others: Mapping[str, str | bytes] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def parquet_bytes(**columns: Any) -> bytes:
    """A Parquet file."""
    file = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(columns), file)
    return file.getvalue()


BAD_INPUT = (
    BadInput("a missing folder", ("data.path", "is not a folder", "set it"), settings={"path": "nowhere"}),
    BadInput("no folder at all", ("data.path", "is empty", "set it"), settings={"path": ""}),
    BadInput(
        "a missing log",
        ("logs.csv", "no such file", "did you mean 'log.csv'", "data.log_file"),
        settings={"log_file": "logs.csv"},
    ),
    BadInput(
        "a missing item table",
        ("none.csv", "no such file", "data.item_file", "empty if there is no item table"),
        settings={"item_file": "none.csv"},
    ),
    BadInput("a folder instead of a file", ("log.csv", "is a folder", "data.log_file"), log=None),
    BadInput("an empty file", ("log.csv", "empty", "header line"), log=""),
    BadInput("a header only", ("log.csv", "only a header", "expected rows"), log="user,item,time,stars\n"),
    BadInput(
        "bytes that are not UTF-8",
        ("log.csv line 2", "UTF-8"),
        log=LOG.replace("u,a", "\xfc,a").encode("latin1"),
    ),
    BadInput("UTF-16 without a mark", ("log.csv line 1", "UTF-8"), log=LOG.encode("utf-16-le")),
    BadInput(
        "a misnamed column",
        (
            "log.csv",
            "no column 'time'",
            "data.columns.time",
            "did you mean 'times'",
            "user, item, times, stars",
        ),
        log=LOG.replace("time", "times"),
    ),
    BadInput(
        "a feedback column that is not there",
        ("log.csv", "no column 'rating'", "data.feedback.liked.column", "stars"),
        settings={"feedback": {"liked": FeedbackKind(column="rating", at_least=4)}},
    ),
    BadInput(
        "semicolons",
        ("log.csv", "no column 'user'", "columns: user;item;time;stars"),
        log=LOG.replace(",", ";"),
    ),
    BadInput(
        "a column twice", ("log.csv", "'item' is in the header twice", "rename"), log=LOG.replace("stars", "item")
    ),
    BadInput(
        "a row with too few cells",
        ("log.csv", "1 of 3 rows", "wrong number of cells (line 4)", "data.allow_bad_rows=0.3334"),
        log=LOG + "u,c\n",
    ),
    BadInput(
        "no row as wide as the header",
        ("log.csv", "2 rows", "as many cells"),
        log="user,item,time,stars\nu\nv\n",
    ),
    BadInput(
        "a rating in words",
        ("log.csv", "no finite number in stars", "line 3: 'good'", "fix"),
        log=LOG.replace("1\n", "good\n"),
    ),
    BadInput("a rating of NaN", ("log.csv", "stars", "line 3: 'nan'", "fix"), log=LOG.replace("1\n", "nan\n")),
    BadInput(
        "an endless time",
        ("log.csv", "no number or ISO date in time", "line 3: 'inf'"),
        log=LOG.replace("b,2", "b,inf"),
    ),
    BadInput("an empty user id", ("log.csv", "missing or broken user", "line 2: ''"), log=LOG.replace("u,a", ",a")),
    BadInput("an empty item id", ("log.csv", "missing or broken item", "line 2: ''"), log=LOG.replace("u,a", "u, ")),
    BadInput("a quote that is never closed", ("log.csv", "3 lines hold only 1 row"), log=LOG.replace("u,a", 'u,"a')),
    BadInput(
        "an open quote in a column that is not read",
        ("log.csv", "5 lines hold only 1 row", "odd number of quotes", "close the open quote"),
        log='user,item,time,stars,note\nu,a,1,5,"fine\nu,b,2,1,\nu,c,2,1,\nu,d,2,1,\n',
    ),
    BadInput(
        "an open quote before a megabyte of rows",
        ("log.csv", "500,004 lines hold only 3 rows", "close the open quote in line 4", "quoting=false"),
        log=LOG + 'u,"c,3,4\n' + "u,d,4,1\n" * 500_000,
    ),
    BadInput(
        "feedback that is neither 0 nor 1",
        ("log.csv line 2", "stars is 5", "expected 0 or 1", "data.feedback.liked.at_least"),
        settings={"feedback": {"liked": FeedbackKind(column="stars")}},
    ),
    BadInput(
        "an unknown placeholder",
        ("items.csv", "no column 'titel'", "did you mean 'title'", "columns: title, item"),
        settings={"text": "{titel}"},
    ),
    BadInput("an open brace", ("data.text", "{title", "write columns as {title}"), settings={"text": "{title"}),
    BadInput("a text without columns", ("data.text", "all items would have one text"), settings={"text": "item"}),
    BadInput(
        "a text that wants an item table where there is none",
        ("data.text", "no column 'genre'", "columns: title"),
        settings={"item_file": "", "text": "{title} {genre}"},
    ),
    BadInput(
        "an item table without its id column",
        ("items.csv", "no column 'item'", "data.columns.item_id", "did you mean 'items'"),
        items=ITEMS.replace("item,", "items,"),
    ),
    BadInput(
        "an item table without its title column",
        ("items.csv", "no column 'name'", "data.columns.title"),
        settings={"columns": Columns(title="name")},
    ),
    BadInput(
        "an item without id",
        ("items.csv", "missing or broken item", "line 3: ''"),
        items=ITEMS.replace("b,", ","),
    ),
    BadInput(
        "a k-core that keeps nothing",
        ("data.min_user_rows=9", "empty", "lower"),
        settings={"min_user_rows": 9},
    ),
    BadInput(
        "an unknown ending",
        ("log.txt", "ends in '.txt'", ".csv, .tsv, .parquet, .jsonl", ".gz", "rename the file"),
        others={"log.txt": LOG},
        settings={"log_file": "log.txt"},
    ),
    BadInput(
        "a pattern that matches nothing",
        ("log-*.parquet", "no file matches this pattern", "data.log_file"),
        settings={"log_file": "log-*.parquet"},
    ),
    BadInput(
        "files of one pattern with different columns",
        ("log-2.csv", "no column 'item', which log-1.csv has", "log-*.csv", "columns: user, thing, time, stars"),
        others={"log-1.csv": LOG, "log-2.csv": LOG.replace("item", "thing")},
        settings={"log_file": "log-*.csv"},
    ),
    BadInput(
        "a broken line in the second of two files",
        ("log-*.csv", "1 of 5 rows", "log-2.csv line 4", "data.allow_bad_rows=0.2"),
        others={"log-1.csv": LOG, "log-2.csv": LOG + "u,c\n"},
        settings={"log_file": "log-*.csv"},
    ),
    BadInput(
        "a truncated gzip file",
        ("log.csv.gz", "cannot be read", "fix the file"),
        others={"log.csv.gz": gzip.compress(LOG.encode() * 99)[:-30]},
        settings={"log_file": "log.csv.gz"},
    ),
    BadInput(
        "a truncated xz file",
        ("log.jsonl.xz", "cannot be read", "fix the file"),
        others={"log.jsonl.xz": lzma.compress(JSON.encode())[:-20]},
        settings={"log_file": "log.jsonl.xz"},
    ),
    BadInput(
        "text that is called a gzip file",
        ("log.csv.gz", "cannot be read", "fix the file"),
        others={"log.csv.gz": LOG},
        settings={"log_file": "log.csv.gz"},
    ),
    BadInput(
        "text that is called Parquet",
        ("log.parquet", "not a Parquet file", "correct the ending of its name"),
        others={"log.parquet": LOG},
        settings={"log_file": "log.parquet"},
    ),
    BadInput(
        "a broken line of JSON",
        ("log.jsonl", "1 of 3 rows", "1 row without a JSON object (line 2)", "data.allow_bad_rows=0.3334"),
        others={"log.jsonl": JSON + '{"user": "u", "item"\n' + JSON},
        settings={"log_file": "log.jsonl"},
    ),
    BadInput(
        "no JSON at all",
        ("log.jsonl", "no JSON object in its first 3 lines", "one object per line"),
        others={"log.jsonl": LOG},
        settings={"log_file": "log.jsonl"},
    ),
    BadInput(
        "JSON that is not UTF-8",
        ("log.jsonl line 2", "UTF-8"),
        others={"log.jsonl": JSON.encode() + b'{"user": "\xfc"}'},
        settings={"log_file": "log.jsonl"},
    ),
    BadInput(
        "a missing rating in JSON",
        ("log.jsonl", "no finite number in stars", "line 3: ''"),
        others={"log.jsonl": "\n" + JSON + '{"user": "u", "item": 2, "time": 2, "stars": null}'},
        settings={"log_file": "log.jsonl"},
    ),
    BadInput(
        "an empty object among JSON lines",
        ("log.jsonl", "1 row without a JSON object (line 1)"),
        others={"log.jsonl": "{}\n" + JSON},
        settings={"log_file": "log.jsonl"},
    ),
    BadInput(
        "half a character in JSON",
        ("log.jsonl", "'user' holds half of an escaped character"),
        others={"log.jsonl": JSON.replace('"u"', '"\\ud800"')},
        settings={"log_file": "log.jsonl"},
    ),
    BadInput(
        "times beyond all calendars in Parquet",
        ("log.parquet", "column 'time' holds timestamp[ms] that cannot be read"),
        others={
            "log.parquet": parquet_bytes(
                user=["u"], item=["a"], time=pa.array([2**60], pa.int64()).cast(pa.timestamp("ms")), stars=[5]
            )
        },
        settings={"log_file": "log.parquet"},
    ),
    BadInput(
        "lists in a column of JSON",
        ("log.jsonl", "'item' holds lists", "one value per row"),
        others={"log.jsonl": JSON.replace('"a"', '["a", "b"]')},
        settings={"log_file": "log.jsonl"},
    ),
    BadInput(
        "lists in a column of Parquet",
        ("log.parquet", "column 'item' holds list", "one value per row"),
        others={"log.parquet": parquet_bytes(user=["u"], item=[["a", "b"]], time=[1], stars=[5])},
        settings={"log_file": "log.parquet"},
    ),
    BadInput(
        "an id of NaN in Parquet",
        ("log.parquet", "missing or broken user", "row 2: ''"),
        others={"log.parquet": parquet_bytes(user=[1.0, float("nan")], item=["a", "b"], time=[1, 2], stars=[5, 4])},
        settings={"log_file": "log.parquet"},
    ),
    BadInput(
        "a duration of 0",
        ("log.csv", "1 row with 0 in time, which is a divisor", "line 2: '0'"),
        log=LOG.replace("a,1", "a,0"),
        settings={"feedback": {"seen": FeedbackKind(column="stars", over="time", at_least=1)}},
    ),
    BadInput(
        "a duration that is not there",
        ("log.csv", "no column 'length'", "data.feedback.seen.over"),
        settings={"feedback": {"seen": FeedbackKind(column="stars", over="length", at_least=1)}},
    ),
    BadInput(
        "a TFDS data set that is not prepared",
        ("data.tfds.name", "'movielens/latest-small-ratings' is not prepared", "jaxrec[tfds-prepare]", "tfds build"),
        settings={"source": "tfds", "tfds": TfdsLog(data_dir="nowhere")},
    ),
    BadInput(
        "a context column that is nowhere",
        ("log.csv", "no column 'star'", "data.context[1]", "did you mean 'stars'"),
        log=LOG.replace("1,5", "1600000000,5").replace("2,1", "1600000000,1"),
        settings={"context": ("hour", "star")},
    ),
    BadInput(
        "a context that is the feedback",
        ("data.context[0]", "'stars' cannot be context", "data.feedback.liked"),
        settings={"context": ("stars",)},
    ),
    BadInput("a context of user ids", ("data.context[0]", "'user' cannot be context"), settings={"context": ("user",)}),
    BadInput(
        "hours of a counter",
        ("data.context", "times in seconds", "the median time 1.5", "remove hour"),
        settings={"context": ("hour",)},
    ),
    BadInput(
        "a context column without a value",
        ("data.context", "column 'age' is empty in every row"),
        log="user,item,time,stars,age\nu,a,1,5,\nu,b,2,1,\n",
        settings={"context": ("age",)},
    ),
    BadInput(
        "a missing table of users",
        ("users.csv", "no such file", "data.user_file"),
        settings={"user_file": "users.csv", "context": ("age",)},
    ),
    BadInput(
        "a table of users without their ids",
        ("users.csv", "no column 'user'", "data.columns.user_id", "age"),
        others={"users.csv": "uid,age\nu,3\n"},
        settings={"user_file": "users.csv", "context": ("age",)},
    ),
    BadInput(
        "a context column in neither table",
        ("log.csv", "no column 'town'", "data.context[0]"),
        others={"users.csv": "user,age\nu,3\n"},
        settings={"user_file": "users.csv", "context": ("town",)},
    ),
    BadInput(
        "a review column that is nowhere",
        ("log.csv", "no column 'words'", "data.columns.review"),
        settings={"columns": Columns(review="words")},
    ),
    BadInput(
        "reviews in texts of a log without reviews",
        ("items.csv", "no column 'reviews'", "columns: title, item"),
        settings={"text": "{title} {reviews}"},
    ),
    BadInput("a MovieLens folder without ratings", ("ratings.csv", "no such file", "data.path"), settings=MOVIELENS),
    BadInput(
        "MovieLens tags that are not there",
        ("tags.csv", "no such file", "remove {tags}"),
        others={"ratings.csv": RATINGS, "movies.csv": "movieId,title,genres\n3,Three,Drama\n"},
        settings={**MOVIELENS, "text": "{title} {tags}"},
    ),
)


@pytest.mark.parametrize("case", BAD_INPUT, ids=lambda case: case.name)
def test_bad_input_ends_in_one_line_with_file_and_remedy(case: BadInput, tmp_path: Path) -> None:
    for name, content in {"log.csv": case.log, "items.csv": case.items, **case.others}.items():
        if content is None:
            (tmp_path / name).mkdir()
        else:
            (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    settings = {"source": "files", "path": str(tmp_path), "feedback": STARS, **case.settings}
    with pytest.raises(InputError) as caught:
        load_dataset(DataConfig(**settings), 0)
    message = str(caught.value)
    assert "\n" not in message
    for want in case.wants:
        assert want in message, message


def test_a_band_that_holds_nothing_is_refused_with_the_recipe() -> None:
    with pytest.raises(InputError, match=r"data.feedback.x.at_most: 2 is below at_least=4"):
        DataConfig(feedback={"x": FeedbackKind(column="liked", at_least=4, at_most=2)})


def test_a_threshold_without_a_column_is_refused_with_the_recipe() -> None:
    with pytest.raises(InputError, match=r"data.feedback.liked.at_least.*set data.feedback.liked.column"):
        DataConfig(source="files", feedback={"liked": FeedbackKind(at_least=4)})
