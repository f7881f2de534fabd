"""Sections about users replayed from a matrix of rewards."""

import dataclasses
from typing import Literal

from jaxrec.checks import check_range
from jaxrec.config.section import section


@section
class CategoriesConfig:
    """Users leave when a category of the new item was in more than `threshold` of the last `window` items."""

    name: Literal["categories"] = "categories"
    window: int = 9
    threshold: int = 1

    def __post_init__(self):
        check_range("env.leave.window", self.window, 1)
        check_range("env.leave.threshold", self.threshold, 0)


@section
class DistanceConfig:
    """Users leave when the new item is nearer than `threshold` to one of the last `window` items."""

    name: Literal["distance"] = "distance"
    window: int = 5
    threshold: float = 0.5  # Euclidean, between item vectors

    def __post_init__(self):
        check_range("env.leave.window", self.window, 1)
        check_range("env.leave.threshold", self.threshold, 0, open_low=True)


@section
class FactorsConfig:
    """The factorisation that fills a log's gaps (`jaxrec.supervised.factorise`)."""

    rank: int = 8
    ridge: float = 0.1  # penalty per row and factor
    sweeps: int = 15  # each over users, then items
    bias_strength: float = 10.0  # rows of the log's mean that are mixed into the means of users and items

    def __post_init__(self):
        check_range("env.factors.rank", self.rank, 1, 256)
        check_range("env.factors.sweeps", self.sweeps, 1)
        for name in ("ridge", "bias_strength"):
            check_range(f"env.factors.{name}", getattr(self, name), 0, open_low=True)


@section
class FullMatrixConfig:
    """Users replayed from a dense matrix of rewards, one item per turn."""

    name: Literal["full_matrix"] = "full_matrix"
    path: str = ""  # .npz or a folder with matrix.npz; empty in recipes whose run factorises the log of `data`
    turns: int = 30  # most per episode; reaching it is a truncation
    reward: dict[str, float] = dataclasses.field(default_factory=lambda: {"value": 1.0})  # value, depth, leave
    leave: CategoriesConfig | DistanceConfig | None = CategoriesConfig()  # None: no user leaves before `turns`
    repeats: bool = False  # items may be shown again within a visit
    compat: bool = False  # EasyRL4Rec's leave window before `window` items were shown, see jaxrec.envs.leave
    factors: FactorsConfig = FactorsConfig()  # if the run factorises a log

    def __post_init__(self):
        check_range("env.turns", self.turns, 1)
        for name, weight in self.reward.items():
            check_range(f"env.reward.{name}", weight)

    @property
    def slate_size(self) -> int:
        """K, always one item."""
        return 1
