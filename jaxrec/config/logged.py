"""Sections about users fitted to a log: the response model, when users leave, when they come back."""

import dataclasses
from typing import ClassVar, Literal

from jaxrec.checks import InputError, check_range
from jaxrec.config.action import ActionConfig
from jaxrec.config.section import section


@section
class TemperConfig:
    """When users leave (KuaiSim, arXiv 2309.12645): the less they like a slate, the more their temper falls.

    temper <- temper + clip(satisfaction - target, -target, 0), where satisfaction is the mean over the slate of the
    weighted feedback. The user leaves when temper falls below 1.
    """

    name: Literal["temper"] = "temper"
    start: float = 20.0
    target: float = 2.0
    weights: dict[str, float] = dataclasses.field(default_factory=dict)  # of feedback; empty: those of env.reward

    def __post_init__(self):
        check_range("env.leave.start", self.start, 1)
        check_range("env.leave.target", self.target, 0, open_low=True)
        for name, weight in self.weights.items():
            check_range(f"env.leave.weights.{name}", weight)


@section
class HazardConfig:
    """When users leave: with a chance after each slate that is fitted to the log; `jaxrec.supervised.leaving`."""

    name: Literal["hazard"] = "hazard"
    gap_hours: float = 12.0  # a longer pause in the log ends a visit
    weights: dict[str, float] = dataclasses.field(default_factory=dict)  # of feedback; empty: those of env.reward

    def __post_init__(self):
        check_range("env.leave.gap_hours", self.gap_hours, 0, open_low=True)
        for name, weight in self.weights.items():
            check_range(f"env.leave.weights.{name}", weight)


@section
class ComebackConfig:
    """When users who left come back (KuaiSim, arXiv 2309.12645); `jaxrec.supervised.comeback` has the equations."""

    name: Literal["days"] = "days"
    sessions: int = 5  # visits per user; the end of the last is a termination
    base: float = 0.4  # P of coming back on a day, before what the user and the last slate add
    reward_weight: float = 0.1  # lambda: what one unit of the last slate's mean reward adds to P
    gap_hours: float = 12.0  # a longer pause in the log ends a visit; shorter ones are part of the same visit

    def __post_init__(self):
        check_range("env.comeback_model.sessions", self.sessions, 1)
        check_range("env.comeback_model.base", self.base, 0, 1)
        check_range("env.comeback_model.reward_weight", self.reward_weight)
        check_range("env.comeback_model.gap_hours", self.gap_hours, 0, open_low=True)


@section
class LoggedConfig:
    """Users fitted to a log. The whole catalogue is recommendable, and every request shows one slate."""

    fitted: ClassVar[tuple[str, ...]] = ("train", "judge")  # simulators that a finished run holds

    name: Literal["logged"] = "logged"
    response: Literal["tastes", "last_rows"] = "tastes"  # what is fitted: tastes of each user, or KuaiSim's response
    path: str = ""  # what `jaxrec fit-simulator` wrote; empty in recipes whose run fits its own
    slate_size: int = 5
    action: ActionConfig | None = None  # vectors that name slates; None: an action is a slate
    requests: int = 10  # most per episode; reaching it is a truncation
    history_length: int = 0  # rows that policies observe and that are not shown again; 0: 100, or all of a visit
    repeats: bool = False  # items of the history may be shown again
    new_users: float = 0.0  # share of training visits with at most four known rows; evaluation draws all rows alike
    reward: dict[str, float] = dataclasses.field(default_factory=lambda: {"liked": 1.0})  # feedback, outcomes
    leave: TemperConfig | HazardConfig | None = None  # None: no user leaves before `requests`
    comeback_model: ComebackConfig | None = None  # None: an episode is one visit
    slate_interaction: float = 0.0  # rho: p falls by rho x mean text cosine to the other items of the slate
    # Only of `last_rows`:
    pessimism: float = 0.0  # standard deviations over the ensemble by which p is lowered in training
    drift: float = 1.0  # 0: answers stay as at the start of the visit, 1: they follow everything shown in it

    def __post_init__(self):
        check_range("env.slate_size", self.slate_size, 1)
        check_range("env.requests", self.requests, 1)
        check_range("env.slate_interaction", self.slate_interaction, 0, 1)
        check_range("env.pessimism", self.pessimism, 0)
        check_range("env.drift", self.drift, 0, 1)
        check_range("env.history_length", self.history_length, 0)
        check_range("env.new_users", self.new_users, 0, 1)
        for name, default in {"pessimism": 0.0, "drift": 1.0}.items():
            if self.response == "tastes" and getattr(self, name) != default:
                raise InputError(
                    f"env.{name}: people with tastes of their own have none; remove it, or set env.response: last_rows."
                )
        if self.action is not None and self.action.name == "behaviours" and self.response == "tastes":
            raise InputError(
                "env.action.name: behaviours, but answers of people with tastes of their own are hidden from policies; "
                "set env.response: last_rows, or env.action.name to item or query."
            )
        if self.comeback_model is not None and self.leave is None:
            raise InputError("env.comeback_model: no user leaves, so none comes back; set env.leave.")
        for name, weight in self.reward.items():
            check_range(f"env.reward.{name}", weight)


@section
class ResponseConfig:
    """The model of users' feedback that is fitted to a log and becomes the simulator."""

    history_length: int = 20  # H, latest items that a user's state reads one by one
    width: int = 32  # d, of encodings and states
    layers: int = 1  # of the Transformer over the history
    heads: int = 4
    dropout: float = 0.1  # while fitting only
    recent: tuple[float, ...] = (0.05, 0.2)  # rates of the running means of feedback over the history
    mean_strength: float = 30.0  # rows of the log's mean that are mixed into an item's mean feedback
    id_strength: float = 1000.0  # rows at which an item's own terms count half; with fewer rows its text counts more
    holdout: float = 0.1  # latest share of the rows, for calibration
    epochs: int = 8
    batch_size: int = 64  # windows of `history_length` rows
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    members: int = 3  # fits with different seeds whose mean probability is the simulator

    def __post_init__(self):
        for name in ("members", "history_length", "width", "layers", "heads", "epochs", "batch_size"):
            check_range(f"response.{name}", getattr(self, name), 1)
        if self.width % self.heads:
            raise InputError(f"response.width: expected a multiple of response.heads={self.heads}, got {self.width}.")
        check_range("response.dropout", self.dropout, 0, 0.9)
        for rate in self.recent:
            check_range("response.recent", rate, 0, 1, open_low=True)
        for name in ("mean_strength", "id_strength", "learning_rate"):
            check_range(f"response.{name}", getattr(self, name), 0, open_low=True)
        check_range("response.weight_decay", self.weight_decay, 0)
        check_range("response.holdout", self.holdout, 0.01, 0.5)
