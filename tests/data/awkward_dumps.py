"""Awkward dumps: files of other programs by any name, parts of a folder, and what Parquet and JSON may hold."""

import datetime
import decimal
import gzip
import io
import tarfile
import uuid

import numpy as np
import pyarrow as pa

from tests.data.awkward import COLUMNS, DAY, JAN_2_2024, LOG, ROWS, Case, files, parquet_of, read, refused, rows_at
from tests.data.awkward_exports import HEADER, PARQUET, THREE, by

FRAME = {"user": ["u", "u", "v"], **THREE}
JSON = tuple(f'{{"user": "{u}", "item": "{i}", "time": {t}, "stars": {4 if s else 1}}}' for u, i, t, s in ROWS)
LINES = {"log_file": "log.jsonl"}
SIXTEEN = [uuid.UUID(int=n).bytes for n in (7, 7, 2**127)]


def frame(**columns: object) -> bytes:
    """The log as Parquet, with some of its columns replaced."""
    return parquet_of(**{**FRAME, **columns})


def tarred(text: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        entry = tarfile.TarInfo("log.csv")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text.encode()))
    return file.getvalue()


def called(name: str, *wants: str) -> Case:
    """A file whose ending says that it is not read."""
    return refused(
        f"a file called {name}", LOG, f"{name}: is ", "expected a table", *wants, settings={"log_file": name}
    )


def begins(name: str, start: bytes, *wants: str) -> Case:
    """Something else under the name of a table."""
    return refused(f"{name} called log.csv", start + b"\0" * 99, f"log.csv: is {name}", "expected a table", *wants)


NAMES = (
    called("log.csv.zip", "an archive", "unpack it"),
    called("log.csv.lz4", "compressed in a way that is not read", "unpack it"),
    called("log.feather", "a format that is not read", "write it as Parquet or CSV"),
    called("log.pkl", "write it as Parquet or CSV with the program that made it"),
    called("log.xls", "a workbook", "save the sheet as CSV"),
    called("log.sqlite", "a database", "export its table as CSV"),
    begins("a database of SQLite", b"SQLite format 3\0", "export its table as CSV"),
    begins("an Arrow or Feather file", b"ARROW1\0\0", "write it as Parquet"),
    begins("an HDF5 file", b"\x89HDF\r\n\x1a\n", "write it as Parquet"),
    begins("a PDF", b"%PDF-1.4\n", "save the table as CSV"),
    begins("a text with formats", b"{\\rtf1\\ansi user,item}", "save it as plain text"),
    begins("an XML page", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "download the file again"),
    begins("compressed by lz4", b"\x04\x22\x4d\x18", "unpack it"),
    begins("a 7z archive", b"7z\xbc\xaf\x27\x1c", "unpack it"),
    refused("an archive of tar called log.csv", tarred(LOG), "log.csv: is an archive of tar", "unpack it"),
    refused(
        "a packed archive",
        gzip.compress(LOG.encode()),
        "log.tar.gz: is an archive; expected a table",
        settings={"log_file": "log.tar.gz"},
    ),
    refused(
        "an archive of tar in gzip",
        gzip.compress(tarred(LOG)),
        "log.csv.gz: is an archive of tar",
        settings={"log_file": "log.csv.gz"},
    ),
    refused(
        "a file compressed twice",
        gzip.compress(gzip.compress(LOG.encode())),
        "log.csv.gz: contains data that is compressed by gzip",
        "unpack it first",
        settings={"log_file": "log.csv.gz"},
    ),
    refused(
        "nothing, compressed", gzip.compress(b""), "log.csv.gz", "it is empty", settings={"log_file": "log.csv.gz"}
    ),
    refused("only empty lines", "\n\n\n", "log.csv: not a readable CSV file: it is empty; expected a header line"),
    refused("only a mark of byte order", "\ufeff", "log.csv: not a readable CSV file: it is empty"),
    refused(
        "an error in JSON in place of a CSV",
        '{"message": "Not Found"}',
        "log.csv line 1: JSON in place of column names",
        "let its name end in .jsonl",
    ),
    read("an ending in capitals", settings={"log_file": "LOG.CSV"}),
    read(
        "a folder of parts, with what Spark leaves in it",
        others={"log/_SUCCESS": "", "log/.part-0.csv.crc": "crc", "log/part-0.csv": LOG, "log/part-1.csv": HEADER},
        settings={"log_file": "log/*"},
    ),
    refused(
        "a part without a line",
        LOG,
        "part-1.csv: the file is empty",
        others={"part-0.csv": LOG, "part-1.csv": ""},
        settings={"log_file": "part-*.csv"},
    ),
    read(
        "parts of several formats",
        others={
            "part-1.csv": HEADER + "v,a,3,4\n",
            "part-0.parquet": parquet_of(**{k: v[:2] for k, v in FRAME.items()}),
        },
        settings={"log_file": "part-*"},
    ),
    read(
        "a line of 3 MB in a column that nobody reads",
        f"user,item,time,stars,note\nu,a,1,5,{'x' * 3_000_000}\nu,b,2,1,\nv,a,3,4,\n",
    ),
    refused(
        "a line that is longer than allowed",
        f"user,item,time,stars,note\nu,a,1,5,{'x' * 3_000_000}\n",
        "log.csv: a line of more than 1 MB",
        "set data.files.log.max_line higher",
        settings=files(max_line=1),
    ),
    refused(
        "a line of Excel for the separator",
        "sep=;\n" + LOG.replace(",", ";"),
        "no column 'user'",
        "line 2 has these names, so remove what stands above it",
        settings=files(separator=";"),
    ),
    read(
        "a separator after every line, the names too",
        LOG.replace("\n", ",\n"),
    ),
    read("line breaks of an old Mac", LOG.replace("\n", "\r")),
    read("UTF-32", LOG.encode("utf-32"), "log.csv: read as UTF-32"),
    read(
        "cells between blanks",
        LOG.replace(",", " "),
        settings={"log_file": "log.txt", **files(separator="space")},
    ),
    read(
        "the separator of Hive",
        LOG.replace(",", "\x01"),
        settings={"log_file": "000000_0", **files(separator="\x01")},
    ),
    read(
        "a name with a separator, and one with a line break",
        LOG.replace("time", '"time, in s"').replace("user", '"user\nid"'),
        settings={"columns": {**COLUMNS, "user": "user\nid", "time": "time, in s"}},
    ),
)

