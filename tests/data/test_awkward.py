"""Awkward logs: each is the right table, checked cell by cell, or one line that says what, where and which setting."""

import codecs
import dataclasses
import gzip
import io
import json
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet
import pytest

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig
from jaxrec.config.files import TableFormat
from jaxrec.config.load import build_section, config_of, to_dict
from jaxrec.data import load_dataset
from jaxrec.data.clock import read_times
from jaxrec.data.layout import Layout
from jaxrec.data.pseudonyms import pseudonymise
from jaxrec.data.table import read_table

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

QUOTES = (
    read(
        "quotes that begin cells of a TSV are text",
        'user\titem\ttime\tstars\tnote\nu\ta\t1\t5\t"open\nu\tb\t2\t1\tfine\nv\ta\t3\t4\t"again\n',
        settings={"log_file": "log.tsv"},
        others={},
    ),
    read(
        "quotes around whole cells of a TSV are taken off",
        'user\titem\ttime\tstars\n"u"\ta\t1\t5\nu\t"b"\t2\t1\nv\ta\t"3"\t4\n',
        settings={"log_file": "log.tsv"},
    ),
    read(
        "a TSV whose header is quoted may have tabs in cells",
        '"user"\t"item"\t"time"\t"stars"\t"note"\nu\ta\t1\t5\t"x\ty"\nu\tb\t2\t1\t\nv\ta\t3\t4\t\n',
        settings={"log_file": "log.tsv"},
    ),
    read(
        "a TSV with quoted tabs, as the recipe says",
        'user\titem\ttime\tstars\tnote\nu\ta\t1\t5\t"x\ty"\nu\tb\t2\t1\t\nv\ta\t3\t4\t\n',
        settings={"log_file": "log.tsv", **files(quoting=True)},
    ),
    refused(
        "a TSV with quoted tabs, without a setting",
        'user\titem\ttime\tstars\tnote\nu\ta\t1\t5\t"x\ty"\nu\tb\t2\t1\t\nv\ta\t3\t4\t\n',
        "log.tsv",
        "wrong number of cells (line 2)",
        "data.files.log.quoting=true",
        settings={"log_file": "log.tsv"},
    ),
    refused(
        "two open quotes in a column that nobody reads",
        quoted('"open', '"again'),
        "log.csv line 5: a quote opens a cell that goes on to line 22",
        "17 lines that look like rows",
        "data.files.log.quoting=false",
    ),
    read("the same, with quotes as text", quoted('"open', '"again'), rows=FORTY, settings=files(quoting=False)),
    refused(
        "two open quotes in rows next to each other",
        'user,note,item,time,stars\nu,,a,1,5\nu,"x,b,2,1\nv,"y,a,3,4\n',
        "log.csv line 3: a quote opens a cell that goes on to line 4, over 1 line that looks like rows",
        "data.files.log.quoting=false",
    ),
    refused(
        "an odd number of open quotes",
        quoted('"open'),
        "log.csv",
        "41 lines hold only 4 rows and an odd number of quotes; close the open quote of line 5",
        "data.files.log.quoting=false",
    ),
    read(
        "texts of several lines",
        quoted('"good, but long,\nand, well, in, all, fair\n\n"', '"one\ntwo\nthree\nfour\nfive"'),
        "log.csv: 48 lines: 1 of column names, 40 rows, 7 inside cells of several lines; the longest cells: 5 lines "
        "from line 25",
        rows=FORTY,
    ),
    read("empty lines", LOG.replace("u,b", "\nu,b") + "\n", "log.csv: 6 lines: 1 of column names, 3 rows, 2 empty"),
    read("line breaks of Windows", LOG.replace("\n", "\r\n")),
    read("no line break at the end", LOG.rstrip()),
)

