"""Readers: files become rows and an item table, and these become a `Dataset`. Raw user ids go no further."""

import collections
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from jaxrec.checks import InputError
from jaxrec.config.data import Columns, DataConfig
from jaxrec.config.files import TableFormat
from jaxrec.data.choose import chosen_rows, filter_columns, with_points
from jaxrec.data.clean import RawLog, clean
from jaxrec.data.context import NO_USERS, read_users
from jaxrec.data.ids import blank, check_joined, clean_ids, rounded, without_digits
from jaxrec.data.item_features import feature_columns, read_features
from jaxrec.data.item_text import REVIEWS, ItemTable, build_catalogue, check_template, columns_of
from jaxrec.data.layout import PLAIN, Layout
from jaxrec.data.log import Dataset, counted
from jaxrec.data.paths import data_folder
from jaxrec.data.plain_text import plain_text
from jaxrec.data.reviews import item_reviews
from jaxrec.data.rows import LOG_FORMAT, missing_id, read_log
from jaxrec.data.table import Table, check_columns, drop_faulty, header, read_table

TAGS_DAT = TableFormat(separator="::", columns=("userId", "movieId", "tag", "timestamp"))  # ml-10m
NO_GENRES = "(no genres listed)"


def read_files(config: DataConfig, seed: int) -> Dataset:
    """Read a log in files and, if `data.item_file` names one, its item table; `seed` is not used."""
    del seed
    folder = data_folder(config.path)
    raw, notes = _read_log(config, folder)
    if config.item_file:
        setting = "data.item_file (empty if there is no item table)"
        layout, derived = Layout(config.files.items, "data.files.items"), derived_columns(config)
        items, lines = read_items(folder / config.item_file, config.columns, config, setting, derived, layout)
    else:
        items, lines = no_items(config), []
    return assemble(raw, items, config, [*notes, *lines])


def read_movielens(config: DataConfig, seed: int) -> Dataset:
    """Read a MovieLens folder: ratings, movies and, for {tags}, tags.csv or tags.dat; `seed` is not used.

    Feedback columns are those of the ratings; a kind without a column counts every rating. The catalogue holds the
    rated movies in the order of their file. {tags} holds the words that users wrote, of all users and times. Item
    texts hold neither user ids nor ratings.
    """
    del seed
    folder = data_folder(config.path)
    raw, notes = _read_log(config, folder)
    tags, tag_lines = {}, []
    movies = folder / config.item_file
    if "tags" in columns_of(config.text):
        tags, tag_lines = _tags(movies.with_name(f"tags{movies.suffix}"), config)
    layout = Layout(config.files.items, "data.files.items")
    items, lines = read_items(movies, config.columns, config, "data.item_file", ("tags",), layout)
    columns, as_read = dict(items.columns), {}
    if "genres" in columns:
        as_read["genres"] = ["" if g == NO_GENRES else g for g in columns["genres"]]
        columns["genres"] = [g.replace("|", ", ") for g in as_read["genres"]]
    columns["tags"] = [tags.get(item, "") for item in items.ids]
    return assemble(
        raw, dataclasses.replace(items, columns=columns, as_read=as_read), config, notes + lines + tag_lines
    )


def assemble(raw: RawLog, items: ItemTable, config: DataConfig, item_account: list[str]) -> Dataset:
    """Clean the rows, order the catalogue, and number users and items; the last step of every reader."""
    rows = clean(_without(raw, items), config)
    users, user = np.unique(rows.log.user, return_inverse=True)
    present, item = np.unique(rows.log.item, return_inverse=True)
    ids = [rows.item_ids[i] for i in present]
    sizes = {"num_users": len(users), "num_items": len(ids)}
    log = dataclasses.replace(rows.log, user=user.astype(np.int32), item=item.astype(np.int32), **sizes)
    reviews = {}
    if log.review is not None and REVIEWS in columns_of(config.text):
        reviews = dict(zip(ids, item_reviews(log, config), strict=True))
    check_joined(ids, items.ids, f"{items.name}: data.columns.item_id", "data.columns.item_id", config.ids)
    untouched = config.min_item_ratings == 0
    catalogue, place, account = build_catalogue(ids, items, config.text, reviews, config.ids, untouched)
    sizes = {"num_items": len(catalogue), "untouched": len(catalogue) - len(ids)}
    log = dataclasses.replace(log, item=np.asarray(place, np.int32)[item], **sizes)
    catalogue = dataclasses.replace(catalogue, features=read_features(catalogue.ids, items, config))
    return Dataset(log, catalogue, (*rows.account, *item_account, *account), tuple(rows.users[u] for u in users))


def _without(raw: RawLog, items: ItemTable) -> RawLog:
    """Leave out the rows of items that `data.item_where` leaves out; InputError if no row remains."""
    if not items.left_out:
        return raw
    gone = np.array([item in items.left_out for item in raw.item_ids], bool)
    log = raw.log.take(~gone[raw.log.item])
    if not len(log):
        raise InputError(f"data.item_where: no row of the log has an item of {items.name} that passes; correct it.")
    left = counted(len(raw.log) - len(log), "row")
    line = f"left out {left} of items that data.item_where leaves out"
    return dataclasses.replace(raw, log=log, account=(*raw.account, *([line] if len(log) < len(raw.log) else [])))


