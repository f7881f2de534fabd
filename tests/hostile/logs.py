"""Hostile logs and texts: small files that become large, endless lines, files that announce more than they hold."""

import bz2
import gzip
import io
import json
import lzma
import os
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from tests.hostile.frame import Hostile, Place

CHECK = "check-data {recipe}"
ROWS = b"u,i,1,5\n" * 2**17  # a megabyte
MANY = 1500  # megabytes
DATA = {"source": "files", "item_file": "", "feedback": {"liked": {"column": "stars", "at_least": 4}}}
Build = Callable[[Place], object]


def log(name: str, content: str | bytes, **settings: Any) -> Build:
    """A recipe of a log, and its file."""

    def build(place: Place) -> None:
        place.write(f"in/data/{name}", content)
        data = {**DATA, "path": str(place.data), "log_file": name, **settings}
        place.write("in/recipe.yaml", json.dumps({"data": data, "env": {"name": "logged"}}))

    return build


def refused(name: str, file: str, content: str | bytes, *wants: str, **settings: Any) -> Hostile:
    return Hostile(name, CHECK, log(file, content, **settings), wants)


def repeated(compress: Callable[[bytes], bytes]) -> bytes:
    """Many members of a compressed file, each of which unpacks to a megabyte."""
    return compress(b"user,item,time,stars\n") + compress(ROWS) * MANY


def zstd(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)


def parquet_of(table: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    parquet.write_table(table, file, **options)
    return file.getvalue()


def columns(rows: int, user: Any) -> pa.Table:
    one = pa.array(np.ones(rows, np.int32))
    return pa.table({"user": user, "item": one, "time": one, "stars": one})


def many_rows() -> bytes:
    """A hundred million rows in some hundred kilobytes."""
    part, file = columns(2**20, pa.array(np.ones(2**20, np.int32))), io.BytesIO()
    with parquet.ParquetWriter(file, part.schema) as writer:
        for _ in range(100):
            writer.write_table(part)
    return file.getvalue()


def long_texts() -> bytes:
    """One text of a megabyte, in a thousand rows."""
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1000, np.int32)), pa.array(["x" * 2**20]))
    return parquet_of(columns(1000, text), dictionary_pagesize_limit=2**24)


