"""Places of rows in the files of a table, for messages."""

import functools
import os
from collections.abc import Sequence

import numpy as np

from jaxrec.data.cells import Part

EXAMPLES = 3  # faulty rows in a message for each reason, malformed ones of each file


class Walks:
    """Finds the places of rows; reads each file at most once."""

    def __init__(self, parts: Sequence[Part]):
        self.parts = parts
        self.starts = np.cumsum([0, *(len(part) for part in parts)])
        self.folder = os.path.commonpath([part.path.parent for part in parts])
        self.of_part = functools.cache(lambda index: parts[index].places())

    def find(self, row: int) -> tuple[int, str]:
        """Give the index of a well-formed row's file, and 'line N' in it."""
        index = int(np.searchsorted(self.starts, row, side="right")) - 1
        return index, self.of_part(index).of(row - int(self.starts[index]))

    def place(self, row: int) -> str:
        """Give 'line N' of a well-formed row, with the name of its file if there are several."""
        return self._named(*self.find(row))

    def malformed(self, fault: str) -> list[str]:
        """Give the same for rows that are malformed in this way, the first few of each file."""
        named = []
        for index, part in enumerate(self.parts):
            if part.malformed and part.fault == fault:
                places = self.of_part(index)
                named += [self._named(index, f"{places.unit} {number}") for number in places.malformed[:EXAMPLES]]
        return named

    def _named(self, index: int, place: str) -> str:
        return f"{self.parts[index].path.relative_to(self.folder)} {place}" if len(self.parts) > 1 else place
