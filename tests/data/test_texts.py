import gzip
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from jaxrec.checks import InputError
from jaxrec.data.texts import read_texts


def test_a_column_is_read_from_any_table_and_lines_from_a_text_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,title\n7,"a, b"\n8,\n9,ü\n')
    (tmp_path / "a.jsonl").write_text('{"id": 7, "title": "a, b"}\n{"id": 8}\n{"id": 9, "title": "ü"}\n')
    parquet.write_table(pa.table({"id": [7, 8, 9], "title": ["a, b", None, "ü"]}), tmp_path / "a.parquet")
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        read = read_texts(tmp_path / name, "title", "id")
        assert read.texts.to_pylist() == ["a, b", "", "ü"] and read.ids is not None
        assert read.ids.to_pylist() == ["7", "8", "9"]
        assert read.account == f"{name}: read 3 rows, 1 of them empty"
        assert read_texts(tmp_path / name, id_column="id").texts.equals(read.texts)  # the only one besides the ids
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress("\ufeffa, b\r\n\nü\n".encode()))
    assert read_texts(tmp_path / "b.txt.gz").texts.to_pylist() == ["a, b", "", "ü"]


@pytest.mark.parametrize(
    ("name", "content", "column", "ids", "message"),
    [
        ("a.csv", "x,y\n1,2\n", "", "", r"has 2 columns \(x, y\); name one with --column"),
        ("a.csv", "title,y\n1,2\n", "titel", "", "no column 'titel' .*did you mean 'title'"),
        ("a.csv", "x,y\n1,2\n", "x", "z", r"no column 'z' \(wanted by --ids\)"),
        ("a.csv", "x,y\n1,2\n1\n", "x", "", "1 row cannot be read, and vectors are identified by their rows"),
        ("a.txt", "x\n", "x", "", "a .txt file has lines and no columns"),
        ("a.txt", "", "", "", "the file is empty"),
        ("a.txt", b"\xff\n", "", "", "line 1: not UTF-8"),
        ("a.doc", "x", "", "", "no table format ends in '.doc'"),
        ("a.txt.gz", "no gzip", "", "", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_line(tmp_path: Path, name, content, column, ids, message) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        read_texts(path, column, ids)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("a.csv", "a.txt"):
        with pytest.raises(InputError, match=name):
            read_texts(tmp_path / name)
