"""Readers: a configuration becomes rows and an item table, and both a `Dataset`. Raw user ids end here."""

import collections
import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa

from jaxrec.checks import InputError
from jaxrec.config.data import Columns, DataConfig
from jaxrec.data.clean import RawLog, clean
from jaxrec.data.item_text import ItemTable, build_catalogue, check_template, columns_of
from jaxrec.data.log import Dataset, Log, counted
from jaxrec.data.table import (
    Fault,
    check_columns,
    compute,
    data_folder,
    drop_faulty,
    header,
    read_table,
    where_in,
)
from jaxrec.data.values import binary_feedback, numbers, times

MOVIELENS_COLUMNS = Columns(user="userId", item="movieId", time="timestamp", item_id="movieId", title="title")
NO_GENRES = "(no genres listed)"


def read_files(config: DataConfig, seed: int) -> Dataset:
    """Read a CSV log and, where `data.item_file` names one, its item table; `seed` is not used."""
    del seed
    folder = data_folder(config.path)
    raw = read_log(folder / config.log_file, config.columns, config, "data.log_file")
    if config.item_file:
        setting = "data.item_file (empty where there is no item table)"
        items, lines = read_items(folder / config.item_file, config.columns, config, setting)
    else:
        items, lines = ItemTable(name="no item table", ids=(), columns={"title": ()}), []
        check_template(config.text, ["title"], "a log without an item table")
    return assemble(raw, items, config, lines)


def read_movielens(config: DataConfig, seed: int) -> Dataset:
    """Read a MovieLens folder: ratings.csv, movies.csv and, for {tags}, tags.csv; `seed` is not used.

    Feedback columns are those of ratings.csv; a kind without a column counts every rating. The catalogue is
    the rated movies in the order of movies.csv. {tags} holds the words of tags.csv, whoever wrote them and
    whenever: item texts carry neither user ids nor ratings.
    """
    del seed
    folder = data_folder(config.path)
    raw = read_log(folder / "ratings.csv", MOVIELENS_COLUMNS, config, "data.path")
    tags, tag_lines = {}, []
    if "tags" in columns_of(config.text):
        tags, tag_lines = _tags(folder / "tags.csv", config)
    items, lines = read_items(folder / "movies.csv", MOVIELENS_COLUMNS, config, "data.path", ("tags",))
    columns = dict(items.columns)
    if "genres" in columns:
        columns["genres"] = ["" if g == NO_GENRES else g.replace("|", ", ") for g in columns["genres"]]
    columns["tags"] = [tags.get(item, "") for item in items.ids]
    return assemble(raw, dataclasses.replace(items, columns=columns), config, lines + tag_lines)


def assemble(raw: RawLog, items: ItemTable, config: DataConfig, item_account: list[str]) -> Dataset:
    """Clean the rows, order the catalogue and number users and items: what every reader ends with."""
    rows = clean(raw, config)
    users, user = np.unique(rows.user, return_inverse=True)
    present, item = np.unique(rows.item, return_inverse=True)
    catalogue, place, account = build_catalogue([rows.item_ids[i] for i in present], items, config.text)
    log = Log(
        user=user.astype(np.int32),
        item=np.asarray(place, np.int32)[item],
        time=rows.time,
        feedback=rows.feedback,
        feedback_names=rows.feedback_names,
        num_users=len(users),
        num_items=len(catalogue),
    )
    return Dataset(log, catalogue, (*rows.account, *item_account, *account))


def read_log(path: Path, columns: Columns, config: DataConfig, setting: str) -> RawLog:
    """Rows of a CSV log: unreadable ones are counted or stop the run, ids become numbers."""
    kinds = {name: kind for name, kind in config.feedback.items() if kind.column is not None}
    wanted = {f"data.columns.{key}": getattr(columns, key) for key in ("user", "item", "time")}
    wanted |= {f"data.feedback.{name}.column": str(kind.column) for name, kind in kinds.items()}
    check_columns(path, header(path, setting), wanted)
    table = read_table(path, wanted.values())
    time, bad_time = times(table.cells[columns.time])
    values = {str(kind.column): numbers(table.cells[str(kind.column)]) for kind in kinds.values()}
    faults = [
        *(Fault(f"a missing or broken {c}", c, _no_id(table.cells[c])) for c in (columns.user, columns.item)),
        Fault(f"no number or ISO date as {columns.time}", columns.time, bad_time),
        *(Fault(f"no finite number as {c}", c, np.isnan(v)) for c, v in values.items()),
    ]
    keep, lines = drop_faulty(table, faults, config.allow_bad_rows)
    feedback = binary_feedback(config.feedback, values, keep, lambda row: where_in(table, row))
    if not keep.any():
        raise InputError(f"{path}: no readable row is left; mend the rows (columns: {', '.join(wanted.values())}).")
    user, _ = _numbered(table.cells[columns.user], keep)
    item, item_ids = _numbered(table.cells[columns.item], keep)
    account = (f"{path.name}: read {counted(len(table) + table.malformed, 'row')}", *lines)
    return RawLog(user, item, time[keep], feedback[keep], tuple(config.feedback), tuple(item_ids), account)


def read_items(
    path: Path, columns: Columns, config: DataConfig, setting: str, derived: tuple[str, ...] = ()
) -> tuple[ItemTable, list[str]]:
    """The item table of a CSV file: ids, titles and the columns `data.text` names, apart from `derived`."""
    names = header(path, setting)
    wanted = {"data.columns.item_id": columns.item_id}
    if columns.title:
        wanted["data.columns.title"] = columns.title
    check_columns(path, names, wanted)
    known = list(dict.fromkeys(["title", *names, *derived]))
    check_template(config.text, known, str(path))
    extra = [name for name in columns_of(config.text) if name in names and name != "title"]
    table = read_table(path, [*wanted.values(), *extra])
    column = columns.item_id
    fault = Fault(f"a missing or broken {column}", column, _no_id(table.cells[column]))
    keep, dropped = drop_faulty(table, [fault], config.allow_bad_rows)
    texts = {name: cells.filter(pa.array(keep)).to_pylist() for name, cells in table.cells.items()}
    ids = texts[column]
    titles = texts[columns.title] if columns.title else [""] * len(ids)
    account = [f"{path.name}: read {counted(len(table) + table.malformed, 'item')}", *dropped]
    return ItemTable(path.name, tuple(ids), {**texts, "title": titles}), account


def _tags(path: Path, config: DataConfig) -> tuple[dict[str, str], list[str]]:
    """Most frequent tags of each movie, joined by ', ', and lines of account."""
    if not path.is_file():
        raise InputError(f"{path}: no such file, but data.text has {{tags}}; add it or take {{tags}} out.")
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
    """Cells that are empty, or hold a line break because a quote was never closed; [R] bool."""
    empty = compute.equal(cells, "").to_numpy(zero_copy_only=False)
    return empty | compute.match_substring(cells, "\n").to_numpy(zero_copy_only=False)


def _numbered(cells: pa.Array, keep: np.ndarray) -> tuple[np.ndarray, list[str]]:
    encoded = cells.filter(pa.array(keep)).dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()
