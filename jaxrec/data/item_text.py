"""The item table, the text of each item for the encoder, and the catalogue in its final order."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

from jaxrec.checks import InputError, suggest
from jaxrec.config.files import IdRules
from jaxrec.data.ids import EXAMPLES, repair
from jaxrec.data.log import Catalogue, counted
from jaxrec.foreign import quoted

PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
AS_READ = IdRules()
KEPT = 500  # characters of a text in a policy's folder, from which reasons take words
REVIEWS = "reviews"  # name in a template of the reviews of an item, if the log has them


@dataclasses.dataclass(frozen=True)
class ItemTable:
    """Items in the order of their file: columns of text that a template may name; `title` is one of them."""

    name: str  # of the file, for messages
    ids: tuple[str, ...]
    columns: Mapping[str, Sequence[str]]  # one text per item
    as_read: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)  # where `columns` was changed since
    left_out: frozenset[str] = frozenset()  # ids of which no row passes `data.item_where`


def placeholders(template: str) -> list[tuple[str, str | None]]:
    """Split a template such as '{title}. {genres}' into (literal text, column or None) pairs.

    A column may have any name without braces, {class:token_seq} too. Doubled braces are braces of the text.
    """
    parts, literal, end = [], "", 0
    for found in PLACE.finditer(template):
        literal += template[end : found.start()]
        end = found.end()
        if found[0] in ("{{", "}}"):
            literal += found[0][0]
        elif not found[1]:
            raise InputError(
                f"data.text: {quoted(template)} is not a template; write columns as {{title}}, braces doubled."
            )
        else:
            parts.append((literal, found[1]))
            literal = ""
    literal += template[end:]
    return [*parts, (literal, None)] if literal else parts


def columns_of(template: str) -> list[str]:
    """Columns that a template names, each once."""
    return list(dict.fromkeys(field for _, field in placeholders(template) if field is not None))


def check_template(template: str, known: Sequence[str], where: str) -> None:
    """Raise InputError unless the template names at least one column, and only columns in `known`."""
    names = columns_of(template)
    if not names:
        raise InputError(
            f"data.text: {quoted(template)} names no column, so all items would have one text; add {{title}}."
        )
    for name in names:
        if name not in known:
            raise InputError(
                f"data.text: no column {quoted(name)} in {where}{suggest(name, known)}; correct the template "
                f"(columns: {', '.join(known)})."
            )


def build_catalogue(
    ids_in_log: Sequence[str],
    items: ItemTable,
    template: str,
    reviews: Mapping[str, str],
    rules: IdRules = AS_READ,
    untouched: bool = False,
) -> tuple[Catalogue, list[int], list[str]]:
    """Build the catalogue of the items in the log, the catalogue row of each id, and lines for the account.

    The order is that of the item table. Items missing from it follow by first appearance in the log; their id is
    their title and, if `reviews` has none for them, their text. An item without a title has its id as title. With
    `untouched`, the other items of the item table come last.
    """
    row_of: dict[str, int] = {}
    for row, item in enumerate(items.ids):
        row_of.setdefault(item, row)
    known = sorted(row_of[item] for item in ids_in_log if item in row_of)
    missing = [item for item in ids_in_log if item not in row_of]
    unused = sorted(row_of[item] for item in row_of.keys() - set(ids_in_log)) if untouched else []
    rows: list[int | None] = [*known, *(None for _ in missing), *unused]
    ids = [items.ids[row] for row in known] + missing + [items.ids[row] for row in unused]
    titles = [item if row is None else items.columns["title"][row] or item for item, row in zip(ids, rows, strict=True)]
    cells = [_cells(items, *entry) for entry in zip(rows, titles, map(reviews.get, ids), strict=True)]
    parts = placeholders(template)
    texts = [_render(parts, some) if some else title for some, title in zip(cells, titles, strict=True)]
    fields = {name: tuple(some.get(name, "") for some in cells) for name in columns_of(template)}
    place = {item: n for n, item in enumerate(ids)}
    account = []
    if len(row_of) < len(items.ids):
        repeated = counted(len(items.ids) - len(row_of), "repeated id")
        account.append(f"{items.name}: {repeated}, the first row of each is kept")
    if missing and row_of:
        absent = counted(len(missing), "item")
        few = ", ".join(missing[:EXAMPLES]) + (", ..." if len(missing) > EXAMPLES else "")
        mend = repair(missing, row_of.keys() - set(ids_in_log), rules)
        advice = f"; {mend} finds some of them" if mend else ""
        account.append(f"{items.name}: {absent} of the log missing ({few}); the id is used as title and text{advice}")
    if len(row_of) > len(known):
        rest = f"{counted(len(row_of) - len(known), 'item')} without a row in the log"
        kept = f"kept {rest}, of which only text and features are known (data.min_item_ratings=0)"
        account.append(f"{items.name}: {kept if untouched else f'left out {rest}'}")
    catalogue = Catalogue(tuple(ids), tuple(titles), tuple(texts), fields)
    return catalogue, [place[item] for item in ids_in_log], account


def texts_without(catalogue: Catalogue, template: str, field: str) -> list[str]:
    """Give the texts of `template` without a column and the words before it; if nothing remains, the whole text."""
    parts = [(literal, name) for literal, name in placeholders(template) if name != field]
    texts = []
    for whole, cells in zip(catalogue.texts, zip(*catalogue.fields.values(), strict=True), strict=True):
        present = {name: cell for name, cell in zip(catalogue.fields, cells, strict=True) if name != field and cell}
        texts.append(_render(parts, present).lstrip(" ,.;:") if present else whole)
    return texts


def _cells(items: ItemTable, row: int | None, title: str, reviews: str | None) -> dict[str, str]:
    """Values of a template's columns for one item; empty if the item has neither a row in the table nor reviews."""
    if row is None and not reviews:
        return {}
    cells = {} if row is None else {name: column[row] for name, column in items.columns.items()}
    return cells | ({"title": title} if reviews is None else {"title": title, REVIEWS: reviews})


def _render(parts: Sequence[tuple[str, str | None]], cells: Mapping[str, str]) -> str:
    """Fill in the template."""
    text = "".join(literal + ("" if field is None else cells.get(field, "")) for literal, field in parts)
    return " ".join(text.split())


def texts_to_keep(template: str, catalogue: Catalogue) -> list[str]:
    """Beginnings of the texts for a policy's folder; none if they are the titles, or hold what users wrote.

    A text ends with a whole word. Reviews are of people, so they stay with the log.
    """
    if catalogue.texts == catalogue.titles or any(name == REVIEWS for _, name in placeholders(template)):
        return []
    beginnings = ((text, text[: KEPT + 1]) for text in catalogue.texts)
    return [text if len(text) <= KEPT else (some.rsplit(maxsplit=1) or [""])[0][:KEPT] for text, some in beginnings]
