"""Histories as people write them: item ids with what the user thought of the items, oldest first.

    318                      successful: the rewarded kinds of feedback are 1, the others are 0
    318:4.5                  the number of the log's one feedback column
    318:rating=4.5:clicked=1 columns or kinds of feedback by name; the others are 0

An id may contain colons and commas, because the longest known id is taken. It may also be in double quotes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from jaxrec.checks import InputError, check_name, suggest
from jaxrec.config.data import FeedbackKind
from jaxrec.foreign import quoted

Entry = str | Mapping[str, Any]  # "ID:NAME=NUMBER", or {"item": ID, NAME: NUMBER}
ITEM = "item"  # the key of the id
Unknown = Literal["refuse", "ignore"]  # what becomes of items outside the catalogue


class HistoryReader:
    """Reads histories of items `ids` with the kinds of `feedback`; `rewarded` [F] says which are successes."""

    def __init__(self, ids: Sequence[str], feedback: Mapping[str, FeedbackKind], rewarded: Sequence[bool]):
        """Index the ids."""
        self._row = {item_id: n for n, item_id in enumerate(ids)}
        self._ids, self._kinds = ids, feedback
        self._columns = list(dict.fromkeys(kind.column for kind in feedback.values() if kind.column is not None))
        self._commas = max((item_id.count(",") for item_id in ids), default=0)
        self._colons = max((item_id.count(":") for item_id in ids), default=0)
        self._quotes = any('"' in item_id for item_id in ids)
        self.success = [float(one) for one in rewarded] if any(rewarded) else [1.0] + [0.0] * (len(feedback) - 1)

    def read(self, history: Sequence[Entry]) -> tuple[np.ndarray, np.ndarray]:
        """Give item rows [N] int32 and feedback [N, F] float32; raises InputError for what cannot be read."""
        entries = [
            self._mapped(entry) if isinstance(entry, Mapping) else self._written(str(entry)) for entry in history
        ]
        items = np.array([self._row[item_id] for item_id, _ in entries], np.int32)
        feedback = [self._values(values) for _, values in entries]
        return items, np.asarray(feedback, np.float32).reshape(len(items), len(self._kinds))

    def known(self, history: Sequence[Entry], unknown: Unknown = "ignore") -> tuple[Sequence[Entry], int]:
        """Leave out items that the catalogue lacks, and count them; with "refuse", leave them for `read` to refuse."""
        if unknown == "refuse":
            return history, 0
        kept = [entry for entry in history if self._names_item(entry)]
        return kept, len(history) - len(kept)

    def legible(self, stored: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Leave out what cannot be read of stored entries, as after a change of the kinds of feedback.

        An entry of which nothing is left is dropped: alone, its item would count as a success.
        """
        kept = [{name: value for name, value in one.items() if self._reads(name, value)} for one in stored]
        return [one for one in kept if len(one) > 1]

    def _reads(self, name: str, value: Any) -> bool:
        if name == ITEM:
            return True
        if name not in self._kinds and name not in self._columns:
            return False
        try:
            self._values({name: str(value)})
        except InputError:
            return False
        return True

    def rows(self, ids: Sequence[str], unknown: Unknown = "refuse") -> np.ndarray:
        """Rows [N] int32 of items by their ids; those that the catalogue lacks are refused or left out."""
        if unknown == "refuse" and (lacking := next((one for one in ids if one not in self._row), None)) is not None:
            raise self._unknown(lacking)
        return np.array([self._row[one] for one in ids if one in self._row], np.int32)

    def _names_item(self, entry: Entry) -> bool:
        """Whether an entry begins with an item of the catalogue; one without any item is left for `read` to refuse."""
        if isinstance(entry, Mapping):
            return ITEM not in entry or str(entry[ITEM]) in self._row
        return self._parted(str(entry).strip()) is not None

    def split(self, text: str) -> list[str]:
        """Split 'ID,ID:NUMBER' at its commas, except at those of ids."""
        parts, entries = (text if self._quotes else text.replace('"', "")).split(","), []
        while parts:
            sizes = range(min(self._commas + 1, len(parts)), 1, -1)
            size = next((n for n in sizes if self._commas_of(",".join(parts[:n])) == n - 1), 1)
            entries.append(",".join(parts[:size]).strip())
            parts = parts[size:]
        return [entry for entry in entries if entry]

    def _commas_of(self, text: str) -> int:
        """Commas of the id that `text` begins with; -1 without one."""
        parted = self._parted(text.strip())
        return -1 if parted is None else parted[0].count(",")

    def _parted(self, text: str) -> tuple[str, list[str]] | None:
        """The longest known id that 'ID:VALUE:VALUE' begins with, and its values."""
        pieces = text.split(":")
        for size in range(min(len(pieces), self._colons + 1), 0, -1):
            item_id = ":".join(pieces[:size]).strip()
            if item_id in self._row:
                return item_id, [piece.strip() for piece in pieces[size:]]
        return None

    def _written(self, text: str) -> tuple[str, dict[str, str]]:
        parted = self._parted(text.strip())
        if parted is None:
            raise self._unknown(text.strip())
        item_id, values = parted
        if len(values) == 1 and "=" not in values[0]:
            return item_id, {self._column(item_id): values[0]}
        named = {}
        for value in values:
            name, equals, number = value.partition("=")
            if not equals:
                raise InputError(f"history: expected NAME=NUMBER after {item_id}, got {quoted(value)}.")
            named[name.strip()] = number.strip()
        return item_id, named

    def _mapped(self, entry: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
        if ITEM not in entry:
            raise InputError(f"history: no field {ITEM} in {quoted(dict(entry))}; give the id of the item there.")
        item_id = str(entry[ITEM])
        if item_id not in self._row:
            raise self._unknown(item_id)
        return item_id, {name: str(number) for name, number in entry.items() if name != ITEM}

    def _unknown(self, item_id: str) -> InputError:
        close = suggest(item_id, self._ids) or suggest(item_id.partition(":")[0], self._ids)
        return InputError(f"history: no item {quoted(item_id)} in the catalogue of {len(self._ids)}{close}.")

    def _column(self, item_id: str) -> str:
        """The name that a number without a name belongs to."""
        if len(self._columns) > 1:
            raise InputError(
                f"history: the log has several feedback columns ({', '.join(self._columns)}); name the one of the "
                f"number, as in {item_id}:{self._columns[0]}=1."
            )
        return self._columns[0] if self._columns else next(iter(self._kinds))

    def _values(self, named: Mapping[str, str]) -> list[float]:
        """Feedback [F] of an item from what is known of it."""
        if not named:
            return self.success
        for name in named:
            check_name("history", name, [*self._kinds, *self._columns])
        return [self._value(name, kind, named) for name, kind in self._kinds.items()]

    def _value(self, name: str, kind: FeedbackKind, named: Mapping[str, str]) -> float:
        given = name if kind.column is None or kind.column not in named else kind.column
        if given not in named:
            return float(kind.column is None)  # then every row has it
        by_name = given == name and kind.column not in (None, name)  # the feedback itself, not its column
        if kind.words and not by_name:
            return float(named[given] in kind.words)
        if kind.weights and not by_name:
            number = kind.weights.get(named[given], 0.0)
        else:
            try:
                number = float(named[given])
            except ValueError:
                raise InputError(f"history: expected a number for {given}, got {quoted(named[given])}.") from None
        if kind.band is not None and not by_name:
            return float(kind.band[0] <= number <= kind.band[1])
        if number not in (0.0, 1.0):
            raise InputError(f"history: expected 0 or 1 for {given}, got {number:g}.")
        return number