def read_items(
    path: Path,
    columns: Columns,
    config: DataConfig,
    setting: str,
    derived: tuple[str, ...] = (),
    layout: Layout = PLAIN,
) -> tuple[ItemTable, list[str]]:
    """Read an item table from a file: ids, titles and the columns that `data.text` names, except `derived`."""
    asked = [columns.item_id, columns.title or columns.item_id, *_extra_columns(config).values()]
    names = header(path, setting, layout, [*asked, *(name for name in columns_of(config.text) if name != "title")])
    wanted = item_columns(path, names, columns, config, derived, layout)
    texts = {columns.title, *columns_of(config.text)} - {columns.item_id}
    table = read_table(path, wanted, layout._replace(joined=frozenset(texts), exact=frozenset({columns.item_id})))
    items, lines = item_rows(table, columns, config)
    return items, [*lines, *table.notes]


def no_items(config: DataConfig) -> ItemTable:
    """Build an empty item table for a log without one; raises InputError if `data.text` needs one."""
    check_template(config.text, ["title", *derived_columns(config)], "a log without an item table")
    return ItemTable(name="no item table", ids=(), columns={"title": ()})


def derived_columns(config: DataConfig) -> tuple[str, ...]:
    """Columns that `data.text` may name although no item table has them; they are made from the log."""
    return (REVIEWS,) if config.columns.review else ()


def item_columns(
    path: Path,
    names: Sequence[str],
    columns: Columns,
    config: DataConfig,
    derived: Sequence[str],
    layout: Layout = PLAIN,
) -> list[str]:
    """Columns to read from an item table that has `names`; raises InputError if `data.text` names an unknown one."""
    wanted = {"data.columns.item_id": columns.item_id}
    if columns.title:
        wanted["data.columns.title"] = columns.title
    others = _extra_columns(config)
    check_columns(path, names, wanted | others, layout)
    known = list(dict.fromkeys(["title", *names, *derived]))
    check_template(config.text, known, str(path))
    extra = [name for name in columns_of(config.text) if name in names and name != "title"]
    return [*wanted.values(), *extra, *others.values()]


def _extra_columns(config: DataConfig) -> dict[str, str]:
    """Columns of an item table for features and filters, by the setting that asks for each."""
    return feature_columns(config) | filter_columns(config.item_where, "data.item_where")


def item_rows(table: Table, columns: Columns, config: DataConfig) -> tuple[ItemTable, list[str]]:
    """Take the readable rows of a table that has `item_columns`; also gives lines for the account."""
    column = columns.item_id
    cleaned, numbers = clean_ids(table.cells[column], config), table.cells
    if config.files.items.decimal_comma:
        numbers = {name: with_points(cells) for name, cells in table.cells.items()}
    chosen, lines = chosen_rows(config.item_where, numbers, table.path.name, "data.item_where")
    faults = [missing_id(column, table.cells[column], cleaned, config), rounded(column, without_digits(cleaned))]
    keep, dropped = drop_faulty(table, faults, config.allow_bad_rows, chosen)
    rows = pa.array(keep)
    ids = cleaned.filter(rows).to_pylist()
    left_out = frozenset(cleaned.filter(pa.array(~chosen)).to_pylist()).difference(ids)
    texts = {name: blank(cells.filter(rows), config.missing).to_pylist() for name, cells in table.cells.items()}
    if config.files.items.plain_text:
        texts = {name: [plain_text(text) for text in cells] for name, cells in texts.items()}
    for name in feature_columns(config).values() if config.files.items.decimal_comma else ():
        texts[name] = with_points(pa.array(texts[name], pa.string())).to_pylist()
    texts[column] = ids
    titles = texts[columns.title] if columns.title else [""] * len(ids)
    items = ItemTable(table.path.name, tuple(ids), {**texts, "title": titles}, left_out=left_out)
    return items, [table.read("item"), *lines, *dropped]


def _read_log(config: DataConfig, folder: Path) -> tuple[RawLog, list[str]]:
    """Read the log and, if there is one, the table of users; also gives lines for the account."""
    users, lines = read_users(folder / config.user_file, config) if config.user_file else (NO_USERS, [])
    layout = Layout(config.files.log, LOG_FORMAT)
    raw, notes = read_log(folder / config.log_file, config.columns, config, "data.log_file", users, layout)
    return raw, [*notes, *lines]


def _tags(path: Path, config: DataConfig) -> tuple[dict[str, str], list[str]]:
    """Most frequent tags of each movie, joined by ', ', and lines for the account."""
    if not path.is_file():
        raise InputError(f"{path}: no such file, but data.text has {{tags}}; add the file or remove {{tags}}.")
    layout = Layout(TAGS_DAT, "") if path.suffix == ".dat" else PLAIN
    wanted = {"{tags} in data.text": "tag", "data.source=movielens": "movieId"}
    check_columns(path, header(path, "data.path", layout), wanted)
    table = read_table(path, wanted.values(), layout)
    cells = {"movieId": clean_ids(table.cells["movieId"], config), "tag": table.cells["tag"]}
    faults = [missing_id(name, table.cells[name], cells[name], config) for name in table.cells]
    keep, lines = drop_faulty(table, faults, config.allow_bad_rows)
    movies, words = (cells[name].filter(pa.array(keep)).to_pylist() for name in ("movieId", "tag"))
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for movie, word in zip(movies, words, strict=True):
        counts[movie][word.lower()] += 1
    most = {movie: [word for word, _ in tags.most_common(config.max_tags)] for movie, tags in counts.items()}
    return {movie: ", ".join(tags) for movie, tags in most.items()}, lines
