"""The section about SARDINE's users (arXiv 2311.16586) and its eight presets."""

import dataclasses
from typing import Literal

from jaxrec.checks import InputError, check_range
from jaxrec.config.action import ActionConfig
from jaxrec.config.choice import ChoiceConfig
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
    """The numbers of a preset; `SardineConfig` explains each."""

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


@section
class SardineConfig:
    """SARDINE's users: they click by position, get bored, and their tastes follow their clicks (arXiv 2311.16586).

    Fields that are None come from `preset`; a field that is set replaces that value alone.
    """

    name: Literal["sardine"] = "sardine"
    preset: SardinePreset = "SlateTopK-Bored"
    slate_size: int | None = None
    num_items: int | None = None
    requests: int | None = None  # per episode, always as many; the end is a truncation
    offset: float | None = None  # product of item and user at which the relevance is one half
    slope: float | None = None  # of the relevance in that product
    omega: float | None = None  # share of the interests that a click does not change; 1: no influence
    boredom_threshold: int | None = None  # clicks on a topic among the 10 latest that cause boredom; 11: never
    decay: float | None = None  # attention factor per place
    choice: ChoiceConfig | None = None  # None: position, with `decay`
    action: ActionConfig | None = None  # vectors that name slates; None: an action is a slate
    boredom: Literal["churn_and_return", "topic"] = "churn_and_return"  # no interest in anything, or in the topic
    boredom_steps: int = 5  # how long clicks are remembered and boredom lasts
    history_slates: int = 1  # latest slates in the observation
    ideal_state: bool = False  # the observation holds the hidden interests and boredom too
    compat: bool = False  # average as the published code does: influence by one number, see jaxrec.envs.sardine
    item_seed: int = 0  # seed of the items' vectors, which are the same for all users
    reward: dict[str, float] = dataclasses.field(default_factory=lambda: {"click": 1.0})

    def __post_init__(self):
        values = self.values
        check_range("env.num_items", values.num_items, 1)
        check_range("env.slate_size", values.slate_size, 1, values.num_items)
        check_range("env.slope", values.slope, 0, open_low=True)
        for name in ("requests", "boredom_threshold"):
            check_range(f"env.{name}", getattr(values, name), 1)
        for name in ("boredom_steps", "history_slates"):
            check_range(f"env.{name}", getattr(self, name), 1)
        for name in ("omega", "decay"):
            check_range(f"env.{name}", getattr(values, name), 0, 1)
        check_range("env.item_seed", self.item_seed, 0)
        if self.action is not None and self.action.name == "behaviours":
            raise InputError(
                "env.action.name: behaviours, but SARDINE's users give clicks alone; set it to item or query."
            )
        if self.choice is not None and self.decay is not None:
            raise InputError("env.decay: the choice model in env.choice has its own decay; set env.choice.decay.")

    @property
    def values(self) -> SardineValues:
        """The values of the preset, replaced by the fields that are set."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(SardineValues)}
        given = {name: value for name, value in own.items() if value is not None}
        return dataclasses.replace(SARDINE_PRESETS[self.preset], **given)

    @property
    def choice_model(self) -> ChoiceConfig:
        """The choice model; by default position, with `decay`."""
        return self.choice or ChoiceConfig(name="position", decay=self.values.decay)

    @property
    def history_length(self) -> int:
        """H, shown items in the observation."""
        return self.history_slates * self.values.slate_size
