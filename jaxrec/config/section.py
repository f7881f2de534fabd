"""What makes a section of a recipe: a frozen, keyword-only dataclass that checks itself when it is built."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple, dataclass_transform


@dataclass_transform(frozen_default=True, kw_only_default=True)
def section(cls):
    """A frozen, keyword-only dataclass."""
    return dataclasses.dataclass(frozen=True, kw_only=True)(cls)


class Variants(NamedTuple):
    """Annotation of a field whose section has variants: `table()` gives them by their field `name`.

    A function, not a table: variants of other packages join while a program runs.
    """

    table: Callable[[], Mapping[str, type]]