SHAPES = (
    read("semicolons", LOG.replace(",", ";"), settings=files(separator=";")),
    read("semicolons by name", LOG.replace(",", ";"), settings=files(separator="semicolon")),
    read("pipes", LOG.replace(",", "|"), settings={"log_file": "log.txt", **files(separator="|")}),
    read(
        "tabs in a file of any ending",
        LOG.replace(",", "\t"),
        settings={"log_file": "u.data", **files(separator="tab")},
    ),
    read("double colons", LOG.replace(",", "::"), settings={"log_file": "ratings.dat", **files(separator="::")}),
    read(
        "double colons without a header, next to single ones",
        BARE.replace(",", "::").replace("u::", "u:x::"),
        rows=(("u:x", "a", 1, 1.0), ("u:x", "b", 2, 0.0), ("v", "a", 3, 1.0)),
        settings={"log_file": "ratings.dat", **files(separator="::", columns=NAMES)},
    ),
    read("no header line", BARE, settings=files(columns=NAMES)),
    read(
        "no header line, in a compressed file",
        gzip.compress(BARE.encode()),
        settings={"log_file": "log.csv.gz", **files(columns=NAMES)},
    ),
    refused(
        "a header line that the recipe denies",
        LOG,
        "log.csv line 1: column names, but data.files.log.columns",
        settings=files(columns=NAMES),
    ),
    refused(
        "too few names for a file without a header",
        BARE,
        "log.csv line 1: 4 cells, but data.files.log.columns has 3 names",
        settings=files(columns=NAMES[:3]),
    ),
    refused(
        "a name twice for a file without a header",
        BARE,
        "data.files.log.columns: 'user' is given twice",
        settings=files(columns=["user", "user", "time", "stars"]),
    ),
    refused(
        "no header line and no setting",
        "1,2,1,5\n1,3,2,1\n2,2,3,4\n",
        "log.csv line 1: no header line, since '1', '2', '1', '5' look like data; set data.files.log.columns=",
        "all 4 columns",
    ),
    refused(
        "cells of the first row as names",
        f"1,32,2,{BIG}\n1,33,4,{BIG + 1}\n",
        "log.csv line 1: no header line",
        "data.files.log.columns",
        settings={
            "columns": {**COLUMNS, "user": "1", "item": "32", "time": str(BIG)},
            "feedback": {"liked": {"column": "2", "at_least": 4}},
        },
    ),
    read(
        "a data frame without names, whose columns are numbers",
        "0,1,2,3\nu,a,1,5\nu,b,2,1\nv,a,3,4\n",
        settings={
            "columns": {**COLUMNS, "user": "0", "item": "1", "time": "2"},
            "feedback": {"liked": {"column": "3", "at_least": 4}},
        },
    ),
    refused(
        "the separator of another country",
        LOG.replace(",", ";"),
        "no column 'user'",
        "data.files.log.separator=semicolon",
    ),
    refused("pipes in a CSV", LOG.replace(",", "|"), "no column 'user'", "data.files.log.separator=pipe"),
    refused(
        "an unknown ending",
        LOG,
        "u.data: no table format ends in '.data'",
        "data.files.log.separator",
        settings={"log_file": "u.data"},
    ),
    read(
        "a decimal comma",
        "user;item;time;stars\nu;a;1;4,5\nu;b;2;3,5\nv;a;3;4,0\n",
        settings=files(separator=";", decimal=","),
    ),
    refused(
        "a decimal comma without the setting",
        "user;item;time;stars\nu;a;1;4,5\nu;b;2;3,5\nv;a;3;4\n",
        "2 of 3 rows",
        "no finite number in stars (line 2: '4,5'",
        "data.files.log.decimal=comma",
        settings=files(separator=";"),
    ),
    read("UTF-16", LOG.encode("utf-16"), "log.csv: read as UTF-16, as its byte order mark says"),
    read("UTF-16 of the other order", codecs.BOM_UTF16_BE + LOG.encode("utf-16-be"), "read as UTF-16"),
    read("UTF-8 with a mark", b"\xef\xbb\xbf" + LOG.encode(), "log.csv: read as UTF-8, as its byte order mark says"),
    read("UTF-16 without a mark", LOG.encode("utf-16-le"), settings=files(encoding="utf-16-le")),
    refused(
        "UTF-16 without a mark and setting",
        LOG.encode("utf-16-le"),
        "log.csv line 1",
        "data.files.log.encoding=utf-16-le",
    ),
    read(
        "latin-1",
        LOG.replace("v,", "vé,").encode("latin-1"),
        rows=(*ROWS[:2], ("vé", "a", 3, 1.0)),
        settings=files(encoding="latin-1"),
    ),
    refused(
        "latin-1 without a setting",
        LOG.replace("v,", "vé,").encode("latin-1"),
        "log.csv line 4",
        "data.files.log.encoding",
    ),
    refused(
        "the wrong encoding",
        LOG.encode() + b"\xfd\xfd",
        "not SHIFT_JIS text",
        "data.files.log.encoding",
        settings=files(encoding="shift_jis"),
    ),
    refused(
        "an unknown encoding",
        LOG,
        "data.files.log.encoding: no encoding 'latin-9000'",
        settings=files(encoding="latin-9000"),
    ),
    read(
        "RecBole's names by their first part",
        LOG.replace(",", "\t").replace("user\titem\ttime\tstars", "user:token\titem:token\ttime:float\tstars:float"),
        settings={"log_file": "toy.inter"},
    ),
    read(
        "RecBole's names as they are",
        LOG.replace("user,item,time,stars", "user:token,item:token,time:float,stars:float"),
        settings={
            "columns": {**COLUMNS, "user": "user:token", "item": "item:token", "time": "time:float"},
            "feedback": {"liked": {"column": "stars:float", "at_least": 4}},
        },
    ),
    read(
        "dictionaries of Python",
        "{'user': 'u', 'item': u'a', 'time': 1, 'stars': 5.0}\n{'user': \"u\", 'item': 'b', 'time': 2, 'stars': 1.0}\n"
        "{'user': 'v', 'item': 'a', 'time': 3, 'stars': 4.5, 'ok': True, 'no': None, 'l': [1]}\n",
        settings={"log_file": "log.json"},
    ),
    refused(
        "Python that is no dictionary of values",
        "{'user': 'u', 'item': 'a', 'time': 1, 'stars': 5}\n{'user': open('x'), 'item': 'a', 'time': 1, 'stars': 5}\n",
        "1 row without a JSON object (line 2)",
        settings={"log_file": "log.jsonl"},
    ),
    read(
        "one array of JSON",
        json.dumps(
            [{"user": u, "item": i, "time": t, "stars": 4 + s - 0.5 * (1 - s)} for u, i, t, s in ROWS], indent=1
        ),
        settings={"log_file": "log.json"},
    ),
    refused(
        "an array that is cut",
        '[{"user": "u"}, {"us',
        "log.json: not a JSON array of objects",
        settings={"log_file": "log.json"},
    ),
    refused(
        "an array with something else in it",
        '[{"user": "u", "item": "a", "time": 1, "stars": 5}, 7]',
        "1 row without a JSON object (entry 2)",
        settings={"log_file": "log.json"},
    ),
    read(
        "a key that appears late",
        '{"user": "u", "item": "a", "time": 1}\n' * 1200 + '{"user": "u", "item": "b", "time": 2, "stars": 4}\n',
        rows=(("u", "b", 2, 1.0),),
        settings={"log_file": "log.jsonl", "allow_bad_rows": 0.9999},
    ),
)

