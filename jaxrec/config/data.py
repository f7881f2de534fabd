"""Sections about the log: where it comes from, what its columns mean, how it is cleaned and split."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

from jaxrec.checks import InputError, check_name, check_range
from jaxrec.config.files import MISSING, FileFormats, IdRules, RowFilter, check_time_format
from jaxrec.config.item_features import PARQUET, ItemFeature, check_item_features
from jaxrec.config.presets import PRESETS, with_preset
from jaxrec.config.section import section
from jaxrec.foreign import quoted

SOURCES = ("files", "tfds", "generated", *PRESETS)


@section
class FeedbackKind:
    """How one kind of feedback, 0 or 1, is read from a row of the log."""

    column: str | None = None  # None: the row is the feedback, always 1 (generated: its column `liked`)
    over: str | None = None  # divide by this column first: watched time over duration is a watch ratio
    at_least: float | None = None  # 1 from this value on; without a threshold the column must hold 0 or 1
    at_most: float | None = None  # 1 up to this value: a rating of at most 2 is a dislike
    equals: str | None = None  # 1 where the column holds this word: event, transaction
    in_: tuple[str, ...] = ()  # written `in`: 1 where the column holds one of these words
    # Numbers that stand for words, {view: 1, cart: 3}: like a column of these numbers; 0 for all other words.
    weights: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def words(self) -> tuple[str, ...]:
        """Words that count as 1; empty if the column holds numbers."""
        return self.in_ if self.equals is None else (self.equals,)

    @property
    def band(self) -> tuple[float, float] | None:
        """Lowest and highest number that count as 1; None if the numbers are already 0 or 1."""
        if self.at_least is None and self.at_most is None:
            return None
        low = -math.inf if self.at_least is None else self.at_least
        return low, math.inf if self.at_most is None else self.at_most


@section
class Columns:
    """Column names of a log, its item table and its user table."""

    user: str = "user"
    item: str = "item"
    time: str = "time"  # a number, or a date; empty: rows are in the order of time
    request: str = ""  # slate, request or session: its rows of a user were shown together; empty: rows of one time
    review: str = ""  # what the user wrote about the item; empty: none
    item_id: str = "item"  # in the item table
    title: str = "title"  # in the item table
    user_id: str = "user"  # in the user table

    def __post_init__(self):
        for key in ("user", "item"):
            if not getattr(self, key):
                raise InputError(f"data.columns.{key}: empty; name the column of the log with the {key}s.")
        for owner, keys in (("user", ("item", "time", "review", "request")), ("item", ("review", "request"))):
            column = getattr(self, owner)
            for key in keys:
                if getattr(self, key) == column:
                    raise InputError(
                        f"data.columns.{key}: {quoted(column)} is the column of the {owner}s; name another one."
                    )


@section
class GeneratedVisits:
    """Users who tire of topics, leave when bored and come back when content; `jaxrec.data.generated_visits`."""

    slate_size: int = 5  # items that are shown at a time
    boredom: float = 0.6  # what a recent item takes from the logit of items of its topic
    keep: float = 0.9  # share of the boredom that is kept from item to item
    leave: float = 0.0  # logit of leaving after a slate without likes
    content: float = 6.0  # what a slate of likes only takes from this logit
    comeback: float = 0.2  # chance to come back on a day, after a last slate without likes
    return_content: float = 0.6  # what a last slate of likes only adds to it

    def __post_init__(self):
        check_range("data.generated.visits.slate_size", self.slate_size, 1)
        check_range("data.generated.visits.keep", self.keep, 0, 0.999)
        for name in ("comeback", "return_content"):
            check_range(f"data.generated.visits.{name}", getattr(self, name), 0, 1)
        for name in ("boredom", "leave", "content"):
            check_range(f"data.generated.visits.{name}", getattr(self, name))


@section
class GeneratedLog:
    """Sizes of the generated log; texts follow the item's topic, likes follow hidden interests."""

    items: int = 600
    users: int = 800
    topics: int = 12
    topics_liked: int = 2  # per user
    interactions: int = 60  # mean per user
    liking: float = 2.0  # mean logit of a like on a liked topic
    disliking: float = -3.0  # and on the others
    quality: float = 0.4  # standard deviation of what single items add to it
    visits: GeneratedVisits | None = None  # answers with a past; None: an item a day, and nobody tires of anything

    def __post_init__(self):
        for name, low in {
            "items": 20,
            "users": 20,
            "topics": 2,
            "topics_liked": 1,
            "interactions": 5,
        }.items():
            check_range(f"data.generated.{name}", getattr(self, name), low)
        check_range("data.generated.topics", self.topics, self.topics_liked, 24)
        check_range("data.generated.liking", self.liking)
        check_range("data.generated.disliking", self.disliking)
        check_range("data.generated.quality", self.quality, 0)


