"""Schemas of JSON files: what is accepted, and the one line that says what is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from jaxrec.checks import InputError
from jaxrec.storage.files import read_json, write_json
from jaxrec.storage.run import RunFolder, rows_of
from jaxrec.storage.schema import Check, Misfit, either, listed, maybe, named, number, record, text, texts, whole
from jaxrec.storage.schemas import check_description

SHOP = record({"id": text, "size": whole(0, 9)}, {"prices": listed(number(0), 1, 3)})


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (SHOP, {"id": "a", "size": 9}),
        (SHOP, {"id": "a", "size": 0, "prices": [1, 2.5], "more": {"of": "later versions"}}),
        (named(maybe(number())), {"a": None, "b": -1.5}),
        (either((str, text), (int, number())), 3),
        (texts(), ["a", "é"]),
    ],
)
def test_what_fits_is_accepted(check: Check, value: Any) -> None:
    check(value, "")


@pytest.mark.parametrize(
    ("check", "value", "says"),
    [
        (SHOP, [], "the top: expected an object, got []"),
        (SHOP, {"id": "a"}, "the top: expected a field 'size', got ['id']"),
        (SHOP, {"id": 3, "size": 1}, "id: expected a text, got 3"),
        (SHOP, {"id": "a", "size": True}, "size: expected a whole number from 0 to 9, got True"),
        (
            SHOP,
            {"id": "a", "size": 10**30},
            "size: expected a whole number from 0 to 9, got a whole number of 100 bits",
        ),
        (SHOP, {"id": "a", "size": 1, "prices": []}, "prices: expected a list of 1 to 3 values, got '0 values'"),
        (SHOP, {"id": "a", "size": 1, "prices": [1, float("nan")]}, "prices[1]: expected a finite number"),
        (SHOP, {"id": "a", "size": 1, "prices": [10**400]}, "prices[0]: expected a finite number"),
        (named(text), {"\ud800": "x"}, "whole characters"),
        (texts(), ["a", 1], "[1]: expected a text, got 1"),
        (texts(), ["a", "\udc00"], "[1]: expected a text of whole characters"),
        (either((str, text), (int, number())), None, "expected str or int, got None"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(check: Check, value: Any, says: str) -> None:
    with pytest.raises(Misfit) as caught:
        check(value, "")
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_files_are_checked_by_their_name(tmp_path: Path) -> None:
    write_json(tmp_path / "items.json", {"ids": ["1", "2"], "titles": ["a"]})
    with pytest.raises(InputError, match=r"items.json: damaged \(titles: .* one for each id.*; copy it again\."):
        read_json(tmp_path / "items.json", "copy it again")
    write_json(tmp_path / "other.json", {"ids": 3})
    assert read_json(tmp_path / "other.json", "copy it again") == {"ids": 3}


def test_a_file_is_bounded_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text("1" * 100)
    with pytest.raises(InputError, match=r"other.json: 100 bytes, expected at most 50; make it again\."):
        read_json(path, "make it again", most=50)
    with pytest.raises(InputError, match="is a pipe or a device"):
        read_json(Path("/dev/zero"), "make it again")


def test_the_schemas_accept_what_a_run_writes(tiny_run: Path) -> None:
    found = [
        path for path in tiny_run.rglob("*.json") if "arrays" not in path.parts and "checkpoints" not in path.parts
    ]
    assert len(found) >= 7
    for path in found:
        value = read_json(path, "make it again")
        if path.name == "description.json":
            check_description(path, value)
    for name in ("metrics.jsonl", "timings.jsonl"):
        assert [json.loads(line) for line, _ in rows_of(tiny_run / name)]


def test_a_last_row_that_was_cut_off_is_left_out_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run", "seed: 0\n")
    run.metrics.write_text('{"step": 1, "loss": null}\n{"step": 2, "lo')
    assert [row for _, row in rows_of(run.metrics)] == [{"step": 1, "loss": None}]
    run.metrics.write_text('{"step": 1}\n{"step": 2, "lo\n{"step": 3}\n')
    with pytest.raises(InputError, match=r"metrics.jsonl line 2: damaged .*; remove this line and those after it"):
        list(rows_of(run.metrics))
