"""What the lists of awkward logs are made of: one small log, and cases that write it differently."""

import dataclasses
import io
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet

COLUMNS = {"user": "user", "item": "item", "time": "time", "item_id": "item", "title": "title"}
LIKED = {"liked": {"column": "stars", "at_least": 4}}
# The rows of every log below: (user, item, time, liked), in the order of user and time.
ROWS = (("u", "a", 1, 1.0), ("u", "b", 2, 0.0), ("v", "a", 3, 1.0))
LOG = "user,item,time,stars\nu,a,1,5\nu,b,2,1\nv,a,3,4\n"
BARE = LOG.partition("\n")[2]  # without a header line
ITEMS = "item,title\na,Apple\nb,Bread\n"
NAMES = ["user", "item", "time", "stars"]
BIG = 1_600_000_000
DAY = 86_400 * 10**6
JAN_2_2024 = 1_704_153_600 * 10**6  # microseconds


def rows_at(*times: int) -> tuple:
    return tuple((user, item, time, liked) for (user, item, _, liked), time in zip(ROWS, times, strict=True))


def at(*times: str) -> str:
    """The log with these texts as times."""
    return "user,item,time,stars\n" + "".join(
        f"{u},{i},{t},{s}\n" for (u, i, s), t in zip((("u", "a", 5), ("u", "b", 1), ("v", "a", 4)), times, strict=True)
    )


def parquet_of(**columns: Any) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(columns), file)
    return file.getvalue()


@dataclasses.dataclass(frozen=True)
class Case:
    """Files of a folder, settings of `data`, and the rows or the words of the refusal."""

    name: str
    log: str | bytes = LOG
    rows: tuple | None = ROWS
    wants: tuple[str, ...] = ()  # of the refusal, if `rows` is None; else of the account
    items: str | bytes | None = None
    others: Mapping[str, str | bytes] = dataclasses.field(default_factory=dict)
    texts: tuple[str, ...] | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def read(name: str, log: str | bytes = LOG, *wants: str, **rest: Any) -> Case:
    """A log that gives `rows`; the account holds `wants`."""
    return Case(name, log, rest.pop("rows", ROWS), wants, **rest)


def refused(name: str, log: str | bytes, *wants: str, **rest: Any) -> Case:
    """A log that is refused with a line that holds `wants`."""
    return Case(name, log, None, wants, **rest)


def files(**log: Any) -> dict[str, Any]:
    return {"files": {"log": log}}


def quoted(cell: str, *more: str) -> str:
    """A CSV with a column of notes that nothing reads, in 40 rows of which `more` come first."""
    lines = [f"u{n},i{n % 7},{n},{n % 5 + 1},fine" for n in range(40)]
    lines[3], lines[20] = f"u3,i3,3,4,{cell}", f"u20,i6,20,1,{more[0] if more else 'fine'}"
    return "user,item,time,stars,note\n" + "\n".join(lines) + "\n"


FORTY = tuple((f"u{n}", f"i{n % 7}", n, float(n % 5 + 1 >= 4)) for n in range(40))