TYPES = (
    read("dictionary columns", frame(user=pa.array(["u", "u", "v"]).dictionary_encode()), settings=PARQUET),
    read(
        "numbers in dictionary columns",
        frame(user=pa.DictionaryArray.from_arrays([0, 0, 1], pa.array([7, 8]))),
        rows=by("7", "7", "8"),
        settings=PARQUET,
    ),
    refused(
        "a null in a dictionary column",
        frame(user=pa.DictionaryArray.from_arrays(pa.array([0, None, 1]), pa.array(["u", "v"]))),
        "log.parquet: 1 of 3 rows",
        "missing or broken user (row 2: '')",
        settings=PARQUET,
    ),
    refused(
        "whole numbers with nulls",
        frame(stars=pa.array([5, None, 4])),
        "no finite number in stars (row 2: '')",
        "data.allow_bad_rows=0.3334",
        settings=PARQUET,
    ),
    read(
        "true and false",
        frame(stars=[True, False, True]),
        settings=PARQUET | {"feedback": {"liked": {"column": "stars"}}},
    ),
    read("bytes as ids", frame(user=[b"u", b"u", b"v"]), settings=PARQUET),
    refused(
        "bytes that are no text",
        frame(user=[b"\xff", b"u", b"v"]),
        "'user' holds binary",
        "write it as text",
        settings=PARQUET,
    ),
    read(
        "UUIDs",
        frame(user=pa.array(SIXTEEN, pa.uuid())),
        rows=by(*(str(uuid.UUID(bytes=one)) for one in SIXTEEN)),
        settings=PARQUET,
    ),
    refused(
        "UUIDs without their type",
        frame(user=pa.array(SIXTEEN, pa.binary(16))),
        "'user' holds fixed_size_binary[16]",
        "write it as text",
        settings=PARQUET,
    ),
    refused(
        "objects", frame(user=[{"id": "u"}] * 3), "'user' holds struct<id: string>", "flatten it", settings=PARQUET
    ),
    refused(
        "a column of nulls", frame(stars=pa.nulls(3)), "3 of 3 rows", "no finite number in stars", settings=PARQUET
    ),
    refused("an infinite rating", frame(stars=[np.inf, 1.0, 4.0]), "(row 1: 'inf')", settings=PARQUET),
    read("ratings of 16 bits", frame(stars=np.array([5, 1, 4.5], np.float16)), settings=PARQUET),
    read(
        "ratings as decimal numbers",
        frame(stars=[decimal.Decimal(x) for x in ("5.00", "1.50", "4.00")]),
        settings=PARQUET,
    ),
    read(
        "days",
        frame(time=[datetime.date(2024, 1, n) for n in (2, 3, 4)]),
        rows=rows_at(*(JAN_2_2024 + n * DAY for n in range(3))),
        settings=PARQUET,
    ),
    read(
        "times with a zone",
        frame(time=pa.array([1, 2, 3], pa.timestamp("ms", tz="America/New_York"))),
        rows=rows_at(1000, 2000, 3000),
        settings=PARQUET,
    ),
    refused(
        "hours without a day",
        frame(time=pa.array([1, 2, 3], pa.time32("s"))),
        "(row 1: '00:00:01.000'",
        settings=PARQUET,
    ),
    read("columns of an index", frame(__index_level_0__=[0, 1, 2]), settings=PARQUET),
    refused(
        "no row",
        frame(**{name: pa.array([], pa.string()) for name in FRAME}),
        "log.parquet: only a header",
        settings=PARQUET,
    ),
    read("line breaks of Windows in JSON", "\r\n".join(JSON), settings=LINES),
    read("UTF-16 in JSON", "\n".join(JSON).encode("utf-16"), "log.jsonl: read as UTF-16", settings=LINES),
    refused(
        "an array over many lines",
        f"[{','.join(JSON)}\n]",
        "log.jsonl line 1: an array of JSON",
        "end in .json",
        settings=LINES,
    ),
    refused(
        "objects next to each other",
        "".join(JSON),
        "log.jsonl: no JSON object in its first 1 line; expected one object per line, whole and with nothing after it",
        settings=LINES,
    ),
    refused(
        "columns of pandas",
        '{"user": {"0": "u"}, "item": {"0": "a"}, "time": {"0": 1}, "stars": {"0": 5}}',
        "log.json line 1: 'user' holds objects",
        "to_json(orient='records', lines=True)",
        settings={"log_file": "log.json"},
    ),
    refused(
        "an object in line 2, as MongoDB writes it",
        JSON[0] + JSON[1].replace(" 2,", ' {"$date": 2},').join("\n\n"),
        "log.jsonl line 2: 'time' holds objects",
        "flatten it",
        settings=LINES,
    ),
    refused(
        "rows without keys",
        '[["u", "a", 1, 5]]',
        "log.json: an array without objects",
        settings={"log_file": "log.json"},
    ),
)
