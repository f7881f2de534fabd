"""What in a log is likely a mistake, or makes it hard to learn from."""

import re
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import combinations

import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig
from jaxrec.config.schema import Config
from jaxrec.data import Catalogue, Log
from jaxrec.data.log import counted
from jaxrec.data.split import few_targets
from jaxrec.foreign import quoted
from jaxrec.runs.read_log import Corpus
from jaxrec.runs.users.registry import user_kind

FEW_USERS, FEW_ITEMS = 100, 50
RARE = 0.01  # share of rows, and of the opposite value
FEW_POSITIVES = 100  # rows
MANY_ROWS = 2000  # of one user: no person answers so often in most logs
MOST = 0.5  # share
DAY = 86_400
FIRST = 631_152_000  # 1990-01-01 in seconds since 1970; few logs are older, but 0 and -1 stand for missing times
COMMON = 0.9  # share of the texts that have a word, from which on it tells items from nothing
ALIKE = 0.1  # distinct texts as a share of the items
SAMPLE = 20_000  # texts that are compared
WORD = re.compile(r"[^\W\d_]+")


def refusals(config: Config, corpus: Corpus) -> list[str]:
    """What would stop `train` before and when it fits users to the log."""
    kind = user_kind(config.env.name)
    checks = [partial(kind.check, config), partial(kind.check_log, config, corpus)]
    found = []
    for check in checks:
        try:
            check()
        except InputError as error:
            found.append(str(error))
    return found


def data_warnings(config: DataConfig, corpus: Corpus, seconds: np.ndarray | None) -> list[str]:
    """All warnings; `seconds` [R] are the times since 1970, None if their unit is unknown."""
    log, catalogue = corpus.dataset.log, corpus.dataset.catalogue
    few = few_targets(config, corpus.split)
    return [
        *size_warnings(log),
        *kind_warnings(log),
        *opposite_warnings(config, log),
        *([few] if few else []),
        *(time_warnings(log, seconds, time.time()) if config.columns.time else []),
        *text_warnings(catalogue),
        *user_warnings(log),
    ]


def size_warnings(log: Log) -> list[str]:
    """Few users or items."""
    lines = []
    if log.num_users < FEW_USERS:
        lines.append(f"only {counted(log.num_users, 'user')}; fits and comparisons will be uncertain")
    if log.num_items < FEW_ITEMS:
        lines.append(f"only {counted(log.num_items, 'item')}; there is little to choose from")
    return lines


def kind_warnings(log: Log) -> list[str]:
    """Kinds of feedback that hardly differ between rows; a kind with one value throughout is not among them."""
    lines = []
    for name, column in zip(log.feedback_names, log.feedback.T, strict=True):
        given = int(column.sum())
        for value, count in ((1, given), (0, len(log) - given)):
            if 0 < count < max(RARE * len(log), min(FEW_POSITIVES, len(log) / 4)):
                share = f"{counted(count, 'row')} of {len(log):,} ({count / len(log):.2%})"
                lines.append(f"'{name}' is {value} in only {share}; little can be learned from it")
    return lines


def opposite_warnings(config: DataConfig, log: Log) -> list[str]:
    """Rows with two kinds of feedback that no row of the files can have both: opinions that changed."""
    lines = []
    for (name, one), (other_name, other) in combinations(config.feedback.items(), 2):
        same = (one.column, one.over, one.weights) == (other.column, other.over, other.weights)
        if not same or one.band is None or other.band is None:
            continue
        if max(one.band[0], other.band[0]) <= min(one.band[1], other.band[1]):
            continue
        columns = [log.feedback_names.index(kind) for kind in (name, other_name)]
        both = int((log.feedback[:, columns] > 0).all(axis=1).sum())
        if both:
            lines.append(
                f"{counted(both, '(user, item) pair')} with several rows are '{name}' and '{other_name}' at once; "
                "data.repeats=last takes the last opinion"
            )
    return lines


