"""Readers: files become rows and an item table, and these become a `Dataset`. Raw user ids go no further."""

import collections
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from jaxrec.checks import InputError
from jaxrec.config.data import Columns, DataConfig
from jaxrec.data.clean import RawLog, clean
from jaxrec.data.context import NO_USERS, UserTable, context_columns, read_users, visit_context
from jaxrec.data.item_features import feature_columns, read_features
from jaxrec.data.item_text import REVIEWS, ItemTable, build_catalogue, check_template, columns_of
from jaxrec.data.log import Dataset, Log
from jaxrec.data.pseudonyms import pseudonymise, user_key
from jaxrec.data.reviews import item_reviews
from jaxrec.data.table import (
    Fault,
    Table,
    check_columns,
    compute,
    data_folder,
    drop_faulty,
    header,
    read_table,
    where_in,
)
from jaxrec.data.values import binary_feedback, feedback_numbers, times

MOVIELENS_COLUMNS = Columns(user="userId", item="movieId", time="timestamp", item_id="movieId", title="title")
NO_GENRES = "(no genres listed)"


def read_files(config: DataConfig, seed: int) -> Dataset:
    """Read a log in files and, if `data.item_file` names one, its item table; `seed` is not used."""
    del seed
    folder = data_folder(config.path)
    users, user_lines = read_users(folder / config.user_file, config) if config.user_file else (NO_USERS, [])
    raw = read_log(folder / config.log_file, config.columns, config, "data.log_file", users)
    if config.item_file:
        setting = "data.item_file (empty if there is no item table)"
        items, lines = read_items(folder / config.item_file, config.columns, config, setting, derived_columns(config))
    else:
        items, lines = no_items(config), []
    return assemble(raw, items, config, user_lines + lines)


def read_movielens(config: DataConfig, seed: int) -> Dataset:
    """Read a MovieLens folder: ratings.csv, movies.csv and, for {tags}, tags.csv; `seed` is not used.

    Feedback columns are those of ratings.csv; a kind without a column counts every rating. The catalogue holds
    the rated movies in the order of movies.csv. {tags} holds the words of tags.csv from all users and times.
    Item texts hold neither user ids nor ratings.
    """
    del seed
    folder = data_folder(config.path)
    raw = read_log(folder / "ratings.csv", MOVIELENS_COLUMNS, config, "data.path")
    tags, tag_lines = {}, []
    if "tags" in columns_of(config.text):
        tags, tag_lines = _tags(folder / "tags.csv", config)
    items, lines = read_items(folder / "movies.csv", MOVIELENS_COLUMNS, config, "data.path", ("tags",))
    columns, as_read = dict(items.columns), {}
    if "genres" in columns:
        as_read["genres"] = ["" if g == NO_GENRES else g for g in columns["genres"]]
        columns["genres"] = [g.replace("|", ", ") for g in as_read["genres"]]
    columns["tags"] = [tags.get(item, "") for item in items.ids]
    return assemble(raw, dataclasses.replace(items, columns=columns, as_read=as_read), config, lines + tag_lines)


def assemble(raw: RawLog, items: ItemTable, config: DataConfig, item_account: list[str]) -> Dataset:
    """Clean the rows, order the catalogue, and number users and items; the last step of every reader."""
    rows = clean(raw, config)
    users, user = np.unique(rows.log.user, return_inverse=True)
    present, item = np.unique(rows.log.item, return_inverse=True)
    ids = [rows.item_ids[i] for i in present]
    sizes = {"num_users": len(users), "num_items": len(ids)}
    log = dataclasses.replace(rows.log, user=user.astype(np.int32), item=item.astype(np.int32), **sizes)
    reviews = {}
    if log.review is not None and REVIEWS in columns_of(config.text):
        reviews = dict(zip(ids, item_reviews(log, config), strict=True))
    catalogue, place, account = build_catalogue(ids, items, config.text, reviews)
    log = dataclasses.replace(log, item=np.asarray(place, np.int32)[item])
    catalogue = dataclasses.replace(catalogue, features=read_features(catalogue.ids, items, config))
    return Dataset(log, catalogue, (*rows.account, *item_account, *account), tuple(rows.users[u] for u in users))


def read_log(path: Path, columns: Columns, config: DataConfig, setting: str, users: UserTable = NO_USERS) -> RawLog:
    """Read the rows of a log in files; unreadable ones are counted or stop the run, ids become numbers."""
    wanted = log_columns(columns, config, users)
    check_columns(path, header(path, setting), wanted)
    return log_rows(read_table(path, wanted.values()), columns, config, users)


def log_columns(columns: Columns, config: DataConfig, users: UserTable = NO_USERS) -> dict[str, str]:
    """Columns that a log must have, by the setting that asks for each; `users` has some of the context."""
    wanted = {f"data.columns.{key}": getattr(columns, key) for key in ("user", "item", "time")}
    for name, kind in config.feedback.items():
        for option in ("column", "over"):
            if getattr(kind, option) is not None:
                wanted[f"data.feedback.{name}.{option}"] = getattr(kind, option)
    if columns.review:
        wanted["data.columns.review"] = columns.review
    return wanted | {k: name for k, name in context_columns(config, columns).items() if name not in users.cells}


