"""What makes a section of a recipe: a frozen, keyword-only dataclass that checks itself when it is built."""

import dataclasses
from typing import dataclass_transform


@dataclass_transform(frozen_default=True, kw_only_default=True)
def section(cls):
    """A frozen, keyword-only dataclass."""
    return dataclasses.dataclass(frozen=True, kw_only=True)(cls)