@section
class TfdsLog:
    """A data set of TensorFlow Datasets; `data.columns` and `data.feedback` name its features."""

    name: str = "movielens/latest-small-ratings"  # NAME/CONFIG, NAME/CONFIG:VERSION, or a prepared folder
    split: str = "train"
    item_name: str = ""  # the data set with item texts; empty: the id is the only text
    data_dir: str = ""  # folder of the prepared data sets; empty: TFDS's own default


@section
class DataConfig:
    """Where the log comes from and how it is cleaned and split."""

    source: str = "generated"  # files, tfds, generated, or a public data set (docs/data-sets.md), such as movielens
    version: str = ""  # of a public data set; empty: found by the names of the files
    path: str = ""  # folder of the log; files below are relative to it
    log_file: str = "log.csv"  # source files: csv, parquet or jsonl, may be compressed; log-*.csv reads several
    item_file: str = "items.csv"  # source files; empty: the id is the only text
    user_file: str = ""  # source files: a table of users; `context` may name its columns
    tfds: TfdsLog = TfdsLog()
    columns: Columns = Columns()
    generated: GeneratedLog = GeneratedLog()
    feedback: dict[str, FeedbackKind] = dataclasses.field(default_factory=lambda: {"liked": FeedbackKind()})
    target: str = ""  # kind of feedback that held-out rows are judged by; empty: the first of env.reward, or the first
    context: tuple[str, ...] = ()  # what is known about a visit: hour, weekday, columns of the log or user table
    context_values: int = 16  # most frequent values of a context column that get a column of their own
    text: str = "{title}"  # item text: any column of the item table; {genres}, {tags} of movielens; {reviews}
    # What is known of items besides their texts: numbers, categories and vectors, by name.
    item_features: dict[str, ItemFeature] = dataclasses.field(default_factory=dict)
    max_tags: int = 8  # most frequent user-written tags in {tags}
    max_reviews: int = 5  # earliest training reviews of an item in {reviews}
    own_texts: int = 0  # components of the mean vector of a user's own earlier reviews, added to the context; 0: none
    user_key_file: str = "~/.config/jaxrec/user.key"  # key that hashes user ids; JAXREC_USER_KEY overrides it
    pseudonyms: bool = False  # the log's user ids are pseudonyms of that key already: the log of `jaxrec serve`
    # Several rows of a user and an item become one with every kind of feedback that a row has (maximum), or the last
    # row. Numbers may be averaged or summed before their thresholds. keep makes each row an event: music, groceries.
    repeats: Literal["maximum", "last", "mean", "sum", "keep"] = "maximum"
    min_user_rows: int = 1  # k-core: repeated until both hold
    min_item_rows: int = 1
    min_item_ratings: int = 1  # training rows an item needs to be recommendable; 0: the item table's other items too
    allow_bad_rows: float = 0.0  # share of unreadable rows that may be dropped; above it the run stops
    split: Literal["leave_one_out", "leave_positive_out", "global_time"] = "leave_one_out"
    test_share: float = 0.2  # of the rows, global_time only
    # Files as they are; jaxrec/config/files.py.
    files: FileFormats = FileFormats()
    where: tuple[RowFilter, ...] = ()  # rows of the log that are kept: all conditions hold
    item_where: tuple[RowFilter, ...] = ()  # the same of the item table; its other items leave the log too
    ids: IdRules = IdRules()
    missing: tuple[str, ...] = tuple(MISSING)  # words that mean an empty cell
    time_format: str = ""  # s, ms, us, ns, epoch, excel or a pattern (%d/%m/%Y); empty: numbers or ISO dates

    @classmethod
    def filled(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Fill in what a public data set has and a recipe does not set."""
        general = {name: cls.__dataclass_fields__[name].default for name in ("log_file", "item_file", "version")}
        return with_preset(values, {**general, "columns": dataclasses.asdict(Columns())})

    def __post_init__(self):
        check_name("data.source", self.source, SOURCES)
        if self.version:
            preset = PRESETS.get(self.source)
            check_name("data.version", self.version, [one.name for one in preset.versions] if preset else [])
        if not self.feedback:
            raise InputError("data.feedback: expected at least one kind of feedback, got none.")
        if self.target:
            check_name("data.target", self.target, list(self.feedback))
        for name, kind in self.feedback.items():
            for option in ("at_least", "at_most", "over"):
                if getattr(kind, option) is not None and kind.column is None and self.source != "generated":
                    raise InputError(
                        f"data.feedback.{name}.{option}: set without a column; set data.feedback.{name}.column."
                    )
            if kind.band and kind.band[0] > kind.band[1]:
                raise InputError(
                    f"data.feedback.{name}.at_most: {kind.at_most:g} is below at_least={kind.at_least:g}, so the "
                    "feedback would always be 0; expected at_most to be at least at_least."
                )
            _check_words(f"data.feedback.{name}", kind)
        check_time_format(self.time_format)
        if not self.columns.time:
            _check_without_times(self)
        tables = {"tfds": self.tfds.item_name, "generated": "always"}  # where it is not a file
        typed = self.source == "files" and self.item_file.endswith(PARQUET)
        has_items = bool(tables.get(self.source, self.item_file))
        check_item_features(self.item_features, has_items, typed)
        if self.item_where and (self.source == "generated" or not has_items):
            raise InputError(
                "data.item_where: chooses rows of an item table in files, and the recipe has none; remove it."
            )
        if self.own_texts and not self.columns.review:
            raise InputError("data.own_texts: reads the users' reviews; set data.columns.review.")
        if self.pseudonyms and self.source != "files":
            raise InputError(f"data.pseudonyms: is for logs in files, and data.source is {self.source}; remove it.")
        if self.path and self.source == "generated":
            raise InputError(
                "data.path: data.source=generated reads no files; set data.source, for instance to files, or remove it."
            )
        for name in ("max_tags", "own_texts", "min_item_ratings"):
            check_range(f"data.{name}", getattr(self, name), 0)
        if not self.min_item_ratings and not has_items:
            raise InputError(
                "data.min_item_ratings: 0 recommends items that have no row in the log, and only an item table names "
                f"them; set {'data.tfds.item_name' if self.source == 'tfds' else 'data.item_file'}, or "
                "data.min_item_ratings=1."
            )
        for name in ("min_user_rows", "min_item_rows", "max_reviews", "context_values"):
            check_range(f"data.{name}", getattr(self, name), 1)
        check_range("data.allow_bad_rows", self.allow_bad_rows, 0, 1)
        check_range("data.test_share", self.test_share, 0.01, 0.9)


def _check_words(setting: str, kind: FeedbackKind) -> None:
    """Raise InputError if words and numbers are asked of one column."""
    if kind.weights:
        _check_weights(setting, kind)
    if not kind.words:
        return
    if kind.column is None:
        raise InputError(f"{setting}.{'in' if kind.in_ else 'equals'}: set without a column; set {setting}.column.")
    if kind.in_ and kind.equals is not None:
        raise InputError(f"{setting}: has equals and in; write all words under in.")
    if kind.band or kind.over:
        raise InputError(f"{setting}: compares words (equals, in) and numbers (at_least, at_most, over); use one.")


def _check_weights(setting: str, kind: FeedbackKind) -> None:
    """Raise InputError for weights of words that cannot become 0 and 1."""
    if kind.column is None:
        raise InputError(f"{setting}.weights: set without a column; set {setting}.column.")
    if kind.words or kind.over:
        other = "over" if kind.over else "in" if kind.in_ else "equals"
        raise InputError(f"{setting}: has weights and {other}; keep one of them.")
    for word, weight in kind.weights.items():
        check_range(f"{setting}.weights.{word}", weight)
    if kind.band is None and not {*kind.weights.values()} <= {0.0, 1.0}:
        raise InputError(
            f"{setting}.weights: feedback is 0 or 1, so numbers need a threshold; set {setting}.at_least to the number "
            "from which it counts as 1, or give each word a kind of its own (equals) with its weight in env.reward."
        )


def _check_without_times(config: DataConfig) -> None:
    """Raise InputError for settings that need times if the log has none."""
    if config.source in ("tfds", "generated"):
        raise InputError("data.columns.time: empty, but only logs in files (source: files) can be in order of time.")
    if config.time_format:
        raise InputError("data.time_format: set without a column of times; set data.columns.time or remove it.")
    for name in ("hour", "weekday"):
        if name in config.context:
            raise InputError(f"data.context: {name} needs times; set data.columns.time or remove {name}.")
