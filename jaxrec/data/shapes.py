"""Public files that are no tables: each shape turns one into columns of text. `data.files.*.shape` names it."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from jaxrec.checks import InputError
from jaxrec.data import delimited
from jaxrec.data.cells import Part, Places, compute, first_line, joined_chunks
from jaxrec.data.layout import Layout, check_encoding, utf8_bytes
from jaxrec.data.log import listed
from jaxrec.foreign import quoted

NO_SEPARATOR = "\x1f"  # in no line, so that a line is one cell
GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
BOOKS = (
    *("ISBN", "Book-Title", "Book-Author", "Year-Of-Publication", "Publisher"),
    *("Image-URL-S", "Image-URL-M", "Image-URL-L"),
)
BOOK_RATINGS = ("User-ID", "ISBN", "Book-Rating")
BANDIT_USER = tuple(f"user_feature_{n}" for n in range(4))


PROPERTIES = ("itemid", "property", "value")


class Shape(NamedTuple):
    """How to read a file of this shape."""

    names: Callable[[Path, Layout, Sequence[str]], list[str]]  # path, layout, wanted columns
    read: Callable[[Path, list[str], Layout], Part]


class Rows(NamedTuple):
    """The rows in the lines of a file."""

    cells: dict[str, pa.Array]  # [R] text
    line: np.ndarray  # [R] line of each row, from 0
    malformed: np.ndarray  # lines that hold no row


def of_lines(columns: Sequence[str], rows: Callable[[pa.Array], Rows]) -> Shape:
    """Give the shape whose rows are made from the lines of a file."""
    return Shape(lambda path, layout, wanted: list(columns), functools.partial(_read_lines, rows=rows))


def _read_lines(path: Path, wanted: list[str], layout: Layout, rows: Callable[[pa.Array], Rows]) -> Part:
    found = rows(_lines(path, layout))
    line, malformed = found.line, found.malformed  # what `places` holds stays in memory, so it must not hold the cells

    def places() -> Places:
        return Places((line + 1).tolist(), (malformed + 1).tolist())

    cells = {name: found.cells[name] for name in wanted}
    return Part(path, cells, places, len(malformed), f"not of the form of {layout.format.shape}")


def _lines(path: Path, layout: Layout) -> pa.Array:
    """Read the lines [N] of a file, empty ones too."""
    form = {
        "read_options": pa_csv.ReadOptions(column_names=["line"]),
        "parse_options": pa_csv.ParseOptions(delimiter=NO_SEPARATOR, quote_char=False, ignore_empty_lines=False),
        "convert_options": pa_csv.ConvertOptions(column_types={"line": pa.string()}, strings_can_be_null=False),
    }
    try:
        with utf8_bytes(path, layout) as file:
            lines = pa_csv.read_csv(file, **form).column("line")
    except (pa.ArrowInvalid, UnicodeError) as error:
        check_encoding(path, layout)
        raise InputError(f"{path}: cannot be read as lines ({first_line(error)}); get the file again.") from None
    return joined_chunks(lines, "line", str(path))


def _split(lines: pa.Array, by: str, names: Sequence[str], most: int | None = None) -> Rows:
    """Split lines into as many cells as there are names; empty lines are no rows."""
    cells = compute.split_pattern(lines, by, max_splits=most)
    whole = compute.equal(compute.list_value_length(cells), len(names)).to_numpy(zero_copy_only=False)
    empty = compute.equal(lines, "").to_numpy(zero_copy_only=False)
    kept = cells.filter(pa.array(whole & ~empty))
    columns = {name: compute.list_element(kept, n) for n, name in enumerate(names)}
    return Rows(columns, np.flatnonzero(whole & ~empty), np.flatnonzero(~whole & ~empty))


def _mind(lines: pa.Array) -> Rows:
    """MIND: one line per impression; its last cell lists what was shown, as N1-1 if it was clicked and N2-0 if not."""
    read = _split(lines, "\t", ("impression", "user", "time", "history", "shown"))
    shown = compute.split_pattern_regex(read.cells["shown"], " +")
    start = np.r_[0, np.cumsum(compute.list_value_length(shown).to_numpy())]
    parent, one = compute.list_parent_indices(shown), compute.list_flatten(shown)
    good = compute.match_substring_regex(one, "^.+-[01]$").to_numpy(zero_copy_only=False)
    place = np.arange(len(one)) - start[parent.to_numpy()]
    line = read.line[parent.to_numpy()]
    parent, one = parent.filter(pa.array(good)), one.filter(pa.array(good))
    cells = {name: read.cells[name].take(parent) for name in ("impression", "user", "time")}
    cells["item"], cells["clicked"] = compute.utf8_slice_codeunits(one, 0, -2), compute.utf8_slice_codeunits(one, -1)
    cells["position"] = compute.cast(pa.array(place[good]), pa.string())
    return Rows(cells, line[good], np.sort(np.r_[read.malformed, line[~good]]))


def _netflix(lines: pa.Array) -> Rows:
    """Netflix: a line '7:' with a movie, and after it a line of customer, rating and date for each of its ratings."""
    movie = compute.match_substring_regex(lines, r"^\d+:\s*$").to_numpy(zero_copy_only=False)
    names = compute.replace_substring_regex(lines.filter(pa.array(movie)), r":\s*$", "")
    number = np.cumsum(movie) - 1  # of the movie that a line is about; -1: of none
    orphans = (number < 0) & compute.not_equal(lines, "").to_numpy(zero_copy_only=False)
    read = _split(compute.if_else(pa.array(movie | orphans), "", lines), ",", ("customer", "rating", "date"))
    cells = {"movie": names.take(pa.array(number[read.line])), **read.cells}
    return Rows(cells, read.line, np.sort(np.r_[read.malformed, np.flatnonzero(orphans)]))


def _movielens_100k(lines: pa.Array) -> Rows:
    """u.item: a movie, its dates and its address, and a 0 or 1 for each genre; genres become 'Action|Comedy'."""
    read = _split(lines, "|", ("item", "title", "released", "video", "url", *GENRES))
    flags = [[genre if flag == "1" else "" for flag in read.cells[genre].to_pylist()] for genre in GENRES[1:]]
    genres = ["|".join(filter(None, row)) for row in zip(*flags, strict=True)]
    cells = {name: read.cells[name] for name in ("item", "title", "released", "url")}
    return Rows({**cells, "genres": pa.array(genres, pa.string())}, read.line, read.malformed)


def _book_crossing(lines: pa.Array, names: Sequence[str]) -> Rows:
    r"""Book-Crossing: quoted cells in which a quote is \", and that may hold a semicolon. Line 1 has the names."""
    bare = compute.replace_substring_regex(lines, r'^"|"\s*$', "")
    read = _split(bare, '";"', names)
    kept = pa.array(read.line > 0)
    cells = {name: compute.replace_substring(text, '\\"', '"').filter(kept) for name, text in read.cells.items()}
    return Rows(cells, read.line[read.line > 0], read.malformed)


