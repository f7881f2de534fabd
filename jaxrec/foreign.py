"""Text of others, such as titles, ids, column and file names, on its way to a terminal or into a message.

A terminal obeys what it prints: an escape sequence in a title could hide lines, rename the window or answer for the
user. So characters that are not shown as themselves are replaced by their escapes, in one place.
"""

import re
import reprlib
from typing import Any

# C0 and C1 controls but for tab and line feed, ends of lines in Unicode, overrides and isolates of direction, halves of
# escaped characters, marks of byte order and of annotation, and invisible tags.
HIDDEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
QUOTED, MESSAGE = 80, 900  # characters of a quoted value, and of a whole message
WORD = 200  # characters of a path in a message that would be too long
LONG_WORD = re.compile(rf"\S{{{WORD + 1},}}")
LONGEST_INTEGER = 64  # bits; Python refuses to print whole numbers of more than 4,300 digits


def visible(text: str) -> str:
    r"""Replace hidden characters by escapes such as \u001b, which are also those of JSON."""
    return HIDDEN.sub(lambda found: escaped(found[0]), text)


def one_line(message: str) -> str:
    """Make a message one line of visible characters; the middle of a very long one is left out."""
    text = visible(" ".join(str(message).split("\n")).replace("\t", " "))
    if len(text) <= MESSAGE:
        return text
    text = LONG_WORD.sub(lambda word: f"{word[0][: WORD // 2]}...{word[0][-WORD // 2 :]}", text)
    if len(text) <= MESSAGE:
        return text
    half = MESSAGE // 2
    return f"{text[:half]} ... [{len(text) - 2 * half:,} characters] ... {text[-half:]}"


def quoted(value: Any) -> str:
    """Quote a value of any size for a message: the beginning of its `repr`."""
    text = _SHORT.repr(value)
    return text if len(text) <= QUOTED else f"{text[: QUOTED - 4]} ..."


def shape_of(cell: str) -> str:
    """Show in a message how a cell with the id of a user is written."""
    return f"private ({shape(cell)})"


def shape(cell: str) -> str:
    """How a cell is written and not what it says: letters as x, digits as 9, leading zeros as they are."""
    cell = cell[: QUOTED // 2]
    rest = cell.lstrip("0")
    shown = "".join("9" if one.isdigit() else "x" if one.isalpha() else one for one in rest)
    return "0" * (len(cell) - len(rest)) + shown


def escaped(text: str) -> str:
    """Escapes of characters, as JSON has them: two for those beyond 16 bits."""
    units = text.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n]:02x}{units[n + 1]:02x}" for n in range(0, len(units), 2))


class _Short(reprlib.Repr):
    """`repr` that reads only the beginning of a value."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxlist, self.maxtuple, self.maxdict, self.maxset = 3, 4, 4, 4, 4
        self.maxother = QUOTED

    def repr_str(self, x: str, level: int) -> str:
        return repr(x) if len(x) <= QUOTED else f"{x[: QUOTED // 2]!r}... of {len(x):,} characters"

    def repr_bytes(self, x: bytes, level: int) -> str:
        return repr(x[:QUOTED])

    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if x.bit_length() <= LONGEST_INTEGER else f"a whole number of {x.bit_length():,} bits"


_SHORT = _Short()