IDS = (
    read(
        "floats as ids in CSV",
        LOG.replace("u,", "7.0,").replace("v,", "8,"),
        rows=(("7", "a", 1, 1.0), ("7", "b", 2, 0.0), ("8", "a", 3, 1.0)),
    ),
    read(
        "floats as ids on one side",
        LOG.replace(",a,", ",331.0,").replace(",b,", ",007,"),
        rows=(("u", "331", 1, 1.0), ("u", "007", 2, 0.0), ("v", "331", 3, 1.0)),
        items="item,title\n331,Apple\n007,Bread\n",
        texts=("Apple", "Bread"),
    ),
    refused(
        "padded ids of the item table",
        LOG.replace(",a,", ",331,").replace(",b,", ",7,"),
        "items.csv: data.columns.item_id: none of the 2 ids of the log is in it",
        "the log has '331', '7'",
        "the table has '000331', '000007', '000009'",
        "set data.ids.strip_zeros=true",
        items="item,title\n000331,Apple\n000007,Bread\n000009,Corn\n",
    ),
    read(
        "padded ids, as the recipe says",
        LOG.replace(",a,", ",331,").replace(",b,", ",7,"),
        rows=(("u", "331", 1, 1.0), ("u", "7", 2, 0.0), ("v", "331", 3, 1.0)),
        items="item,title\n000331,Apple\n000007,Bread\n000009,Corn\n",
        texts=("Apple", "Bread"),
        settings={"ids": {"strip_zeros": True}},
    ),
    refused("ids in other letters", LOG, "set data.ids.casefold=true", items="item,title\nA,Apple\nB,Bread\n"),
    read(
        "ids in any letters",
        LOG,
        items="item,title\nA,Apple\nB,Bread\n",
        texts=("Apple", "Bread"),
        settings={"ids": {"casefold": True}},
    ),
    refused(
        "accents of two forms",
        LOG.replace(",a,", ",é,").replace(",b,", ",è,"),
        "set data.ids.normalize=NFC",
        items=unicodedata.normalize("NFD", "item,title\né,Apple\nè,Bread\n"),
    ),
    read(
        "accents of one form, as the recipe says",
        LOG.replace(",a,", ",é,"),
        rows=(("u", "é", 1, 1.0), ("u", "b", 2, 0.0), ("v", "é", 3, 1.0)),
        items=unicodedata.normalize("NFD", "item,title\né,Apple\nb,Bread\n"),
        texts=("Apple", "Bread"),
        settings={"ids": {"normalize": "NFC"}},
    ),
    refused(
        "ids of another table",
        LOG,
        "the table has 'x', 'y'",
        "correct data.columns.item_id",
        items="item,title\nx,Apple\ny,Bread\n",
    ),
    read(
        "ids of which one does not meet",
        LOG,
        "items.csv: 1 item of the log missing (b); the id is used as title and text; data.ids.casefold=true finds some",
        items="item,title\na,Apple\nB,Bread\n",
        texts=("Apple", "b"),
    ),
    *(
        refused(f"{word!r} as a user", LOG.replace("v,", f"{word},"), "missing or broken user (line 4: " + repr(word))
        for word in (r"\N", "nan", "null", "None", "NA", "N/A", "<NA>", "")
    ),
    refused(
        "null as an item",
        LOG.replace(",b,", ",NULL,"),
        "missing or broken item (line 3: 'NULL')",
        "data.allow_bad_rows=0.3334",
    ),
    read(
        "rows without a user that may be dropped",
        LOG + "\\N,c,4,5\n",
        "log.csv: dropped 1 row with a missing or broken user (line 5)",
        settings={"allow_bad_rows": 0.3},
    ),
    read(
        "a user called None, as the recipe says",
        LOG.replace("v,", "None,"),
        rows=(*ROWS[:2], ("None", "a", 3, 1.0)),
        settings={"missing": []},
    ),
    refused(
        "a word of the recipe for missing users",
        LOG.replace("v,", "anonymous,"),
        "missing or broken user (line 4: 'anonymous')",
        settings={"missing": ["anonymous"]},
    ),
    read(
        "half of the users in the table of users",
        LOG,
        "users.csv: 1 of 2 users of the log missing; their columns are empty",
        others={"users.csv": "user,age\nu,3\nnan,4\n"},
        settings={"user_file": "users.csv", "context": ["age"]},
    ),
    refused(
        "no user in the table of users",
        LOG.replace("u,", "07,").replace("v,", "08,"),
        "users.csv: data.columns.user_id: none of the 2 ids of the log is in it",
        "the log has '07', '08', the table has '7', '8'",
        "set data.ids.strip_zeros=true",
        others={"users.csv": "user,age\n7,3\n8,4\n"},
        settings={"user_file": "users.csv", "context": ["age"]},
    ),
)

