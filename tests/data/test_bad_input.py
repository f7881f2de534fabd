"""Everything a person can get wrong in a log: one line that names the file and the remedy."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from jaxrec.checks import InputError
from jaxrec.config.data import Columns, DataConfig, FeedbackKind
from jaxrec.data import load_dataset

LOG = "user,item,time,stars\nu,a,1,5\nu,b,2,1\n"
ITEMS = "item,title\na,Apple\nb,Bread\n"
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
    others: Mapping[str, str] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


BAD_INPUT = (
    BadInput("a missing folder", ("data.path", "is no folder", "set it"), settings={"path": "nowhere"}),
    BadInput("no folder at all", ("data.path", "is empty", "set it"), settings={"path": ""}),
    BadInput(
        "a missing log",
        ("logs.csv", "no such file", "did you mean 'log.csv'", "data.log_file"),
        settings={"log_file": "logs.csv"},
    ),
    BadInput(
        "a missing item table",
        ("none.csv", "no such file", "data.item_file", "empty where there is no item table"),
        settings={"item_file": "none.csv"},
    ),
    BadInput("a folder instead of a file", ("log.csv", "is a folder", "data.log_file"), log=None),
    BadInput("an empty file", ("log.csv", "empty", "header line"), log=""),
    BadInput("a header only", ("log.csv", "only a header", "wanted rows"), log="user,item,time,stars\n"),
    BadInput(
        "bytes that are not UTF-8",
        ("log.csv line 2", "UTF-8"),
        log=LOG.replace("u,a", "\xfc,a").encode("latin1"),
    ),
    BadInput("UTF-16", ("log.csv line 1", "UTF-8"), log=LOG.encode("utf-16")),
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
    BadInput("a column twice", ("log.csv", "'item' stands twice", "rename"), log=LOG.replace("stars", "item")),
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
        ("log.csv", "no finite number as stars", "line 3: 'good'", "mend"),
        log=LOG.replace("1\n", "good\n"),
    ),
    BadInput("a rating of NaN", ("log.csv", "stars", "line 3: 'nan'", "mend"), log=LOG.replace("1\n", "nan\n")),
    BadInput(
        "an endless time",
        ("log.csv", "no number or ISO date as time", "line 3: 'inf'"),
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
        ("log.csv", "a row of more than 1 MB", "a quote that is never closed", "closed quotes"),
        log=LOG + 'u,"c,3,4\n' + "u,d,4,1\n" * 500_000,
    ),
    BadInput(
        "feedback that is neither 0 nor 1",
        ("log.csv line 2", "stars is 5", "wanted 0 or 1", "data.feedback.liked.at_least"),
        settings={"feedback": {"liked": FeedbackKind(column="stars")}},
    ),
    BadInput(
        "an unknown placeholder",
        ("items.csv", "no column 'titel'", "did you mean 'title'", "columns: title, item"),
        settings={"text": "{titel}"},
    ),
    BadInput("an open brace", ("data.text", "{title", "write columns as {title}"), settings={"text": "{title"}),
    BadInput("a text without columns", ("data.text", "all items would read alike"), settings={"text": "item"}),
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
    BadInput("a MovieLens folder without ratings", ("ratings.csv", "no such file", "data.path"), settings=MOVIELENS),
    BadInput(
        "MovieLens tags that are not there",
        ("tags.csv", "no such file", "take {tags} out"),
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


def test_a_threshold_without_a_column_is_refused_with_the_recipe() -> None:
    with pytest.raises(InputError, match=r"data.feedback.liked.at_least.*set data.feedback.liked.column"):
        DataConfig(source="files", feedback={"liked": FeedbackKind(at_least=4)})