def log_rows(table: Table, columns: Columns, config: DataConfig, users: UserTable = NO_USERS) -> RawLog:
    """Take the readable rows of a table that has `log_columns`; the others are counted or stop the run.

    Raw user ids go no further: the result holds pseudonyms and, in the rows, numbers by first appearance.
    """
    time, bad_time = times(table.cells[columns.time])
    kinds = config.feedback.values()
    values = {c: feedback_numbers(table.cells[c]) for kind in kinds for c in (kind.column, kind.over) if c}
    divisors = dict.fromkeys(kind.over for kind in kinds if kind.over)
    faults = [
        *(Fault(f"a missing or broken {c}", c, _no_id(table.cells[c])) for c in (columns.user, columns.item)),
        Fault(f"no number or ISO date in {columns.time}", columns.time, bad_time),
        *(Fault(f"no finite number in {c}", c, np.isnan(v)) for c, v in values.items()),
        *(Fault(f"0 in {c}, which is a divisor", c, values[c] == 0) for c in divisors),
    ]
    keep, lines = drop_faulty(table, faults, config.allow_bad_rows)
    feedback = binary_feedback(config.feedback, values, keep, lambda row: where_in(table, row))
    if not keep.any():
        raise InputError(f"{table.path}: no row can be read; fix the rows (columns: {', '.join(table.cells)}).")
    kept = {name: cells.filter(pa.array(keep)) for name, cells in table.cells.items()}
    user, user_ids = _numbered(kept[columns.user])
    item, item_ids = _numbered(kept[columns.item])
    key = user_key(config)
    pseudonyms = tuple(user_ids) if table.pseudonymous else pseudonymise(user_ids, key.secret)
    context, context_names = visit_context(config, time[keep], kept | users.of_rows(pseudonyms, user))
    log = Log(
        user=user,
        item=item,
        time=time[keep],
        feedback=feedback[keep],
        feedback_names=tuple(config.feedback),
        num_users=len(pseudonyms),
        num_items=len(item_ids),
        context=context,
        context_names=context_names,
        review=np.array(kept[columns.review].to_pylist(), object) if columns.review else None,
    )
    account = (table.read("row"), *lines, key.account)
    return RawLog(log, pseudonyms, tuple(item_ids), account)


def read_items(
    path: Path, columns: Columns, config: DataConfig, setting: str, derived: tuple[str, ...] = ()
) -> tuple[ItemTable, list[str]]:
    """Read an item table from a file: ids, titles and the columns that `data.text` names, except `derived`."""
    wanted = item_columns(path, header(path, setting), columns, config, derived)
    return item_rows(read_table(path, wanted), columns, config)


def no_items(config: DataConfig) -> ItemTable:
    """Build an empty item table for a log without one; raises InputError if `data.text` needs one."""
    check_template(config.text, ["title", *derived_columns(config)], "a log without an item table")
    return ItemTable(name="no item table", ids=(), columns={"title": ()})


def derived_columns(config: DataConfig) -> tuple[str, ...]:
    """Columns that `data.text` may name although no item table has them; they are made from the log."""
    return (REVIEWS,) if config.columns.review else ()


def item_columns(
    path: Path, names: Sequence[str], columns: Columns, config: DataConfig, derived: Sequence[str]
) -> list[str]:
    """Columns to read from an item table that has `names`; raises InputError if `data.text` names an unknown one."""
    wanted = {"data.columns.item_id": columns.item_id}
    if columns.title:
        wanted["data.columns.title"] = columns.title
    features = feature_columns(config)
    check_columns(path, names, wanted | features)
    known = list(dict.fromkeys(["title", *names, *derived]))
    check_template(config.text, known, str(path))
    extra = [name for name in columns_of(config.text) if name in names and name != "title"]
    return [*wanted.values(), *extra, *features.values()]


def item_rows(table: Table, columns: Columns, config: DataConfig) -> tuple[ItemTable, list[str]]:
    """Take the readable rows of a table that has `item_columns`; also gives lines for the account."""
    column = columns.item_id
    fault = Fault(f"a missing or broken {column}", column, _no_id(table.cells[column]))
    keep, dropped = drop_faulty(table, [fault], config.allow_bad_rows)
    texts = {name: cells.filter(pa.array(keep)).to_pylist() for name, cells in table.cells.items()}
    ids = texts[column]
    titles = texts[columns.title] if columns.title else [""] * len(ids)
    account = [table.read("item"), *dropped]
    return ItemTable(table.path.name, tuple(ids), {**texts, "title": titles}), account


def _tags(path: Path, config: DataConfig) -> tuple[dict[str, str], list[str]]:
    """Most frequent tags of each movie, joined by ', ', and lines for the account."""
    if not path.is_file():
        raise InputError(f"{path}: no such file, but data.text has {{tags}}; add the file or remove {{tags}}.")
    wanted = {"{tags} in data.text": "tag", "data.source=movielens": "movieId"}
    check_columns(path, header(path, "data.path"), wanted)
    table = read_table(path, wanted.values())
    faults = [Fault(f"a missing or broken {name}", name, _no_id(table.cells[name])) for name in table.cells]
    keep, lines = drop_faulty(table, faults, config.allow_bad_rows)
    movies, words = (table.cells[name].filter(pa.array(keep)).to_pylist() for name in ("movieId", "tag"))
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for movie, word in zip(movies, words, strict=True):
        counts[movie][word.lower()] += 1
    most = {movie: [word for word, _ in tags.most_common(config.max_tags)] for movie, tags in counts.items()}
    return {movie: ", ".join(tags) for movie, tags in most.items()}, lines


def _no_id(cells: pa.Array) -> np.ndarray:
    """Find cells that are empty, or hold a line break because a quote was never closed; [R] bool."""
    empty = compute.equal(cells, "").to_numpy(zero_copy_only=False)
    return empty | compute.match_substring(cells, "\n").to_numpy(zero_copy_only=False)


def _numbered(cells: pa.Array) -> tuple[np.ndarray, list[str]]:
    encoded = cells.dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()