def _bandit_names(path: Path, layout: Layout, wanted: Sequence[str]) -> list[str]:
    """Open Bandit: no user ids, so people with the same four features are one user."""
    del wanted
    return [*_with(path, BANDIT_USER, layout), "user"]


def _bandit(path: Path, wanted: list[str], layout: Layout) -> Part:
    asked = list(dict.fromkeys([*(name for name in wanted if name != "user"), *BANDIT_USER]))
    part = delimited.read(path, asked, layout, ",")
    user = compute.binary_join_element_wise(*(part.cells[name] for name in BANDIT_USER), " ")
    cells = {**part.cells, "user": user}
    return dataclasses.replace(part, cells={name: cells[name] for name in wanted})


def _with(path: Path, needed: Sequence[str], layout: Layout) -> list[str]:
    """Read the names of a CSV; raises InputError if one that the shape needs is not among them."""
    names = delimited.names(path, layout, needed, ",")
    for name in needed:
        if name not in names:
            raise InputError(
                f"{path}: no column {quoted(name)}, which files of {layout.setting}.shape={layout.format.shape} have "
                f"(columns: {listed(names)}); name the file as published."
            )
    return names


def _property_names(path: Path, layout: Layout, wanted: Sequence[str]) -> list[str]:
    del wanted
    _with(path, PROPERTIES, layout)
    return ["itemid", "categoryid"]


def _properties(path: Path, wanted: list[str], layout: Layout) -> Part:
    """Retailrocket: a row per item, property and week, of which the category is kept."""
    part = delimited.read(path, list(PROPERTIES), layout, ",")
    kept = compute.equal(part.cells["property"], "categoryid")
    cells = {"itemid": part.cells["itemid"].filter(kept), "categoryid": part.cells["value"].filter(kept)}
    rows, every_place = np.flatnonzero(kept.to_numpy(zero_copy_only=False)), part.places  # `places` must not hold cells

    def places() -> Places:
        every = every_place()
        return every._replace(good=[every.good[row] for row in rows.tolist() if row < len(every.good)])

    return dataclasses.replace(part, cells={name: cells[name] for name in wanted}, places=places)


SHAPES = {
    "mind_impressions": of_lines(("impression", "user", "time", "item", "clicked", "position"), _mind),
    "netflix_ratings": of_lines(("movie", "customer", "rating", "date"), _netflix),
    "netflix_titles": of_lines(
        ("movie", "year", "title"), functools.partial(_split, by=",", names=("movie", "year", "title"), most=2)
    ),
    "movielens_100k": of_lines(("item", "title", "released", "url", "genres"), _movielens_100k),
    "book_crossing_ratings": of_lines(BOOK_RATINGS, functools.partial(_book_crossing, names=BOOK_RATINGS)),
    "book_crossing_books": of_lines(BOOKS, functools.partial(_book_crossing, names=BOOKS)),
    "open_bandit": Shape(_bandit_names, _bandit),
    "retailrocket_properties": Shape(_property_names, _properties),
}
