"""Sections about users: the simulated ones and the response model they are fitted with."""

import dataclasses
from typing import Literal

from jaxrec.checks import InputError, check_range
from jaxrec.config.sardine import SARDINE_PRESETS, SardinePreset, SardineValues
from jaxrec.config.section import section


@section
class ChoiceConfig:
    """Which shown items a user takes; `jaxrec.envs.choice` has the equations."""

    name: Literal["proportional", "logit", "cascade", "position"] = "proportional"
    none: float = 1.0  # proportional, logit: score of taking nothing
    decay: float = 0.85  # cascade: chance to read on after an item not taken; position: attention lost a place

    def __post_init__(self):
        check_range("env.choice.decay", self.decay, 0, 1)


@section
class InterestEvolutionConfig:
    """RecSim's interest evolution users (the SlateQ experiment)."""

    name: Literal["interest_evolution"] = "interest_evolution"
    num_candidates: int = 10
    slate_size: int = 3
    choice: ChoiceConfig = ChoiceConfig()
    reward: dict[str, float] = dataclasses.field(default_factory=lambda: {"watch_time": 1.0})

    def __post_init__(self):
        check_range("env.num_candidates", self.num_candidates, 1)
        check_range("env.slate_size", self.slate_size, 1, self.num_candidates)


@section
class InterestExplorationConfig:
    """RecSim's interest exploration users: hidden types, fresh documents of two topics."""

    name: Literal["interest_exploration"] = "interest_exploration"
    num_candidates: int = 10
    slate_size: int = 3
    steps: int = 100  # of a session, which is then cut
    choice: ChoiceConfig = ChoiceConfig(name="logit", none=5.0)
    reward: dict[str, float] = dataclasses.field(default_factory=lambda: {"click": 1.0})

    def __post_init__(self):
        check_range("env.num_candidates", self.num_candidates, 1)
        check_range("env.slate_size", self.slate_size, 1, self.num_candidates)
        check_range("env.steps", self.steps, 1)


@section
class LongTermSatisfactionConfig:
    """RecSim's long-term satisfaction users ("choc" and "kale"); the equations are with the environment."""

    name: Literal["long_term_satisfaction"] = "long_term_satisfaction"
    num_candidates: int = 10
    slate_size: int = 1  # only the first document is ever taken
    budget: int = 60  # steps after which users leave
    sensitivity: float = 0.01  # of satisfaction to exposure; up to 0.05 clickbait pays in the long run too
    memory_discount: float = 0.7  # of exposure, a step
    innovation_sd: float = 0.05  # of exposure
    choc_mean: float = 5.0  # log engagement with pure clickbait, at full satisfaction
    choc_sd: float = 1.0
    kale_mean: float = 4.0  # with none
    kale_sd: float = 1.0
    reward: dict[str, float] = dataclasses.field(default_factory=lambda: {"engagement": 1.0})

    def __post_init__(self):
        check_range("env.num_candidates", self.num_candidates, 1)
        check_range("env.slate_size", self.slate_size, 1, self.num_candidates)
        check_range("env.budget", self.budget, 1)
        check_range("env.memory_discount", self.memory_discount, 0, 0.999)
        for name in ("sensitivity", "choc_mean", "kale_mean"):
            check_range(f"env.{name}", getattr(self, name))
        for name in ("innovation_sd", "choc_sd", "kale_sd"):
            check_range(f"env.{name}", getattr(self, name), 0)