def time_warnings(log: Log, seconds: np.ndarray | None, now: float) -> list[str]:
    """Times that cannot order rows, dates without a clock, and dates before 1990 or after `now`, in seconds."""
    if log.time.min() == log.time.max():
        return ["all times are equal, so nothing says what came first; set data.columns.time to a column that does"]
    lines = []
    rows = np.bincount(log.user, minlength=log.num_users)
    moments = np.bincount(log.user[log.moments == np.arange(len(log))], minlength=log.num_users)
    single = (moments == 1) & (rows > 1)
    if single.sum() > MOST * (rows > 1).sum():
        share = f"{single.sum():,} of {counted(int((rows > 1).sum()), 'user')} with several rows"
        lines.append(f"{share} have one time for all of them, so these rows have no past; name another column of times")
    if seconds is None:
        return lines
    clock, count = np.unique(seconds.astype(np.int64) % DAY, return_counts=True)
    if count.max() > MOST * len(log):
        at = int(clock[count.argmax()])
        when = f"{at // 3600:02}:{at // 60 % 60:02}:{at % 60:02}"
        lines.append(
            f"{count.max() / len(log):.0%} of the rows are at {when} UTC: dates without a clock; rows of a user and "
            "day count as shown together"
        )
    early = int((seconds < FIRST).sum())
    if early:
        lines.append(
            f"{counted(early, 'row')} before 1990, so they come first; if their times are missing, leave them out with "
            "data.where on the column of times"
        )
    late = int((seconds > now + DAY).sum())
    if late:
        lines.append(f"{counted(late, 'row')} in the future (after today); check data.time_format")
    return lines


def text_warnings(catalogue: Catalogue) -> list[str]:
    """Items without text, texts that say nearly the same, and titles of several items."""
    lines, total = [], len(catalogue)
    # An item that the item table lacks, or whose row is empty, is described by its id.
    bare = sum(text in ("", item) for text, item in zip(catalogue.texts, catalogue.ids, strict=True))
    if bare:
        lines.append(f"{bare:,} of {counted(total, 'item')} have no text but their id, which the encoder cannot use")
    if bare < total:
        lines += _alike(catalogue.texts)
    titles = Counter(title for title, item in zip(catalogue.titles, catalogue.ids, strict=True) if title != item)
    twice = {title: count for title, count in titles.items() if count > 1}
    if twice:
        title, count = max(twice.items(), key=lambda pair: pair[1])
        shared = f"{counted(sum(twice.values()), 'item')} share {counted(len(twice), 'title')}"
        lines.append(f"{shared} ({quoted(title)}: {count:,} items); they may be one item with several ids")
    return lines


def _alike(texts: Sequence[str]) -> list[str]:
    """Texts of which few differ; numbers and words that nearly all texts have do not make a difference."""
    sample = texts[:: max(1, len(texts) // SAMPLE)]
    words = [frozenset(WORD.findall(text.lower())) for text in sample]
    found = Counter(word for some in words for word in some)
    common = {word for word, count in found.items() if count >= COMMON * len(sample)}
    different = len({some - common for some in words})
    if len(sample) > 1 and different <= max(1, ALIKE * len(sample)):
        count = f"{counted(different, 'different text')} among {counted(len(sample), 'item')}"
        return [f"only {count}, apart from numbers and words that all have; name other columns in data.text"]
    return []


def user_warnings(log: Log) -> list[str]:
    """Users with so many rows that they may be programs."""
    rows = np.bincount(log.user, minlength=log.num_users)
    many = rows >= MANY_ROWS
    if not many.any():
        return []
    share = rows[many].sum() / len(log)
    who = f"{counted(int(many.sum()), 'user')} with {MANY_ROWS:,} rows or more (most: {rows.max():,})"
    return [f"{who}, {share:.1%} of all rows; they may be programs or shared accounts"]
