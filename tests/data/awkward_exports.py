"""Awkward files as other programs write them: joined files, spreadsheets, data frames and failed downloads."""

import gzip
import io
import zipfile

import numpy as np
import pyarrow as pa

from tests.data.awkward import BIG, COLUMNS, JAN_2_2024, LOG, ROWS, at, files, parquet_of, read, refused, rows_at

HEADER = "user,item,time,stars\n"
MARK = "\ufeff"
THREE = {"item": ["a", "b", "a"], "time": [1, 2, 3], "stars": [5, 1, 4]}
PARQUET = {"log_file": "log.parquet"}


def users(*ids: object) -> str:
    """The log with these users."""
    return HEADER + "".join(f"{user},{row}\n" for user, row in zip(ids, ("a,1,5", "b,2,1", "a,3,4"), strict=True))


def stars(*cells: object) -> str:
    """The log with these ratings."""
    return HEADER + "".join(f"{row},{cell}\n" for row, cell in zip(("u,a,1", "u,b,2", "v,a,3"), cells, strict=True))


def by(*ids: str) -> tuple:
    return tuple((user, *row[1:]) for user, row in zip(ids, ROWS, strict=True))


def zipped(text: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("log.csv", text)
    return file.getvalue()


JOINED = (
    read(
        "a header line again where two files were joined",
        LOG.replace("v,a", f"{HEADER}v,a"),
        "log.csv: left out 1 line of column names among the rows",
    ),
    read(
        "the same in a log of successes without times",
        "user,item\nu,a\nu,b\nuser,item\nv,a\n",
        "left out 1 line of column names",
        rows=(("u", "a", 0, 1.0), ("u", "b", 1, 1.0), ("v", "a", 3, 1.0)),
        settings={"columns": {**COLUMNS, "time": ""}, "feedback": {"liked": {}}},
    ),
    read(
        "a header line again in the item table, with all items asked for",
        LOG,
        "items.csv: left out 1 line of column names",
        items="item,title\na,Apple\nitem,title\nb,Bread\n",
        texts=("Apple", "Bread"),
        settings={"min_item_ratings": 0},
    ),
    read("a header line again with its mark", LOG.replace("v,a", f"{MARK}{HEADER}v,a"), "left out 1 line"),
    read("a mark written twice", MARK + MARK + LOG),
    read("a mark before a user in the middle", LOG.replace("u,b", f"{MARK}u,b")),
    read(
        "two compressed parts in one file",
        gzip.compress(LOG[:30].encode()) + gzip.compress(LOG[30:].encode()),
        settings={"log_file": "log.csv.gz"},
    ),
    read("blanks without width around ids", LOG.replace("u,b", "u,b\u200b"), items="item,title\na,Apple\nb,Bread\n"),
    read("blanks that do not break around ids", LOG.replace("u,b", "u\u00a0,\u00a0b"), texts=("a", "b")),
    read("zero bytes after ids", LOG.replace("v,", "v\0\0,")),
    read(
        "blanks after separators, and quotes",
        'user, item, time, stars\nu, "a", 1, "5"\n"u", "b", 2, 1\n"v", "a", 3, 4\n',
        items='item, title\n"a", "Apple ""pie"""\nb, "Bread"\n',
        texts=('Apple "pie"', "Bread"),
    ),
    read("quotes that are a part of an id", users('"""u"""', '"""u"""', "v"), rows=by('"u"', '"u"', "v")),
    read("columns without a name", ",user,item,time,stars,\n0,u,a,1,5,\n1,u,b,2,1,\n2,v,a,3,4,\n"),
    refused(
        "a separator after the last cell of each row",
        LOG.replace("5\n", "5,\n").replace("2,1\n", "2,1,\n").replace("4\n", "4,\n"),
        "log.csv: 3 rows, all with the wrong number of cells",
        "4; line 2 has 5 cells",
    ),
    refused(
        "a line above the column names",
        "# exported in 2024\n" + LOG,
        "log.csv: no column 'user'",
        "line 2 has these names, so remove what stands above it",
    ),
    refused("a line below the rows", LOG + "(3 rows)\n", "log.csv: 1 of 4 rows", "wrong number of cells (line 5)"),
    refused(
        "latin-1 in a row that is too long",
        LOG.encode() + "w,a,4,5,é\n".encode("latin-1"),
        "log.csv line 5: not UTF-8 text",
        "data.files.log.encoding",
    ),
)

SHEETS = (
    refused(
        "ids that a spreadsheet has rounded",
        users("1.23457E+11", "1.23457E+11", "7"),
        "log.csv: 2 of 3 rows",
        "2 rows with scientific notation in place of all digits in user (line 2: private (9.99999x+99)",
        "export them as text",
    ),
    refused(
        "ids of books that a spreadsheet has rounded",
        LOG,
        "items.csv: 1 of 3 rows",
        "in place of all digits in item (line 4: '9.78014E+12')",
        items="item,title\na,Apple\nb,Bread\n9.78014E+12,Novel\n",
    ),
    refused(
        "ids of the table of users that a spreadsheet has rounded",
        users("123456789012", "123456789012", "v"),
        "users.csv: 1 of 2 rows",
        "in place of all digits in user (line 2: private (9.99999x+99))",
        others={"users.csv": "user,age\n1.23457E+11,3\nv,4\n"},
        settings={"user_file": "users.csv", "context": ["age"]},
    ),
    refused(
        "times that a spreadsheet has rounded",
        at("1.60E+12", "1.60E+12", "1.61E+12"),
        "3 rows with scientific notation in place of all digits in time (line 2: '1.60E+12'",
    ),
    read(
        "times in scientific notation with all digits",
        at("1.6e9", "1.600000001E9", "1.600000002e+09"),
        rows=rows_at(BIG, BIG + 1, BIG + 2),
    ),
    read("round ids as R writes them", users("1e+05", "100000", "3.18e+02"), rows=by("100000", "100000", "318")),
    read("ids that only look like numbers", users("1e5", "1e5", "12E07"), rows=by("1e5", "1e5", "12E07")),
    read("ids as formulas that keep zeros", users('="007"', '"=""007"""', "7"), rows=by("007", "007", "7")),
    refused("commas between thousands", stars('"1,234"', 12, '"5,678"'), "(line 2: '1,234'", "separate thousands"),
    read(
        "points between thousands, with a decimal comma",
        stars("1.234,5", "12,5", "5.678").replace(",", ";").replace("4;5", "4,5").replace("2;5", "2,5"),
        settings={"feedback": {"liked": {"column": "stars", "at_least": 1000}}, **files(separator=";", decimal=",")},
    ),
    refused("a workbook", zipped(LOG), "log.xlsx: is a zip archive or a workbook", settings={"log_file": "log.xlsx"}),
)

FRAMES = (
    read(
        "long whole numbers as ids",
        users(2**53 + 1, 2**53 + 1, 2**53),
        rows=by(str(2**53 + 1), str(2**53 + 1), str(2**53)),
    ),
    read(
        "long whole numbers as ids in Parquet",
        parquet_of(user=pa.array([2**64 - 1, 2**64 - 1, 2**64 - 2], pa.uint64()), **THREE),
        rows=by(str(2**64 - 1), str(2**64 - 1), str(2**64 - 2)),
        settings=PARQUET,
    ),
    refused(
        "long ids as floats in Parquet",
        parquet_of(user=[2.0**60, 2.0**60, 2.0**61], **THREE),
        "in place of all digits in user (row 1: private (9.999999999999999x+99)",
        settings=PARQUET,
    ),
    refused(
        "ids as short floats in Parquet",
        parquet_of(user=np.array([2**24 + 2, 2**24 + 4, 3], np.float32), **THREE),
        "log.parquet: column 'user' holds float up to 16777220, whose last digits are lost",
        settings=PARQUET,
    ),
    refused(
        "times as short floats in Parquet",
        parquet_of(user=["u", "u", "v"], **{**THREE, "time": np.array([BIG, BIG + 128, BIG + 256], np.float32)}),
        "log.parquet: column 'time' holds float",
        settings=PARQUET,
    ),
    read(
        "small ids as short floats",
        parquet_of(user=np.array([7, 7, 8], np.float32), **THREE),
        rows=by("7", "7", "8"),
        settings=PARQUET,
    ),
    read(
        "ids as decimal numbers in Parquet",
        parquet_of(user=pa.array([7, 7, 8]).cast(pa.decimal128(30, 2)), **THREE),
        rows=by("7", "7", "8"),
        settings=PARQUET,
    ),
    read(
        "exponents in JSON",
        "".join(
            f'{{"user": {u}, "item": "{i}", "time": {t}, "stars": {s}}}\n'
            for u, i, t, s in (("1e5", "a", "1", "5e0"), ("100000.0", "b", "0.2e1", "1"), ("2E5", "a", "3", "4"))
        ),
        rows=by("100000", "100000", "200000"),
        settings={"log_file": "log.jsonl"},
    ),
    refused(
        "long ids as floats in JSON",
        '{"user": 1.2345678901234568e16, "item": "a", "time": 1, "stars": 5}\n',
        "in place of all digits in user (line 1",
        settings={"log_file": "log.jsonl"},
    ),
    refused(
        "an array in a file of lines",
        '[{"user": "u", "item": "a", "time": 1, "stars": 5}]\n',
        "log.jsonl line 1: an array of JSON; expected one object per line; let its name end in .json",
        settings={"log_file": "log.jsonl"},
    ),
    read("negative ids", users(-1, -1, 7), rows=by("-1", "-1", "7")),
    read("ids that differ in capitals", users("Ann", "ann", "v"), rows=by("Ann", "ann", "v")),
    read(
        "true and false in capitals",
        stars("TRUE", "FALSE", "True"),
        settings={"feedback": {"liked": {"column": "stars"}}},
    ),
    refused(
        "yes and no",
        stars("yes", "no", "yes"),
        "no finite number in stars (line 2: 'yes'",
        "data.feedback.liked.equals or in",
        settings={"feedback": {"liked": {"column": "stars"}}},
    ),
    refused(
        "a word in two cases",
        stars("Yes", "no", "yes"),
        "data.feedback.liked.equals: some rows have 'Yes', which is not 'yes'",
        "set data.feedback.liked.in=[yes, Yes]",
        settings={"feedback": {"liked": {"column": "stars", "equals": "yes"}}},
    ),
    read(
        "a word in two cases, as the recipe says",
        stars("Yes", "no", "yes"),
        settings={"feedback": {"liked": {"column": "stars", "in": ["yes", "Yes"]}}},
    ),
    read(
        "a word of which one case counts, as the recipe says",
        stars("yes", "Yes", "yes"),
        settings={"feedback": {"liked": {"column": "stars", "weights": {"yes": 1, "Yes": 0}}}},
    ),
    read(
        "a word in two cases, of which one is left out",
        stars("Yes", "no", "yes"),
        rows=ROWS[1:],
        settings={
            "feedback": {"liked": {"column": "stars", "equals": "yes"}},
            "where": [{"column": "stars", "not_in": ["Yes"]}],
        },
    ),
    refused(
        "a word that YAML takes for true",
        stars("yes", "no", "yes"),
        "data.feedback.liked.equals: expected text",
        "put words such as yes and true in quotes",
        settings={"feedback": {"liked": {"column": "stars", "equals": True}}},
    ),
    read(
        "dates of several zones",
        at("2024-01-02T01:00:00+01:00", "2024-01-02 00:00:01Z", "2024-01-01T19:00:02-0500"),
        rows=rows_at(*(JAN_2_2024 + n * 10**6 for n in range(3))),
    ),
    read(
        "all rows of a user at one moment",
        at("5", "5", "5"),
        rows=rows_at(5, 5, 5),
    ),
)

DOWNLOADS = (
    refused(
        "a file compressed without its ending", gzip.compress(LOG.encode()), "log.csv: is compressed by gzip", "add .gz"
    ),
    refused("an ending without compression", LOG, "log.csv.gz: cannot be read", settings={"log_file": "log.csv.gz"}),
    refused("a zip archive", zipped(LOG), "log.csv: is a zip archive", "unpack it"),
    refused("Parquet by another name", parquet_of(user=["u"]), "log.csv: is a Parquet file", "end in .parquet"),
    refused("a page in place of a file", "<!DOCTYPE html>\n<html>Sorry</html>\n", "log.csv: is a web page", "download"),
    refused(
        "a pointer in place of a file",
        "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n",
        "log.parquet: is a pointer of Git LFS",
        "git lfs pull",
        settings=PARQUET,
    ),
    refused("one column", "user\nu\nv\n", "log.csv: no column 'item' (wanted by data.columns.item)"),
    refused(
        "cells with nothing between them but blanks",
        LOG.replace(",", "  "),
        "log.tsv: no column 'user'",
        "set data.files.log.separator",
        settings={"log_file": "log.tsv"},
    ),
    refused(
        "users as items",
        LOG,
        "data.columns.item: 'user' is the column of the users",
        settings={"columns": {**COLUMNS, "item": "user"}},
    ),
    refused(
        "users as feedback",
        LOG,
        "data.feedback.liked.column: 'user' is the column of data.columns.user",
        settings={"feedback": {"liked": {"column": "user", "equals": "u"}}},
    ),
    refused("ratings that are all empty", stars("", "", ""), "no finite number in stars (line 2: ''", "right columns"),
    refused("column names in capitals", LOG.replace("user", "User"), "no column 'user'", "did you mean 'User'?"),
    refused(
        "a column name twice",
        "user,item,time,stars,stars\nu,a,1,5,5\n",
        "log.csv: column 'stars' is in the header twice",
    ),
    read(
        "ids of the item table twice, and an empty text",
        LOG,
        "items.csv: 1 repeated id, the first row of each is kept",
        items="item,title\na,Apple\na,Apricot\nb,\n",
        texts=("Apple", "b"),
    ),
)
