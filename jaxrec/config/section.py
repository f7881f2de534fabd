"""Sections of a recipe: frozen, keyword-only dataclasses that check themselves when they are built."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple, dataclass_transform


@dataclass_transform(frozen_default=True, kw_only_default=True)
def section(cls):
    """Make the class a frozen, keyword-only dataclass."""
    return dataclasses.dataclass(frozen=True, kw_only=True)(cls)


class Variants(NamedTuple):
    """Annotation of a field whose section has variants; `table()` maps each variant's `name` to its class.

    It is a function because other packages add variants while a program runs.
    """

    table: Callable[[], Mapping[str, type]]
