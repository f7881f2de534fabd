"""Numbers in the printed form of `jaxrec inspect`."""

from collections.abc import Mapping
from typing import Any


def shape(x: Mapping[str, Any]) -> str:
    """Sizes and type of an array."""
    return f"{' x '.join(str(n) for n in x['shape']) or '1'} {x['dtype']}"


def number(value: float | None) -> str:
    """Four digits."""
    return "-" if value is None else f"{value:.4g}"


def byte_size(count: int) -> str:
    """Bytes in a unit that keeps the number short."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024  # type: ignore[assignment]
    return f"{count:.1f} GiB"
