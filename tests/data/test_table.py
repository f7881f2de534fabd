import bz2
import datetime
import decimal
import gzip
import io
import json
import lzma
import time

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as parquet
import pytest

from jaxrec.checks import InputError
from jaxrec.config.data import Columns, DataConfig, FeedbackKind
from jaxrec.config.files import TableFormat
from jaxrec.data import load_dataset
from jaxrec.data.cells import Part, Places, as_text, joined_chunks
from jaxrec.data.delimited import ReadAhead
from jaxrec.data.layout import PLAIN
from jaxrec.data.shapes import SHAPES
from jaxrec.data.table import Fault, drop_faulty, header, make_table, read_table, where_in
from tests.data.same import assert_same_dataset

ROWS = 300
COLUMNS = Columns(review="note")


def log() -> pa.Table:
    """A log whose columns have the types that data frames have."""
    rng = np.random.default_rng(5)
    seconds = 1_600_000_000 + rng.permutation(10 * ROWS)[:ROWS]
    stars = pa.array(rng.integers(1, 11, ROWS) / 2, pa.float32())
    return pa.table(
        {
            "user": pa.array([f"Zoë {n}" for n in rng.integers(0, 20, ROWS)]).dictionary_encode(),
            "item": pa.array(rng.integers(100, 140, ROWS), pa.int64()),
            "time": pa.array(seconds, pa.int64()).cast(pa.timestamp("s")),
            "stars": stars,
            "seen": pa.array(rng.random(ROWS) < 0.5),
            "length": pa.array(rng.integers(1, 9, ROWS), pa.int16()),
            "note": pa.array(['said "fine", left\tsoon', None, "naïve"] * (ROWS // 3), pa.large_string()),
        }
    )


def items() -> pa.Table:
    ids = pa.array([*range(100, 138), 999], pa.uint16())
    return pa.table({"item": ids, "title": [f"Number {n}" for n in ids.to_pylist()], "price": [2.5] * len(ids)})


def write(table: pa.Table, path) -> None:
    if ".parquet" in path.name:
        parquet.write_table(table, path)
        return
    if "json" in path.name.lower():
        rows = [{k: v for k, v in row.items() if v is not None} for row in table.to_pylist()]
        raw = "\n".join(json.dumps(row, default=str) for row in rows).encode()
    else:
        sink = pa.BufferOutputStream()
        pa_csv.write_csv(table, sink, pa_csv.WriteOptions(delimiter="\t" if ".tsv" in path.name else ","))
        raw = sink.getvalue().to_pybytes()
    suffix, pack = (
        path.suffix.lower(),
        {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": pa.Codec("zstd").compress},
    )
    packed = pack.get(suffix, bytes)(raw)
    path.write_bytes(packed if isinstance(packed, bytes) else packed.to_pybytes())


def config(folder, **settings) -> DataConfig:
    feedback = {
        "liked": FeedbackKind(column="stars", at_least=4),
        "seen": FeedbackKind(column="seen"),
        "bored": FeedbackKind(column="stars", over="length", at_most=0.5),
    }
    text = "{title} at {price}"
    return DataConfig(source="files", path=str(folder), feedback=feedback, columns=COLUMNS, text=text, **settings)


@pytest.fixture(scope="module")
def as_csv(tmp_path_factory):
    folder = tmp_path_factory.mktemp("csv")
    write(log(), folder / "log.csv")
    write(items(), folder / "items.csv")
    return load_dataset(config(folder), 0)


def test_the_log_of_these_tests_tells_formats_apart(as_csv):
    assert len(as_csv.log) > 200 and as_csv.log.num_users == 20
    assert set(as_csv.log.feedback.mean(axis=0) * len(as_csv.log)).isdisjoint({0, len(as_csv.log)})
    assert as_csv.catalogue.ids[0] == "100" and as_csv.catalogue.texts[0] == "Number 100 at 2.5"
    assert set(as_csv.log.review) == {'said "fine", left\tsoon', "", "naïve"}


@pytest.mark.parametrize(
    "name",
    ["log.tsv", "log.parquet", "log.jsonl", "log.NDJSON", "log.CSV.GZ", "log.tsv.bz2", "log.csv.zst", "log.jsonl.xz"],
)
def test_every_format_of_a_log_gives_the_same_arrays_as_csv(name, as_csv, tmp_path):
    write(log(), tmp_path / name)
    write(items(), tmp_path / name.replace("log", "items"))
    same = load_dataset(config(tmp_path, log_file=name, item_file=name.replace("log", "items")), 0)
    assert_same_dataset(same, as_csv)
    assert same.account[0] == f"{name}: read 300 rows"


def test_the_files_of_a_pattern_are_one_log_in_the_order_of_their_names(as_csv, tmp_path):
    (tmp_path / "days").mkdir()
    write(log().slice(0, 100), tmp_path / "days" / "log-1.parquet")
    write(log().slice(100, 150), tmp_path / "days" / "log-2.csv.gz")
    write(log().slice(250).select(log().column_names[::-1]), tmp_path / "days" / "log-3.jsonl")
    write(items(), tmp_path / "items.csv")
    data = load_dataset(config(tmp_path, log_file="days/log-*"), 0)
    assert_same_dataset(data, as_csv)
    assert data.account[0] == "log-*: read 300 rows in 3 files"


def test_typed_cells_become_the_text_that_a_csv_would_hold(tmp_path):
    berlin = datetime.timezone(datetime.timedelta(hours=1))
    moment = datetime.datetime(2024, 1, 2, 3, 4, 5, 600_000, tzinfo=berlin)
    cells = {
        "int": (pa.array([318, None], pa.uint64()), ["318", ""]),
        "float": (pa.array([318.0, float("nan")]), ["318", ""]),
        "single": (pa.array([0.1, -2.5], pa.float32()), ["0.1", "-2.5"]),
        "half": (pa.array(np.array([1.5, 7], np.float16)), ["1.5", "7"]),
        "long": (pa.array([123456789012.0, 1e300]), ["123456789012", "1e+300"]),
        "bool": (pa.array([True, None]), ["true", ""]),
        "decimal": (pa.array([decimal.Decimal("3.50"), None]), ["3.50", ""]),
        "blank": (pa.array([" a ", None], pa.large_string()), ["a", ""]),
        "bytes": (pa.array([b"a", b""], pa.binary()), ["a", ""]),
        "nothing": (pa.nulls(2), ["", ""]),
        "labels": (pa.array([7, None], pa.int32()).dictionary_encode(), ["7", ""]),
        "date": (pa.array([datetime.date(2024, 1, 2), None]), ["2024-01-02", ""]),
        "zone": (pa.array([moment, None], pa.timestamp("ns", "+01:00")), ["2024-01-02 02:04:05.600000", ""]),
    }
    parquet.write_table(pa.table({name: array for name, (array, _) in cells.items()}), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet", cells)
    assert {name: array.to_pylist() for name, array in table.cells.items()} == {
        n: want for n, (_, want) in cells.items()
    }


def test_json_numbers_keep_every_digit_and_missing_keys_are_empty_cells(tmp_path):
    lines = (
        '\ufeff{"id": 12345678901234567890, "x": 1.50, "y": true}\r\n\n{"x": NaN, "id": 318.0}\n{"y": null, "id": "a"}'
    )
    (tmp_path / "t.jsonl").write_text(lines)
    assert header(tmp_path / "t.jsonl", "setting") == ["id", "x", "y"]
    table = read_table(tmp_path / "t.jsonl", ["id", "x", "y"])
    assert table.cells["id"].to_pylist() == ["12345678901234567890", "318", "a"]
    assert table.cells["x"].to_pylist() == ["1.50", "", ""]
    assert table.cells["y"].to_pylist() == ["true", "", ""]


def test_faults_are_named_by_line_in_json_by_row_in_parquet_and_by_file_in_a_pattern(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"x": 1}\n\n{"x": \n[1]\n{"x": 2}\n')
    parquet.write_table(pa.table({"x": [3, 4]}), tmp_path / "b.parquet")
    table = read_table(tmp_path / "[ab].*", ["x"])
    assert table.cells["x"].to_pylist() == ["1", "2", "3", "4"]
    fault = Fault("an odd x", "x", np.array([False, True, False, True]))
    keep, account = drop_faulty(table, [fault], 1)
    assert keep.tolist() == [True, False, True, False]
    assert account == [
        "[ab].*: dropped 2 rows without a JSON object (a.jsonl line 3, a.jsonl line 4)",
        "[ab].*: dropped 2 rows with an odd x (a.jsonl line 5, b.parquet row 2)",
    ]
    assert where_in(table, 2) == f"{tmp_path / 'b.parquet'} row 1"
    assert where_in(read_table(tmp_path / "a.jsonl", ["x"]), 1) == f"{tmp_path / 'a.jsonl'} line 5"
    with pytest.raises(InputError, match=r"4 of 6 rows.*a.jsonl line 3.*\(a.jsonl line 5: '2', b.parquet row 2: '4'\)"):
        drop_faulty(table, [fault], 0)


def test_files_of_one_name_in_several_folders_are_told_apart(tmp_path):
    for day in ("1", "2"):
        (tmp_path / day).mkdir()
        (tmp_path / day / "log.csv").write_text("a,b\n1\n2,2\n")
    table = read_table(tmp_path / "*" / "log.csv", ["a", "b"])
    assert where_in(table, 1) == f"{tmp_path / '2' / 'log.csv'} line 3"
    _, account = drop_faulty(table, [], 1)
    assert account == ["log.csv: dropped 2 rows with the wrong number of cells (1/log.csv line 2, 2/log.csv line 2)"]


def test_a_column_may_have_a_dot_in_its_name(tmp_path):
    parquet.write_table(pa.table({"user.id": [1], "user": [{"id": 2}]}), tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", ["user.id"]).cells["user.id"].to_pylist() == ["1"]


def test_a_pattern_in_a_folder_with_brackets_in_its_name_is_found(tmp_path):
    (tmp_path / "[x]").mkdir()
    (tmp_path / "[x]" / "log-2.csv").write_text("a\n2\n")
    (tmp_path / "[x]" / "log-1.csv").write_text("a\n1\n")
    assert read_table(tmp_path / "[x]" / "log-*.csv", ["a"]).cells["a"].to_pylist() == ["1", "2"]
    assert read_table(tmp_path / "[x]" / "log-2.csv", ["a"]).cells["a"].to_pylist() == ["2"]


class SlowFile(io.RawIOBase):
    """A file of which every read takes a while."""

    def __init__(self, content: bytes):
        self.inner, self.reads = io.BytesIO(content), [0, 0]

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self.reads[0] += 1
        time.sleep(0.01)
        self.reads[1] += 1
        return self.inner.read(size)


def test_nothing_is_read_any_more_from_a_closed_file() -> None:
    # The number of a closed file is given to the next one, which would lose the block that a late read takes.
    for _ in range(20):
        slow = SlowFile(b"user,item\n" + b"1,2\n" * 1_000_000)
        with ReadAhead(slow) as ahead:
            assert pa_csv.open_csv(ahead).schema.names == ["user", "item"]
        begun, ended = slow.reads
        assert begun == ended
        time.sleep(0.02)
        assert slow.reads == [begun, ended]


def text_of(size: int, kind: pa.DataType, width: type) -> pa.Array:
    """A cell of `size` zero bytes that no memory is taken for, as nothing is written there."""
    offsets = pa.py_buffer(np.array([0, size], width))
    return pa.Array.from_buffers(kind, 1, [None, offsets, pa.py_buffer(np.zeros(size, np.uint8))])


@pytest.mark.parametrize(
    "column",
    [
        pa.chunked_array([text_of(2**30, pa.string(), np.int32)] * 2),
        text_of(2**31, pa.large_string(), np.int64),
    ],
)
def test_more_text_than_fits_a_column_is_refused(column: pa.Array | pa.ChunkedArray) -> None:
    with pytest.raises(InputError, match=r"^log: column 'note' holds more than 2 GB of text, .*; read fewer rows\.$"):
        as_text(column, "note", "log")


def test_one_chunk_is_not_copied() -> None:
    cells = pa.array(["one", "two"])
    whole = joined_chunks(pa.chunked_array([cells]), "note", "log")
    assert [buffer and buffer.address for buffer in whole.buffers()] == [b and b.address for b in cells.buffers()]
    parts = pa.chunked_array([cells, pa.array(["three"])])
    assert joined_chunks(parts, "note", "log").to_pylist() == ["one", "two", "three"]
    assert len(joined_chunks(pa.chunked_array([], pa.string()), "note", "log")) == 0


@pytest.mark.parametrize(
    ("shape", "head", "row", "column"),
    [
        ("netflix_titles", "", "{n},1999,{title}\n", "title"),
        ("retailrocket_properties", "timestamp,itemid,property,value\n", "1,{n},categoryid,{title}\n", "categoryid"),
    ],
)
def test_places_of_a_shape_do_not_keep_its_cells(tmp_path, shape: str, head: str, row: str, column: str) -> None:
    path, rows, title = tmp_path / "titles.csv", 20_000, "x" * 500
    path.write_text(head + "".join(row.format(n=n, title=title) for n in range(rows)))
    layout = PLAIN._replace(format=TableFormat(shape=shape))
    before = pa.total_allocated_bytes()
    part = SHAPES[shape].read(path, [column], layout)
    assert pa.total_allocated_bytes() - before >= rows * len(title)
    part = part.without_cells()
    assert pa.total_allocated_bytes() - before < rows * len(title) / 2
    assert part.places().good[-1] == rows + bool(head)


def test_the_cells_of_a_file_are_freed_before_the_next_one_is_read(tmp_path) -> None:
    rows, size, held = 2_000, 1_000, []

    def read(number: int) -> Part:
        held.append(pa.total_allocated_bytes() - before)
        cells = {"note": pa.array([f" {number} {n} " + size * "x" for n in range(rows)])}
        return Part(tmp_path / f"{number}.csv", cells, lambda: Places(range(1, rows + 1)))

    before = pa.total_allocated_bytes()
    table = make_table(tmp_path / "*.csv", (read(number) for number in range(3)))
    texts = [1.0 * number * rows * size for number in range(3)]  # bytes of the trimmed cells of the files before
    assert all(text <= found < text + rows * size / 2 for text, found in zip(texts, held, strict=True))
    assert len(table) == 3 * rows and table.cells["note"][rows].as_py().startswith("1 0 x")