CLOCKS = (
    refused(
        "seconds among milliseconds",
        at(f"{BIG}000", f"{BIG}001", f"{BIG}"),
        f"log.csv line 4: '{BIG}'",
        f"line 2: '{BIG}000'",
        "different units",
        "data.time_format=epoch",
    ),
    read(
        "seconds among milliseconds, as the recipe says",
        at(f"{BIG}000", f"{BIG}001", f"{BIG}"),
        rows=rows_at(BIG * 10**6, BIG * 10**6 + 1000, BIG * 10**6),
        settings={"time_format": "epoch"},
    ),
    *(
        refused(
            f"times such as {first}",
            at(first, second, second),
            "log.csv line 2",
            repr(first),
            f'data.time_format="{pattern}"',
        )
        for first, second, pattern in (
            ("20240102", "20240103", "%Y%m%d"),
            ("2024010223", "2024010300", "%Y%m%d%H"),
            ("202401022359", "202401030000", "%Y%m%d%H%M"),
            ("20240102235959", "20240103000000", "%Y%m%d%H%M%S"),
        )
    ),
    read(
        "numbers of eight digits that are no dates",
        at("20240132", "20240133", "20240134"),
        rows=rows_at(20240132, 20240133, 20240134),
    ),
    read(
        "dates of eight digits",
        at("20240102", "20240103", "20240104"),
        rows=rows_at(*(JAN_2_2024 + n * DAY for n in range(3))),
        settings={"time_format": "%Y%m%d"},
    ),
    read(
        "hours of ten digits",
        at("2024010200", "2024010201", "2024010300"),
        rows=rows_at(JAN_2_2024, JAN_2_2024 + DAY // 24, JAN_2_2024 + DAY),
        settings={"time_format": "%Y%m%d%H"},
    ),
    read(
        "dates of Europe",
        at("2/1/2024", "03/01/2024", "04/01/2024"),
        rows=rows_at(*(JAN_2_2024 + n * DAY for n in range(3))),
        settings={"time_format": "%d/%m/%Y"},
    ),
    read(
        "dates of the US",
        at("1/2/2024", "01/03/2024", "01/04/2024"),
        rows=rows_at(*(JAN_2_2024 + n * DAY for n in range(3))),
        settings={"time_format": "%m/%d/%Y"},
    ),
    refused(
        "dates of Europe or the US",
        at("1/2/2024", "1/3/2024", "1/4/2024"),
        "3 of 3 rows",
        '"%m/%d/%Y" or "%d/%m/%Y", whichever it is',
    ),
    refused(
        "dates of Europe alone",
        at("13.1.2024 08:30", "14.1.2024 08:30", "15.1.2024 08:30"),
        'set data.time_format="%d.%m.%Y %H:%M"',
    ),
    refused(
        "a day that does not exist",
        at("30/02/2024", "01/03/2024", "02/03/2024"),
        "1 of 3 rows",
        "no time of the format '%d/%m/%Y' in time (line 2: '30/02/2024')",
        settings={"time_format": "%d/%m/%Y"},
    ),
    refused(
        "a year of two digits where four are wanted",
        at("02/01/24", "01/03/2024", "02/03/2024"),
        "(line 2: '02/01/24')",
        settings={"time_format": "%d/%m/%Y"},
    ),
    read(
        "a clock of twelve hours",
        at('"Jan 2, 2024 1:00 AM"', '"Jan 2, 2024 11:00 AM"', '"Jan 2, 2024 1:00 PM"'),
        rows=rows_at(*(JAN_2_2024 + n * DAY // 24 for n in (1, 11, 13))),
        settings={"time_format": "%b %d, %Y %I:%M %p"},
    ),
    read(
        "zones and fractions",
        at("02.01.2024 01:00:00.5 +0100", "02.01.2024 00:00:01.0 +0000", "02.01.2024 00:00:02.0 +0000"),
        rows=rows_at(JAN_2_2024 + 500_000, JAN_2_2024 + 10**6, JAN_2_2024 + 2 * 10**6),
        settings={"time_format": "%d.%m.%Y %H:%M:%S.%f %z"},
    ),
    read(
        "days of Excel",
        at("45293", "45293.5", "45294"),
        rows=rows_at(JAN_2_2024, JAN_2_2024 + DAY // 2, JAN_2_2024 + DAY),
        settings={"time_format": "excel"},
    ),
    read(
        "seconds with fractions",
        at("1.5", "2", "3e0"),
        rows=rows_at(1_500_000, 2_000_000, 3_000_000),
        settings={"time_format": "s"},
    ),
    read("milliseconds by name", at("1", "2", "3"), rows=rows_at(1000, 2000, 3000), settings={"time_format": "ms"}),
    refused("a word as a unit", LOG, "data.time_format", "no 'seconds'", settings={"time_format": "seconds"}),
    refused(
        "a pattern that is none", LOG, "data.time_format", "'Q' is a bad directive", settings={"time_format": "%Q"}
    ),
    read(
        "no times: the order of the file",
        "user,item,stars\nu,a,5\nu,b,1\nv,a,4\n",
        rows=rows_at(0, 1, 2),
        settings={"columns": {**COLUMNS, "time": ""}},
    ),
    refused("no times and no setting", "user,item,stars\nu,a,5\n", "no column 'time'", "an empty data.columns.time="),
    refused(
        "the hour of a log without times",
        LOG,
        "data.context: hour needs times; set data.columns.time",
        settings={"columns": {**COLUMNS, "time": ""}, "context": ["hour"]},
    ),
)

EVENTS = "user,item,time,event\nu,a,1,Buy\nu,b,2,view\nv,a,3,cart\n"
BOUGHT = {"liked": {"column": "event", "equals": "Buy"}}
WORDS = (
    read("one word", EVENTS, rows=(*ROWS[:2], ("v", "a", 3, 0.0)), settings={"feedback": BOUGHT}),
    read("several words", EVENTS, settings={"feedback": {"liked": {"column": "event", "in": ["Buy", "cart"]}}}),
    read(
        "a number as a word",
        LOG,
        rows=(*ROWS[:2], ("v", "a", 3, 0.0)),
        settings={"feedback": {"liked": {"column": "stars", "equals": 5}}},
    ),
    refused(
        "words without a setting",
        EVENTS,
        "no finite number in event (line 2: 'Buy'",
        "data.feedback.liked.equals or in",
        "'view'",
        settings={"feedback": {"liked": {"column": "event"}}},
    ),
    refused(
        "a misspelled word",
        EVENTS,
        "data.feedback.liked.equals: no row has event 'buy'",
        "'Buy'",
        settings={"feedback": {"liked": {"column": "event", "equals": "buy"}}},
    ),
    refused(
        "a word and a number",
        EVENTS,
        "data.feedback.liked: compares words (equals, in) and numbers",
        settings={"feedback": {"liked": {"column": "event", "equals": "Buy", "at_least": 1}}},
    ),
    refused(
        "words without a column",
        EVENTS,
        "data.feedback.liked.in: set without a column; set data.feedback.liked.column",
        settings={"feedback": {"liked": {"in": ["Buy"]}}},
    ),
    read(
        "a sentinel",
        LOG + "w,a,4,99\n",
        "log.csv: left out 1 row by data.where on stars",
        settings={"where": [{"column": "stars", "not_in": [99]}]},
    ),
    read(
        "a smallest number",
        LOG + "w,a,4,0\nw,b,5,\n",
        "log.csv: left out 2 rows by data.where on stars",
        settings={"where": [{"column": "stars", "at_least": 1}]},
    ),
    read(
        "rows of some words, broken ones elsewhere",
        EVENTS + ",,,\nw,a,x,scroll\n",
        rows=(("u", "a", 1, 1.0), ("v", "a", 3, 0.0)),
        settings={"feedback": BOUGHT, "where": [{"column": "event", "in": ["Buy", "cart"]}]},
    ),
    read(
        "two filters",
        EVENTS,
        rows=(("u", "a", 1, 1.0),),
        settings={
            "feedback": BOUGHT,
            "where": [{"column": "event", "not_in": ["view"]}, {"column": "user", "equals": "u"}],
        },
    ),
    refused(
        "a filter that nothing passes",
        LOG,
        "log.csv: no row passes data.where[0] on stars (its values: '5', '1', '4')",
        settings={"where": [{"column": "stars", "equals": "6"}]},
    ),
    refused(
        "a filter on no column",
        LOG,
        "no column 'star' (wanted by data.where[0].column)",
        settings={"where": [{"column": "star", "equals": 5}]},
    ),
    refused(
        "a filter without a condition",
        LOG,
        "data.where: column 'stars' has no condition",
        settings={"where": [{"column": "stars"}]},
    ),
)

JSON_ITEMS = (
    '{"item": "a", "title": "A<b>pp</b>le", "tags": ["x", "y"]}\n'
    '{"item": "b", "title": "Bread &amp; <p>more", "tags": []}\n'
)
TEXTS = (
    read(
        "HTML",
        LOG,
        items="item,title\na,<p>Apple<br/>pie</p>\nb,Bread &amp; <b>but</b>ter 1 < 2\n",
        texts=("Apple pie", "Bread & butter 1 < 2"),
        settings={"files": {"items": {"plain_text": True}}},
    ),
    read(
        "HTML as it is",
        LOG,
        items="item,title\na,<p>Apple\nb,Bread &amp; butter\n",
        texts=("<p>Apple", "Bread &amp; butter"),
    ),
    read(
        "lists in JSON",
        LOG,
        items=JSON_ITEMS,
        texts=("Apple: x, y", "Bread & more:"),
        settings={"item_file": "items.jsonl", "text": "{title}: {tags}", "files": {"items": {"plain_text": True}}},
    ),
    read(
        "lists written as text",
        LOG,
        items='item,title\na,"[\'Fruit\', ""Pie""]"\nb,"[""Bread"", null]"\n',
        texts=("Fruit, Pie", "Bread"),
        settings={"files": {"items": {"plain_text": True}}},
    ),
    read(
        "lists in Parquet",
        LOG,
        items=parquet_of(item=["a", "b"], title=["Apple", "Bread"], tags=[["x", "y"], None]),
        texts=("Apple x, y", "Bread"),
        settings={"item_file": "items.parquet", "text": "{title} {tags}"},
    ),
    read(
        "a colon and blanks in the name of a column",
        LOG,
        items="item,title,class:token_seq,the maker\na,Apple,fruit,Ann\nb,Bread,baked,Bo\n",
        texts=("{Apple} fruit Ann", "{Bread} baked Bo"),
        settings={"text": "{{{title}}} {class:token_seq} {the maker}"},
    ),
    read(
        "latin-1 items with pipes and no header",
        LOG,
        items="a|Äpfel (1999)|x\nb|Bröd|y\n".encode("latin-1"),
        texts=("Äpfel (1999)", "Bröd"),
        settings={
            "item_file": "u.item",
            "files": {"items": {"separator": "|", "encoding": "latin-1", "columns": ["item", "title", "url"]}},
        },
    ),
    read(
        "missing words in texts",
        LOG,
        items="item,title,maker\na,Apple,nan\nb,\\N,Bo\n",
        texts=("Apple", "b Bo"),
        settings={"text": "{title} {maker}"},
    ),
    refused("one brace", LOG, "data.text: '{title' is not a template", items=ITEMS, settings={"text": "{title"}),
)

CASES = (*QUOTES, *SHAPES, *IDS, *CLOCKS, *WORDS, *TEXTS)


def load(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write the files of a case and read them with its recipe."""
    monkeypatch.setenv("JAXREC_USER_KEY", "k" * 32)
    settings = {"source": "files", "path": str(folder), "columns": COLUMNS, "feedback": LIKED, **case.settings}
    written = {settings.get("log_file", "log.csv"): case.log, **case.others}
    if case.items is not None:
        written[settings.setdefault("item_file", "items.csv")] = case.items
    else:
        settings["item_file"] = ""
    for name, content in written.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_dataset(build_section(DataConfig, settings, "data", "recipe"), 0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_log_is_read_rightly_or_refused_in_one_line(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if case.rows is None:
        with pytest.raises(InputError) as caught:
            load(case, tmp_path, monkeypatch)
        assert "\n" not in str(caught.value) and "allow_bad_rows=1" not in str(caught.value)
        for want in case.wants:
            assert want in str(caught.value), str(caught.value)
        return
    data = load(case, tmp_path, monkeypatch)
    names = dict(zip(pseudonymise(users := sorted({row[0] for row in case.rows}), b"k" * 32), users, strict=True))
    got = [
        (names[data.users[u]], data.catalogue.ids[i], t, f)
        for u, i, t, f in zip(
            *(x.tolist() for x in (data.log.user, data.log.item, data.log.time, data.log.feedback[:, 0])), strict=True
        )
    ]
    assert tuple(got) == case.rows
    account = "\n".join(data.account)
    for want in case.wants:
        assert want in account, account
    if case.texts is not None:
        assert data.catalogue.texts == case.texts


def test_the_names_of_the_cases_differ_and_they_are_many() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 100


def test_an_empty_setting_and_a_pattern_can_be_given_on_the_command_line() -> None:
    got = config_of(DataConfig, ["time_format=%d/%m/%Y", "files.log.separator=|", "files.log.decimal=,"], "data")
    assert (got.time_format, got.files.log.delimiter, got.files.log.decimal_comma) == ("%d/%m/%Y", "|", True)
    assert config_of(DataConfig, ["source=files", "item_file=", "columns.time="], "data").columns.time == ""


def test_the_key_in_is_written_as_it_was_read() -> None:
    values = {"source": "files", "feedback": {"x": {"column": "e", "in": ["a"]}}, "where": [{"column": "e", "in": [1]}]}
    config = build_section(DataConfig, values, "data", "recipe")
    assert config.where[0].in_ == ("1",) and config.feedback["x"].words == ("a",)
    assert to_dict(config)["feedback"]["x"]["in"] == ["a"]
    assert build_section(DataConfig, to_dict(config), "data", "recipe") == config


def test_dates_of_a_pattern_are_read_many_at_a_time() -> None:
    want = 1_600_000_000 + 61 * np.arange(200_000)
    texts = pa.compute.strftime(pa.array(want).cast(pa.timestamp("s")), format="%d.%m.%Y %H:%M:%S")
    got, bad = read_times(texts, "%d.%m.%Y %H:%M:%S")
    assert not bad.any()
    np.testing.assert_array_equal(got, want * 10**6)


def test_a_separator_of_two_bytes_is_found_wherever_a_chunk_ends(tmp_path: Path) -> None:
    lines = [f"{n}{'x' * (n % 11)}::{n * n}" for n in range(300_000)]  # several megabytes
    (tmp_path / "t.dat").write_text("a::b\n" + "\n".join(lines))
    table = read_table(tmp_path / "t.dat", ["b"], Layout(TableFormat(separator="::"), "data.files.log"))
    assert not table.malformed and table.cells["b"].to_pylist() == [str(n * n) for n in range(300_000)]
