"""Awkward logs: each is the right table, checked cell by cell, or one line that says what, where and which setting."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
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
from tests.data.awkward import COLUMNS, LIKED, Case
from tests.data.awkward_cells import ANSWERS, DATES
from tests.data.awkward_dumps import NAMES, TYPES
from tests.data.awkward_exports import DOWNLOADS, FRAMES, JOINED, SHEETS
from tests.data.awkward_files import QUOTES, SHAPES
from tests.data.awkward_texts import TEXTS
from tests.data.awkward_values import CLOCKS, IDS
from tests.data.awkward_words import WORDS

CASES = (
    *(*QUOTES, *SHAPES, *IDS, *CLOCKS, *WORDS, *TEXTS, *JOINED, *SHEETS, *FRAMES, *DOWNLOADS),
    *(*NAMES, *TYPES, *DATES, *ANSWERS),
)


def load(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write the files of a case and read them with its recipe."""
    monkeypatch.setenv("JAXREC_USER_KEY", "k" * 32)
    settings = {"source": "files", "path": str(folder), "columns": COLUMNS, "feedback": LIKED, **case.settings}
    log_file = settings.get("log_file", "log.csv")
    written = {**({} if "*" in log_file else {log_file: case.log}), **case.others}  # parts are all in `others`
    if case.items is not None:
        written[settings.setdefault("item_file", "items.csv")] = case.items
    else:
        settings["item_file"] = ""
    for name, content in written.items():
        (folder / name).parent.mkdir(exist_ok=True)
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
    assert len({case.name for case in CASES}) == len(CASES) >= 300


@pytest.mark.parametrize("kind", ["a link to nothing", "a pipe"])
def test_what_is_no_file_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    os.mkfifo(path) if kind == "a pipe" else path.symlink_to("nowhere.csv")
    with pytest.raises(InputError, match=r"log\.csv: is a link to nothing, a pipe or a device; .* data\.log_file"):
        load_dataset(DataConfig(source="files", path=str(tmp_path), item_file=""), 0)


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
