import json
import re
from pathlib import Path

import pytest

import jaxrec
from jaxrec.checks import InputError, check_name, check_range, suggest
from jaxrec.foreign import MESSAGE, QUOTED, one_line, quoted, shape, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Amélie 愛 🎬\ttab\n", "Amélie 愛 🎬\ttab\n"),
        ("\x1b[31m", "\\u001b[31m"),
        ("\x1b]0;owned\x07", "\\u001b]0;owned\\u0007"),
        ("\x9b2J\x00\r\x7f", "\\u009b2J\\u0000\\u000d\\u007f"),
        ("\u202egnp.exe\u2066", "\\u202egnp.exe\\u2066"),
        ("\ud800\U000e0041", "\\ud800\\udb40\\udc41"),
        ("\u200fשלום", "\u200fשלום"),  # a mark that hides nothing
    ],
)
def test_what_a_terminal_would_obey_is_shown_as_an_escape_of_json(text: str, shown: str) -> None:
    assert visible(text) == shown
    if shown.startswith("\\u"):
        assert json.loads(f'"{shown}"') == text


def test_a_message_is_one_line_of_bounded_length() -> None:
    assert one_line("a\nb\tc\x1b") == "a b c\\u001b"
    long = one_line("begin " + "word " * 10_000 + "end")
    assert len(long) < MESSAGE + 50 and long.startswith("begin") and long.endswith("end")
    path = one_line(f"{'d/' * 5000}: too long; shorten it.")
    assert len(path) < MESSAGE and path.endswith(": too long; shorten it.")


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10**6,
        10**5000,
        -(10**5000),
        [[[[[[1] * 9] * 9] * 9] * 9] * 9],
        {"a": {"b": {"c": {"d": ["e"] * 10**5}}}},
        b"x" * 10**6,
        {str(n): n for n in range(10**5)},
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_value_is_quoted_in_few_characters(value: object) -> None:
    assert len(quoted(value)) <= QUOTED


def test_usual_values_are_quoted_as_python_writes_them() -> None:
    for value in ("a'b", 12, 1.5, None, True, [1, 2], {"a": 1}, "x" * 60):
        assert quoted(value) == repr(value)


def test_a_private_cell_shows_how_it_is_written() -> None:
    assert shape("Ann.0x7@example.org") == "xxx.9x9@xxxxxxx.xxx" and shape("0042") == "0099" and shape("") == ""


def test_errors_are_one_safe_line_wherever_they_arise() -> None:
    error = InputError("a\n  b \x1b[2J" + "x" * 10**6)
    assert "\n" not in str(error) and "\x1b" not in str(error) and len(str(error)) < MESSAGE + 50
    with pytest.raises(InputError, match="of 100,000 characters"):
        check_name("env.name", "x" * 100_000, ["logged"])
    with pytest.raises(InputError, match="bits"):
        check_range("seed", 10**300, 0, 1)
    assert suggest("x" * 10**6, ["x" * 10**6 + "y"]) == ""


# Names that the program or the programmer gives: constants, registered names, fields of schemas.
OURS = {
    "__init__.py": {"name"},
    "config/users.py": {"name"},
    "data/generated.py": {"FEEDBACK"},
    "encoder/layout.py": {"used[0]"},
    "encoder/settings.py": {"_ONLY[name][0]"},
    "envs/randomize.py": {"env.spec.name"},
    "foreign.py": {"x[: QUOTED // 2]"},
    "learn/registry.py": {"name"},
    "runs/users/registry.py": {"name"},
    "storage/files.py": {"found[0]"},
    "storage/schema.py": {"name"},
    "supervised/response.py": {"FORMAT"},
    "supervised/simple.py": {"name"},
}


def test_messages_quote_what_others_wrote_by_the_one_function_that_shortens_it() -> None:
    root = Path(jaxrec.__file__).parent
    found = {str(path.relative_to(root)): re.findall(r"\{([^{}]+)!r", path.read_text()) for path in root.rglob("*.py")}
    assert {name: set(values) for name, values in found.items() if values} == OURS
