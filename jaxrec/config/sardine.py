"""The eight presets of SARDINE (arXiv 2311.16586): numbers only."""

from typing import Literal

from jaxrec.config.section import section

SardinePreset = Literal[
    "SingleItem-Static",
    "SingleItem-BoredInf",
    "SingleItem-Uncertain",
    "SlateTopK-Bored",
    "SlateTopK-BoredInf",
    "SlateTopK-Uncertain",
    "SlateRerank-Static",
    "SlateRerank-Bored",
]
NEVER = 11  # as a boredom threshold: more clicks than are remembered


@section
class SardineValues:
    """What a preset decides; `SardineConfig` says what each number is."""

    slate_size: int
    num_items: int
    requests: int
    offset: float
    slope: float
    omega: float
    boredom_threshold: int
    decay: float


def _values(*row: float) -> SardineValues:
    """Build the values of one row of the table."""
    slate_size, num_items, requests, offset, slope, omega, threshold, decay = row
    return SardineValues(
        slate_size=int(slate_size),
        num_items=int(num_items),
        requests=int(requests),
        offset=float(offset),
        slope=float(slope),
        omega=float(omega),
        boredom_threshold=int(threshold),
        decay=float(decay),
    )


# slate, items, requests, offset, slope, omega, boredom threshold, decay
SARDINE_PRESETS: dict[SardinePreset, SardineValues] = {
    "SingleItem-Static": _values(1, 1000, 100, 0.65, 100, 1.00, NEVER, 0.85),
    "SingleItem-BoredInf": _values(1, 1000, 100, 0.65, 100, 0.95, 5, 0.85),
    "SingleItem-Uncertain": _values(1, 1000, 100, 0.65, 10, 1.00, NEVER, 0.85),
    "SlateTopK-Bored": _values(10, 1000, 100, 0.65, 100, 1.00, 5, 0.85),
    "SlateTopK-BoredInf": _values(10, 1000, 100, 0.65, 100, 0.95, 5, 0.85),
    "SlateTopK-Uncertain": _values(10, 1000, 100, 0.65, 10, 0.95, 5, 0.85),
    "SlateRerank-Static": _values(10, 10, 10, 0.30, 5, 1.00, NEVER, 0.70),
    "SlateRerank-Bored": _values(10, 10, 10, 0.30, 5, 1.00, 4, 0.70),
}
