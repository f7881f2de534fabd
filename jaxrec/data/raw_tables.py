"""The tables of a recipe as cells of text, before rows become numbers: for findings about their columns."""

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from jaxrec.config.completed import completed
from jaxrec.config.data import Columns, DataConfig
from jaxrec.data.choose import filter_columns
from jaxrec.data.context import context_columns
from jaxrec.data.item_features import feature_columns
from jaxrec.data.item_text import columns_of
from jaxrec.data.layout import Layout
from jaxrec.data.paths import data_folder
from jaxrec.data.readers import derived_columns, item_columns
from jaxrec.data.rows import LOG_FORMAT, log_columns
from jaxrec.data.table import Table, check_columns, header, read_table
from jaxrec.data.tfds import read_tables


class RawTable(NamedTuple):
    """One table of a recipe; only `read` takes time and memory."""

    kind: str  # log, items or users
    name: str  # of the file
    uses: Mapping[str, str]  # column by the setting that asks for it
    id_columns: Mapping[str, str]  # 'user' and 'item', as far as the table has them
    unused: tuple[str, ...]  # columns that no setting asks for
    read: Callable[[], Table]
    decimal_comma: bool = False


def raw_tables(config: DataConfig) -> Iterator[RawTable]:
    """Give the tables that the recipe reads, the log first; none for a generated log."""
    if config.source == "generated":
        return iter(())
    return _tfds(config) if config.source == "tfds" else _files(completed(config))


def _files(config: DataConfig) -> Iterator[RawTable]:
    folder, columns, files = data_folder(config.path), config.columns, config.files
    of_users: list[str] = []
    users = folder / config.user_file, Layout(files.users, "data.files.users")
    if config.user_file:
        of_users = header(users[0], "data.user_file", users[1], [columns.user_id])
    yield _log(folder / config.log_file, columns, config, of_users, Layout(files.log, LOG_FORMAT))
    if config.item_file:
        yield _items(folder / config.item_file, columns, config, Layout(files.items, "data.files.items"))
    if config.user_file:
        context = {s: c for s, c in context_columns(config, columns).items() if c in of_users}
        uses = {"data.columns.user_id": columns.user_id, **context}
        yield _table("users", users[0], uses, {"user": columns.user_id}, of_users, users[1])


def _tfds(config: DataConfig) -> Iterator[RawTable]:
    log, items = read_tables(config)
    columns = config.columns
    ids = {"user": columns.user, "item": columns.item}
    yield RawTable("log", log.path.name, log_columns(columns, config), ids, (), lambda: log)
    if items is not None:
        uses = _item_uses(columns, config, list(items.cells))
        yield RawTable("items", items.path.name, uses, {"item": columns.item_id}, (), lambda: items)


def _log(path: Path, columns: Columns, config: DataConfig, of_users: list[str], layout: Layout) -> RawTable:
    asked = log_columns(columns, config)
    wanted = {s: c for s, c in asked.items() if not (s.startswith("data.context[") and c in of_users)}
    names = header(path, "data.log_file", layout, wanted.values())
    check_columns(path, names, wanted, layout)
    return _table("log", path, wanted, {"user": columns.user, "item": columns.item}, names, layout)


def _items(path: Path, columns: Columns, config: DataConfig, layout: Layout) -> RawTable:
    names = header(path, "data.item_file", layout, [columns.item_id])
    derived = (*(("tags",) if config.source == "movielens" else ()), *derived_columns(config))
    item_columns(path, names, columns, config, derived, layout)  # for its errors
    uses = _item_uses(columns, config, names)
    joined = frozenset({columns.title, *columns_of(config.text)} - {columns.item_id})
    return _table("items", path, uses, {"item": columns.item_id}, names, layout._replace(joined=joined))


def _item_uses(columns: Columns, config: DataConfig, names: list[str]) -> dict[str, str]:
    """Columns of an item table that has `names`, by setting."""
    uses = {"data.columns.item_id": columns.item_id}
    if columns.title:
        uses["data.columns.title"] = columns.title
    texts = [name for name in columns_of(config.text) if name in names and name != "title"]
    uses |= {f"data.text {{{name}}}": name for name in texts} | feature_columns(config)
    return uses | filter_columns(config.item_where, "data.item_where")


def _table(
    kind: str, path: Path, uses: dict[str, str], ids: dict[str, str], names: list[str], layout: Layout
) -> RawTable:
    unused = tuple(name for name in names if name not in uses.values())
    read = functools.partial(read_table, path, uses.values(), layout)
    return RawTable(kind, path.name, uses, ids, unused, read, layout.format.decimal_comma)
