"""The depth of JSON is bounded before it is parsed."""

import json
import time
from pathlib import Path

import pytest

from jaxrec.bounded import JSON_DEPTH, parse_json
from jaxrec.checks import InputError
from jaxrec.storage.files import read_json


def nested(levels: int, open_: str = "[", close: str = "]") -> str:
    return open_ * levels + "1" + close * levels


@pytest.mark.parametrize(("open_", "close"), [("[", "]"), ('{"a":', "}"), ('[{"[":', "}]")])
def test_levels_up_to_the_bound_are_read_and_more_are_refused(open_: str, close: str) -> None:
    each = sum(open_.replace('"["', "").count(one) for one in "[{")
    allowed = nested(JSON_DEPTH // each, open_, close)
    assert parse_json(allowed) == parse_json(allowed.encode()) == json.loads(allowed)
    with pytest.raises(InputError, match="more than 100 levels"):
        parse_json(nested(JSON_DEPTH // each + 1, open_, close))


def test_brackets_side_by_side_and_in_texts_are_no_levels() -> None:
    for value in ([[]] * 1_000, ["[{" * 1_000, 'a "quoted" [' * 200, "\\"], {"[" * 200: "\n["}):
        assert parse_json(json.dumps(value)) == value


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * 101 + '"' + '\\"' * 10**6, "[" * 10**7])
def test_what_is_deep_or_has_no_end_is_refused_at_once_whatever_follows(text: str) -> None:
    started = time.perf_counter()
    with pytest.raises(ValueError):
        parse_json(text)
    assert time.perf_counter() - started < 5


def test_a_text_that_never_ends_is_read_once() -> None:
    text = '["' + '\\"[' * 10**6  # each quote in it would begin a text of its own
    started = time.perf_counter()
    with pytest.raises(json.JSONDecodeError):
        parse_json(text)
    assert time.perf_counter() - started < 5


def test_a_deep_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(InputError) as caught:
        read_json(path, "write it again")
    assert str(caught.value) == f"{path}: more than 100 levels of lists and objects; write it again."