def npz(*entries: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return file.getvalue()


def npy(shape: str, content: bytes = b"", dtype: str = "<f8") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + content


def matrix(content: bytes) -> Build:
    """A recipe of users of a matrix."""

    def build(place: Place) -> None:
        path = place.write("in/data/matrix.npz", content)
        place.write("in/recipe.yaml", json.dumps({"env": {"name": "full_matrix", "path": str(path)}}))

    return build


def texts(name: str, content: str | bytes) -> Build:
    return lambda place: place.write(f"in/data/{name}", content)


def embed(name: str, file: str, content: bytes, *wants: str) -> Hostile:
    return Hostile(name, f"embed all-MiniLM-L6-v2 {{data}}/{file} -o {{out}}/v.npy", texts(file, content), wants)


def special(place: Place) -> None:
    log("log.csv", "")(place)
    (place.data / "log.csv").unlink()
    os.mkfifo(place.data / "log.csv")


def vectors(content: bytes) -> Build:
    """A recipe of a log and an item table with vectors in a file."""

    def build(place: Place) -> None:
        feature = {"kind": "vector", "file": "vectors.npy", "ids": "ids.txt"}
        log("log.csv", SMALL, item_file="items.csv", item_features={"pictures": feature})(place)
        place.write("in/data/items.csv", "item,title\ni,Title\n")
        place.write("in/data/ids.txt", "i\n")
        place.write("in/data/vectors.npy", content)

    return build


SMALL = "user,item,time,stars\nu,i,1,5\nu,j,2,1\nv,i,3,4\n"
LARGE, LINE = "MB when it is unpacked", "a line of more than 16 MB"
TRAIN = "train {recipe} --run {out}/run"
TEN_THOUSAND = ",".join(f"c{n}" for n in range(10**4)) + "\n" + "," * 9_999 + "\n"
WIDE = ",".join(f"c{n}" for n in range(10**5)) + "\n" + "," * 10**5
MARKED = gzip.compress("\ufeffa,b\n".encode("utf-16-le")) + gzip.compress("u,i\n".encode("utf-16-le") * 2**17) * MANY
SHORT = gzip.compress(b"x\n" * 2**19) * MANY
BOMBS = (
    refused("a bomb of gzip", "log.csv.gz", repeated(gzip.compress), LARGE, "data.files.log.max_unpacked"),
    refused("a bomb of bzip2", "log.csv.bz2", repeated(bz2.compress), LARGE, "data.files.log.max_unpacked"),
    refused("a bomb of xz", "log.csv.xz", repeated(lzma.compress), LARGE, "data.files.log.max_unpacked"),
    refused("a bomb of zstd", "log.csv.zst", repeated(zstd), LARGE, "data.files.log.max_unpacked"),
    refused("a bomb of JSON lines", "log.jsonl.gz", gzip.compress(b"{}\n" * 2**18) * MANY),
    refused("a bomb of one JSON array", "log.json.gz", gzip.compress(b"[") + gzip.compress(b" " * 2**20) * MANY, LARGE),
    refused("a bomb in UTF-16", "log.csv.gz", MARKED),
    refused("a bomb that is cut off", "log.csv.gz", repeated(gzip.compress)[:-1000]),
    refused("a bomb of one line", "log.csv.gz", gzip.compress(b"user,item") + gzip.compress(b"x" * 2**20) * MANY),
    embed("a bomb of texts", "t.txt.gz", SHORT, LARGE, "unpack it first"),
    embed("a bomb of one text", "t.txt.xz", lzma.compress(b"x" * 2**20) * 100, LINE),
    embed("a bomb of a column of texts", "t.csv.gz", gzip.compress(b"text\n") + SHORT, LARGE),
    refused("more rows than a Parquet file can have", "log.parquet", many_rows(), "cells in", "max_unpacked"),
    refused("a long text in many rows of Parquet", "log.parquet", long_texts(), "of text", "max_unpacked"),
)
WIDER = "\ufeffuser,item,time,stars\n".encode("utf-16-le") + b"x\0" * 2**24
NARROW = {"files": {"log": {"max_line": 0.1}}}
LINES = (
    refused("an endless line of CSV", "log.csv", b"user,item,time,stars\n" + b"x" * 2**25),
    refused("an endless header", "log.csv", b"x" * 2**25),
    refused("an endless line of JSON", "log.jsonl", b'{"user": "' + b"x" * 2**25, LINE, "data.files.log.max_line"),
    refused("an endless line of a number", "log.jsonl", b'{"user": ' + b"1" * 2**22),
    refused("an endless line of brackets", "log.jsonl", b"[" * 2**24),
    refused("an endless line of quotes", "log.csv", b"user,item,time,stars\n" + b'"' * 2**23),
    refused("an endless line in UTF-16", "log.csv", WIDER),
    refused(
        "a line that is longer than the recipe allows", "log.jsonl", b"{" + b" " * 2**20, "a line of more", **NARROW
    ),
    refused("a limit of nothing", "log.csv", SMALL, "data.files.log.max_line", files={"log": {"max_line": 0}}),
    refused("a limit that is no number", "log.csv", SMALL, "max_unpacked", files={"log": {"max_unpacked": "many"}}),
    refused("a hundred thousand columns", "log.csv", WIDE, "100,000 columns"),
    refused("ten thousand columns", "log.csv", TEN_THOUSAND, "no column"),
    refused("a line of zero bytes", "log.csv", b"\0" * 2**22),
    embed("an endless line of text", "t.txt", b"x" * 2**25, LINE),
    Hostile("a pipe for a log", CHECK, special, ("log.csv",)),
)


def of_matrix(name: str, shape: str, *wants: str, content: bytes = b"", dtype: str = "<f8", file: str = "matrix.npy"):
    return Hostile(f"a matrix {name}", TRAIN, matrix(npz((file, npy(shape, content, dtype)))), wants)


WHOLE = npz(("matrix.npy", npy("(9, 9)", b"\0" * 648)))
ARRAYS = (
    of_matrix("that is a bomb", "(10, 16000000)", LARGE, content=b"\0" * 160_000_000, dtype="|u1"),
    of_matrix("that announces a petabyte", "(10000000, 10000000)", "announces"),
    of_matrix("of overflowing sizes", "(4294967296, 4294967296)", "announces"),
    of_matrix("of negative sizes", "(-1, -1)"),
    of_matrix("of objects", "(1, 1)", content=b"x" * 64, dtype="|O"),
    of_matrix("of code", "(__import__('os').getcwd(), 1)"),
    of_matrix("with a path for a name", "(1, 1)", "no array 'matrix'", content=b"\0" * 8, file="../../matrix.npy"),
    Hostile("a matrix of noise", TRAIN, matrix(bytes(range(256)) * 40), ("not a readable .npz",)),
    Hostile("a matrix that is cut off", TRAIN, matrix(WHOLE[:-30])),
    Hostile("vectors that announce a petabyte", CHECK, vectors(npy("(10000000, 10000000)")), ("vectors.npy",)),
    Hostile("vectors of objects", CHECK, vectors(npy("(1, 1)", b"x" * 64, "|O")), ("vectors.npy",)),
    Hostile("vectors of a negative size", CHECK, vectors(npy("(-5, 2)", b"x" * 64)), ("vectors.npy",)),
)
LOGS = (*BOMBS, *LINES, *ARRAYS)
