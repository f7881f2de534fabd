import time

import pytest
import yaml

from jaxrec.checks import InputError
from jaxrec.config.safe_yaml import DEPTH, VALUES, load_yaml


def bomb(levels: int) -> str:
    return "\n".join(["a0: &a0 [x]", *(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]" for n in range(levels))])


def test_usual_yaml_is_read_as_before() -> None:
    assert load_yaml("a: &x [1, 2.5, yes, ~, text]\nb: *x\nc: {<<: {d: 1}, e: 0x10}") == {
        "a": [1, 2.5, True, None, "text"],
        "b": [1, 2.5, True, None, "text"],
        "c": {"d": 1, "e": 16},
    }


def test_dates_stay_text() -> None:
    assert load_yaml("[2024-01-31, 2024-01-31 10:00:00]") == ["2024-01-31", "2024-01-31 10:00:00"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (bomb(8), f"more than {VALUES:,} values"),
        (bomb(200), "values"),
        ("[" * 100_000, f"line 1: more than {DEPTH} levels"),
        ("a: &a {b: *a}", "stands for something that holds it"),
        ("a: 1\nb: " + "9" * 5000, "line 2: a number of 5,000 characters, expected at most 64"),
        ("a: " + "x" * 50_000, "a value of 50,000 characters"),
        ("a: 1\nb: !!int abc", "line 2: 'abc' is no int"),
        ("a: 1\na: 2", "line 2: key 'a' is given twice"),
    ],
    ids=lambda value: value[:20],
)
def test_what_grows_nests_or_lies_is_refused_at_once(text: str, says: str) -> None:
    started = time.perf_counter()
    with pytest.raises(InputError) as caught:
        load_yaml(text)
    assert says in str(caught.value) and time.perf_counter() - started < 5


def test_the_bounds_themselves_are_allowed() -> None:
    assert load_yaml("[" * DEPTH + "]" * DEPTH)
    assert len(load_yaml("[" + "1, " * (VALUES - 2) + "1]")) == VALUES - 1
    with pytest.raises(yaml.YAMLError):
        load_yaml("a: [1")
