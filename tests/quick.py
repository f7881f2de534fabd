"""Which cases of a long list run in `make test`; the others are marked slow and left to `make test-all`."""

from collections.abc import Container, Iterable
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet


def slow_unless(quick: Container[Any], values: Iterable[Any]) -> list[ParameterSet]:
    """Parameters of the `values`, in their order; those that are not in `quick` are marked slow."""
    return [pytest.param(value, marks=() if value in quick else pytest.mark.slow) for value in values]
