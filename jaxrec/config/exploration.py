"""How learners of action values explore, by name, with the fields that each way reads."""

import dataclasses
from typing import Any, Literal

from jaxrec.checks import InputError, check_range
from jaxrec.config.section import section

HEADS = ("heads", "head_share", "prior_scale")
READ_BY = {  # exploration -> the fields that it reads
    "epsilon_greedy": ("epsilon_start", "epsilon_end", "epsilon_updates"),
    "boltzmann": ("temperature_start", "temperature_end", "temperature_updates"),
    "ucb": ("bonus", "bonus_start", "bonus_end", "bonus_updates", *HEADS),
    "thompson": HEADS,
}
READERS = {name: way for way, names in READ_BY.items() for name in names} | dict.fromkeys(
    HEADS, "thompson, or to ucb with learner.bonus=spread or both"
)


@section
class Exploration:
    """Fields of exploration; bonuses, temperatures and priors are in scaled rewards."""

    # epsilon_greedy fills places of the best slate at random, boltzmann draws slates from softmax(Q / temperature), ucb
    # shows the best slate of Q + weight x bonus, and thompson that of one head of an ensemble per episode.
    exploration: Literal["epsilon_greedy", "boltzmann", "ucb", "thompson"] = "epsilon_greedy"
    epsilon_start: float = 1.0  # chance that a place of the slate is filled at random
    epsilon_end: float = 0.05
    epsilon_updates: int = 100  # updates over which epsilon changes linearly
    temperature_start: float = 1.0  # by which values are divided
    temperature_end: float = 0.05
    temperature_updates: int = 100
    # counts: sqrt(log(1 + all shown items) / (1 + how often the item was shown)). spread: deviation of its value over
    # the heads. both: their sum.
    bonus: Literal["counts", "spread", "both"] = "counts"
    bonus_start: float = 1.0  # weight of the bonus
    bonus_end: float = 0.1
    bonus_updates: int = 100
    heads: int = 10  # of the ensemble; each costs a gradient of its own
    head_share: float = 0.5  # chance that a head learns from a user stream; 1: all heads see the same
    prior_scale: float = 1.0  # deviation of the fixed random values that every head starts from (arXiv 1806.03335)

    @property
    def has_heads(self) -> bool:
        """True if an ensemble is learned next to the policy; derived, never stored."""
        return self.exploration == "thompson" or (self.exploration == "ucb" and self.bonus != "counts")

    @property
    def has_counts(self) -> bool:
        """True if shown items are counted; derived, never stored."""
        return self.exploration == "ucb" and self.bonus != "spread"

    def check_exploration(self) -> None:
        """Raise InputError for values out of range and for fields that the exploration does not read."""
        for name in ("epsilon_start", "epsilon_end"):
            check_range(f"learner.{name}", getattr(self, name), 0, 1)
        for name in ("temperature_start", "temperature_end"):
            check_range(f"learner.{name}", getattr(self, name), 0, open_low=True)
        for name in ("bonus_start", "bonus_end", "prior_scale"):
            check_range(f"learner.{name}", getattr(self, name), 0)
        for name in ("epsilon_updates", "temperature_updates", "bonus_updates"):
            check_range(f"learner.{name}", getattr(self, name), 1)
        check_range("learner.heads", self.heads, 2)
        check_range("learner.head_share", self.head_share, 0, 1, open_low=True)
        for name in unread_fields(self):
            raise InputError(
                f"learner.{name}: not read with learner.exploration={self.exploration}{self._without_heads(name)}; "
                f"remove it, or set learner.exploration to {READERS[name]}."
            )

    def _without_heads(self, name: str) -> str:
        """Say why a field of heads is not read, where the exploration could have some."""
        return f" and learner.bonus={self.bonus}" if name in HEADS and self.exploration == "ucb" else ""


def unread_fields(config: Any) -> list[str]:
    """Fields of exploration that differ from their defaults although the exploration does not read them."""
    read = set(READ_BY[config.exploration]) - (set() if config.has_heads else set(HEADS))
    defaults = {field.name: field.default for field in dataclasses.fields(Exploration)}
    fields = [name for name in defaults if name != "exploration" and name not in read]
    return [name for name in fields if getattr(config, name) != defaults[name]]
