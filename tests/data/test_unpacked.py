"""Limits of what small files may become; tests/hostile/logs.py has whole files."""

import gzip
import io
import lzma
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from jaxrec.checks import InputError
from jaxrec.data import unpacked
from jaxrec.data.unpacked import Limits, check_npz, check_parquet, check_repeated, open_bytes


def read(path: Path, limits: Limits, size: int = 7) -> bytes:
    with open_bytes(path, limits) as file:
        return b"".join(iter(lambda: file.read(size), b""))


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of large files for small ones."""
    monkeypatch.setattr(unpacked, "ALWAYS", 0)
    monkeypatch.setattr(unpacked, "CELLS", 0)


def test_a_compressed_file_may_become_so_many_times_its_size(tmp_path: Path, little: None) -> None:
    path, content = tmp_path / "log.csv.gz", b"row\n" * 1000
    path.write_bytes(gzip.compress(content))
    ratio = len(content) / path.stat().st_size
    assert read(path, Limits(ratio=ratio * 1.01)) == content
    with pytest.raises(InputError, match=r"log\.csv\.gz: becomes more than .* set data\.files\.log\.max_unpacked"):
        read(path, Limits(ratio=ratio * 0.99, setting="data.files.log"))


def test_a_file_that_is_not_compressed_has_any_size(tmp_path: Path, little: None) -> None:
    (tmp_path / "log.csv").write_bytes(b"row\n" * 1000)
    assert len(read(tmp_path / "log.csv", Limits(ratio=0.001))) == 4000


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_lines_are_limited_and_their_number_is_not(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes((b"x" * 20 + end) * 100)
    assert len(read(path, Limits(line=20))) == (20 + len(end)) * 100
    path.write_bytes(b"x" * 20 + end + b"x" * 30 + end)
    with pytest.raises(InputError, match="a line of more than"):
        read(path, Limits(line=20))


def test_text_wrappers_read_through_the_limits(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes("größer\nzwei\n".encode() * 10_000)
    with open_bytes(path) as raw, io.BufferedReader(raw) as file:
        assert sum(1 for _ in file) == 20_000
    with open_bytes(path) as raw:
        assert set(io.TextIOWrapper(raw, encoding="utf-8")) == {"größer\n", "zwei\n"}


def test_parquet_is_limited_by_cells_and_by_repeated_texts(tmp_path: Path, little: None) -> None:
    path = tmp_path / "log.parquet"
    parquet.write_table(pa.table({"a": ["x" * 1000] * 1000, "b": [1] * 1000}), path)
    file = parquet.ParquetFile(path, read_dictionary=["a"])
    enough = 1000 / path.stat().st_size
    check_parquet(path, file, ["b"], Limits(ratio=enough * 1.01))
    with pytest.raises(InputError, match="2,000 cells in"):
        check_parquet(path, file, ["a", "b"], Limits(ratio=enough * 1.01))
    column = file.read(["a"]).column("a")
    check_repeated(path, "a", column, Limits(ratio=1e6 / path.stat().st_size * 1.01))
    with pytest.raises(InputError, match="column 'a' becomes 1 MB of text"):
        check_repeated(path, "a", column, Limits(ratio=1e6 / path.stat().st_size * 0.99))


def test_an_archive_of_arrays_is_limited(tmp_path: Path, little: None, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "matrix.npz"
    np.savez_compressed(path, matrix=np.zeros((1000, 1000)))
    with pytest.raises(InputError, match="becomes 8 MB when it is unpacked"):
        check_npz(path)
    monkeypatch.setattr(unpacked, "ALWAYS", 2**24)
    check_npz(path)


def xz(content: bytes, dictionary: int = 2**20) -> bytes:
    return lzma.compress(content, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": dictionary}])


def test_xz_of_several_streams_and_padding_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log.csv.xz"
    for content, whole in (
        (xz(b"a,b\n" * 5000) + b"\0" * 8 + xz(b"") + xz(b"c,d\n"), b"a,b\n" * 5000 + b"c,d\n"),
        (lzma.compress(b"a\n", lzma.FORMAT_ALONE), b"a\n"),
        (xz(b""), b""),
    ):
        path.write_bytes(content)
        for size in (7, 10**6):
            assert read(path, Limits(), size) == whole


def test_xz_that_asks_for_much_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.csv.xz"
    path.write_bytes(xz(b"a,b\n", 2**28))
    with pytest.raises(InputError, match=r"log\.csv\.xz: needs more than 256 MB of memory to be unpacked"):
        read(path, Limits())


@pytest.mark.parametrize("content", [b"", xz(b"a,b\n")[:-10], b"no xz at all", xz(b"a,b\n") + b"more"])
def test_xz_that_is_damaged_is_an_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "log.csv.xz"
    path.write_bytes(content)
    with pytest.raises((EOFError, lzma.LZMAError)):
        read(path, Limits())
