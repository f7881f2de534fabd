"""Tell a line of column names from a line of data, and find separators that the recipe does not name."""

from collections.abc import Sequence
from pathlib import Path

from jaxrec.checks import InputError
from jaxrec.data.layout import Layout, utf8_bytes
from jaxrec.data.quotes import DATUM
from jaxrec.foreign import shape

JSON = ('{"', "{'", '[{"', "[{'")  # how an object begins
LINES = 100  # in which names may follow a title or comments
OTHERS = {";": "semicolon", "\t": "tab", "|": "pipe", "::": "::", ",": "comma"}  # separators as a recipe writes them


def check_header(file: Path, names: Sequence[str], wanted: Sequence[str], layout: Layout) -> None:
    """Raise InputError if the first line is data: it holds numbers or dates, and a wanted column is none of its cells.

    A recipe that names a cell of the data as a column is refused as well, because that row would be lost.
    """
    cells = [name.strip() for name in names]
    if not wanted or cells in ([str(n + first) for n in range(len(cells))] for first in (0, 1)):
        return  # a data frame whose columns have no names writes their numbers
    data = [cell for cell in cells if DATUM.fullmatch(cell)]
    strong = len(data) > 1 or any(len(cell) > 4 for cell in data)
    missing = any(name not in cells for name in wanted)
    named = [name for name in wanted if DATUM.fullmatch(name)]
    if not data or not ((strong and missing) or len(named) > 1 or any(len(name) > 4 for name in named)):
        return
    shown = ", ".join(repr(shape(cell[:20])) for cell in cells[:6])  # one of them may be the id of a user
    count = f"all {len(cells)} columns in order"
    mend = layout.advice(f"columns=[user, item, ...] to the names of {count}") or "; add a line of column names"
    raise InputError(f"{file} line 1: no header line, since cells like {shown} look like data{mend}.")


def refuse_json(file: Path, first: str, layout: Layout) -> None:
    """Raise InputError if the first cell of a file with separators begins an object of JSON."""
    if first.startswith(JSON) and not layout.format.columns:
        raise InputError(
            f"{file} line 1: JSON in place of column names; let its name end in .jsonl, or in .json if it is one array."
        )


def separator_advice(names: Sequence[str], layout: Layout) -> str:
    """Give '; set ...' if the only column holds another separator."""
    if len(names) != 1 or not layout.setting:
        return ""
    count, found = max((names[0].count(other), other) for other in OTHERS)
    if "::" in names[0]:
        found = "::"
    return layout.advice(f"separator={OTHERS[found]} if that separates the cells") if count else ""


def names_advice(file: Path, names: Sequence[str], wanted: Sequence[str], layout: Layout) -> str:
    """Give what mends a line of which no cell is a wanted name: it is a row, or it stands above the names."""
    with utf8_bytes(file, layout) as raw:
        lines = raw.read(2**16).decode(errors="replace").splitlines()[:LINES]
    if found := next((n for n, line in enumerate(lines, 1) if n > 1 and all(name in line for name in wanted)), 0):
        return f"; line {found} has these names, so remove what stands above it"
    if len(names) > 1:
        return f"; if these are cells of a row, name the columns with {layout.setting}.columns"
    return f"; remove lines above the names, or set {layout.setting}.separator to what is between cells"