@section
class TemperConfig:
    """When users leave (KuaiSim, arXiv 2309.12645): temper falls by 0 to `target` a request, the less they like it.

    temper <- temper + clip(satisfaction - target, -target, 0), satisfaction being the mean over the slate of the
    weighted feedback; the user leaves when temper falls below 1.
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
class ReturnConfig:
    """When users who left come back (KuaiSim, arXiv 2309.12645); `jaxrec.supervised.returns` has the equations."""

    name: Literal["days"] = "days"
    sessions: int = 5  # visits of one user; the end of the last is a termination
    base: float = 0.4  # P of coming back on a day, before what the user and the last slate add
    reward_weight: float = 0.1  # lambda: what one unit of the last slate's mean reward adds to P
    gap_hours: float = 12.0  # a longer pause in the log is a return: who is back the same day has not been away

    def __post_init__(self):
        check_range("env.return_model.sessions", self.sessions, 1)
        check_range("env.return_model.base", self.base, 0, 1)
        check_range("env.return_model.reward_weight", self.reward_weight)
        check_range("env.return_model.gap_hours", self.gap_hours, 0, open_low=True)


@section
class LoggedConfig:
    """Users fitted to a log: the whole catalogue is recommendable, every request shows one slate."""

    name: Literal["logged"] = "logged"
    path: str = ""  # what `jaxrec fit-simulator` wrote; empty in recipes whose run fits its own
    slate_size: int = 5
    requests: int = 10  # an episode at most; reaching it is a truncation
    reward: dict[str, float] = dataclasses.field(default_factory=lambda: {"liked": 1.0})  # feedback, outcomes
    leave: TemperConfig | None = None  # None: nobody leaves before `requests`
    return_model: ReturnConfig | None = None  # None: an episode is one visit
    slate_interaction: float = 0.0  # rho: p falls by rho x mean text cosine to the other items of the slate
    pessimism: float = 0.0  # standard deviations over the ensemble by which p is lowered while training
    drift: float = 1.0  # 0: tastes stay as the log left them, 1: users react to everything shown in the visit

    def __post_init__(self):
        check_range("env.slate_size", self.slate_size, 1)
        check_range("env.requests", self.requests, 1)
        check_range("env.slate_interaction", self.slate_interaction, 0, 1)
        check_range("env.pessimism", self.pessimism, 0)
        check_range("env.drift", self.drift, 0, 1)
        if self.return_model is not None and self.leave is None:
            raise InputError("env.return_model: nobody leaves, so nobody comes back; set env.leave.")
        for name, weight in self.reward.items():
            check_range(f"env.reward.{name}", weight)


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
    ridge: float = 0.1  # penalty a row and factor
    sweeps: int = 15  # of users, then items
    bias_strength: float = 10.0  # rows by which means of users and items are drawn to the log's mean

    def __post_init__(self):
        check_range("env.factors.rank", self.rank, 1, 256)
        check_range("env.factors.sweeps", self.sweeps, 1)
        for name in ("ridge", "bias_strength"):
            check_range(f"env.factors.{name}", getattr(self, name), 0, open_low=True)


@section
class FullMatrixConfig:
    """Users replayed from a dense matrix of rewards, one item a turn."""

    name: Literal["full_matrix"] = "full_matrix"
    path: str = ""  # .npz or a folder with matrix.npz; empty in recipes whose run factorises the log of `data`
    turns: int = 30  # an episode at most; reaching it is a truncation
    reward: dict[str, float] = dataclasses.field(default_factory=lambda: {"value": 1.0})  # value, depth, leave
    leave: CategoriesConfig | DistanceConfig | None = CategoriesConfig()  # None: nobody leaves before `turns`
    repeats: bool = False  # items may be shown again within a visit
    compat: bool = False  # EasyRL4Rec's leave window before `window` items were shown, see jaxrec.envs.leave
    factors: FactorsConfig = FactorsConfig()  # where the run factorises a log

    def __post_init__(self):
        check_range("env.turns", self.turns, 1)
        for name, weight in self.reward.items():
            check_range(f"env.reward.{name}", weight)

    @property
    def slate_size(self) -> int:
        """K, always one item."""
        return 1


@section
class ResponseConfig:
    """The model of users' feedback that is fitted to a log and becomes the simulator."""

    history_length: int = 20  # H, latest items a user's state reads one by one
    width: int = 32  # d, of encodings and states
    layers: int = 1  # of the Transformer over the history
    heads: int = 4
    dropout: float = 0.1  # while fitting only
    recent: tuple[float, ...] = (0.05, 0.2)  # rates of the running means of feedback over the history
    mean_strength: float = 30.0  # rows by which an item's mean feedback is drawn to the log's mean
    id_strength: float = 1000.0  # rows at which half of an item's own terms counts, the rest being its text
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


@section
class SardineConfig:
    """SARDINE's users, who click by position, get bored and follow what they click (arXiv 2311.16586).

    `preset` decides the fields that are None; a field that is set replaces that value alone.
    """

    name: Literal["sardine"] = "sardine"
    preset: SardinePreset = "SlateTopK-Bored"
    slate_size: int | None = None
    num_items: int | None = None
    requests: int | None = None  # an episode exactly; its end is a truncation
    offset: float | None = None  # product of item and user at which the relevance is one half
    slope: float | None = None  # of the relevance in that product
    omega: float | None = None  # share of the interests that clicks leave as they were; 1: no influence
    boredom_threshold: int | None = None  # clicks of a topic among the 10 latest that bore the user; 11: nothing does
    decay: float | None = None  # attention lost a place
    choice: ChoiceConfig | None = None  # None: position, with `decay`
    boredom: Literal["churn_and_return", "topic"] = "churn_and_return"  # no interest in anything, or in what bores
    boredom_steps: int = 5  # how long clicks are remembered and boredom lasts
    history_slates: int = 1  # latest slates in the observation
    ideal_state: bool = False  # the observation tells the hidden interests and boredom too
    compat: bool = False  # the published code's averages: influence by one number, see jaxrec.envs.sardine
    item_seed: int = 0  # of the items' vectors, which are the same for all users
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
        if self.choice is not None and self.decay is not None:
            raise InputError("env.decay: the choice model that env.choice names has its own; set env.choice.decay.")

    @property
    def values(self) -> SardineValues:
        """The preset with the fields that are set in their places."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(SardineValues)}
        given = {name: value for name, value in own.items() if value is not None}
        return dataclasses.replace(SARDINE_PRESETS[self.preset], **given)

    @property
    def choice_model(self) -> ChoiceConfig:
        """How users click."""
        return self.choice or ChoiceConfig(name="position", decay=self.values.decay)

    @property
    def history_length(self) -> int:
        """H, shown items in the observation."""
        return self.history_slates * self.values.slate_size


ENV_CONFIGS = {
    "full_matrix": FullMatrixConfig,
    "interest_evolution": InterestEvolutionConfig,
    "interest_exploration": InterestExplorationConfig,
    "logged": LoggedConfig,
    "long_term_satisfaction": LongTermSatisfactionConfig,
    "sardine": SardineConfig,
}
