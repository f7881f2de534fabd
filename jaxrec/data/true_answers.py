"""Known answers of people to items, in .npz files: the truth that policies are judged by (`evaluate.truth`).

users          [U] ids as in the log
items          [I] ids as in the log
KIND           [U, I] for each kind of feedback: 0, 1 or a probability; NaN where the answer is unknown
COLUMN         [U, I] in place of KIND: values of the kind's column, to which the recipe's thresholds apply
recommendable  [I] bool, items that policies may show; all if it is missing

If the recipe has one kind of feedback, its array may also be called `matrix`. So one file can be both the truth of a
log and the users of `env.name: full_matrix` (jaxrec/data/matrix.py).
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from jaxrec.checks import InputError, check_shape, suggest
from jaxrec.config.data import DataConfig, FeedbackKind
from jaxrec.data.log import counted
from jaxrec.data.matrix import read_arrays
from jaxrec.data.pseudonyms import pseudonymise, user_key
from jaxrec.data.values import binary_feedback
from jaxrec.foreign import quoted
from jaxrec.home import expanded

WHERE = "evaluate.truth"
MATRIX, SHOWN = "matrix", "recommendable"
IDS = ("users", "items")
NOT_READ = ("categories", "vectors")  # of matrices that serve `env.name: full_matrix` too


@dataclasses.dataclass(frozen=True)
class TrueAnswers:
    """A checked file; U people and the I items that policies may show."""

    name: str  # of the file
    users: tuple[str, ...]  # pseudonyms, as in `Dataset.users`
    items: tuple[str, ...]  # ids, as in `Catalogue.ids`
    answers: np.ndarray  # [U, I, F] probabilities, NaN where unknown


def read_true_answers(path: str, config: DataConfig) -> TrueAnswers:
    """Read a file, with the feedback and the key of user ids of `config`; raises InputError for anything unexpected."""
    truth = _read(path, config)
    if config.source == "generated":  # a user's number is the pseudonym
        return truth
    return dataclasses.replace(truth, users=pseudonymise(truth.users, user_key(config).secret))


def check_true_answers(path: str, config: DataConfig) -> None:
    """Raise InputError unless the file can be read; needs no key."""
    _read(path, config)


def _read(path: str, config: DataConfig) -> TrueAnswers:
    """Read a file whose users still have their own ids."""
    file = expanded(path)
    remedy = "give a .npz file with the arrays users, items and one [users, items] per kind of feedback"
    arrays = read_arrays(file, WHERE, remedy, lambda name: name not in NOT_READ)
    try:
        _check_names(arrays, config.feedback)
        users, items = (_ids(name, arrays) for name in IDS)
        answers = np.stack([_kind(name, kind, arrays, config) for name, kind in config.feedback.items()], axis=-1)
        if not np.isfinite(answers).all(-1).any():
            raise InputError("every answer is NaN in some kind of feedback; give answers that are known.")
        shown = arrays.get(SHOWN, np.ones(len(items), bool)).astype(bool)
        check_shape(SHOWN, shown, (len(items),))
    except InputError as error:
        raise InputError(f"{WHERE}: {file}: {error}") from None
    return TrueAnswers(file.name, users, tuple(np.array(items, object)[shown]), answers[:, shown])


def _check_names(arrays: Mapping[str, np.ndarray], kinds: Mapping[str, FeedbackKind]) -> None:
    columns = [column for kind in kinds.values() for column in (kind.column, kind.over) if column]
    known = dict.fromkeys([*kinds, *columns, *IDS, MATRIX, SHOWN])
    for name in arrays:
        if name not in known:
            raise InputError(
                f"array {quoted(name)} is no kind of feedback of data.feedback{suggest(name, known)}; rename or remove "
                f"it (known: {', '.join(known)})."
            )
    for name in IDS:
        if name not in arrays:
            raise InputError(f"no array {quoted(name)} in it; add the ids of the {name}, as in the log.")


def _ids(name: str, arrays: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Ids as text; whole numbers and bytes are converted."""
    ids = arrays[name]
    if ids.dtype.kind not in "iuUS" or ids.ndim != 1 or not len(ids):
        raise InputError(
            f"{name}: expected a list of ids, whole numbers or text, got {ids.dtype} of shape {ids.shape}."
        )
    texts = [(x.decode("utf-8", "replace") if isinstance(x, bytes) else str(x)).strip() for x in ids.tolist()]
    first: dict[str, int] = {}
    for place, text in enumerate(texts):
        if first.setdefault(text, place) != place:
            raise InputError(f"{name}: places {first[text]} and {place} (from 0) have the same id; keep one of them.")
    return tuple(texts)


def _kind(name: str, kind: FeedbackKind, arrays: Mapping[str, np.ndarray], config: DataConfig) -> np.ndarray:
    """P(feedback) of one kind, [U, I] with NaN where it is unknown."""
    shape = len(arrays["users"]), len(arrays["items"])
    if name in arrays and name != kind.column:
        return _probabilities(name, _numbers(name, arrays, shape))
    column = kind.column or MATRIX
    source = column if column in arrays else MATRIX
    if source not in arrays or (source != kind.column and len(config.feedback) > 1):
        raise InputError(f"no array {quoted(name)} for this kind of feedback; add it [users, items], with 0, 1 or NaN.")
    values = {column: _numbers(source, arrays, shape)}
    number = values[column]
    if kind.over is not None:
        if kind.over not in arrays:
            raise InputError(
                f"no array {quoted(kind.over)}, by which data.feedback.{name}.over divides {source}; add it, or "
                f"give {name}."
            )
        values[kind.over] = _numbers(kind.over, arrays, shape)
        if (values[kind.over] == 0).any():
            raise InputError(f"{kind.over}: expected no 0, since it is a divisor; write NaN where it is unknown.")
        number = number / values[kind.over]
    if kind.band is None:
        return _probabilities(source, number)
    flat = {what: x.reshape(-1) for what, x in values.items()}
    read = {name: dataclasses.replace(kind, column=column, weights={})}  # the array has the numbers of words
    binary = binary_feedback(read, flat, np.ones(number.size, bool), lambda row: f"entry {row}")
    return np.where(np.isnan(number), np.nan, binary.reshape(shape)).astype(np.float32)


def _numbers(name: str, arrays: Mapping[str, np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """An array as float64 [U, I]; NaN is allowed, infinity is not."""
    values = arrays[name]
    if values.dtype.kind not in "fiub":
        raise InputError(f"{name}: expected numbers, got {values.dtype}.")
    if values.shape != shape:
        users, items = (counted(n, what) for n, what in zip(shape, ("user", "item"), strict=True))
        raise InputError(f"{name}: expected shape {shape} ({users}, {items}), got {values.shape}.")
    values = values.astype(np.float64)
    _refuse(name, values, np.isinf(values), "a finite number, or NaN where it is unknown")
    return values


def _probabilities(name: str, values: np.ndarray) -> np.ndarray:
    _refuse(name, values, (values < 0) | (values > 1), "0, 1 or a probability (or set a threshold in data.feedback)")
    return values.astype(np.float32)


def _refuse(name: str, values: np.ndarray, wrong: np.ndarray, wanted: str) -> None:
    places = np.argwhere(wrong)
    if len(places):
        user, item = places[0]
        raise InputError(f"{name}: expected {wanted}, got {values[user, item]:g} at [{user}, {item}].")
