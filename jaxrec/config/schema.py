"""Every value a recipe can set: one frozen dataclass a section, one default a value.

`jaxrec/config/load.py` fills these from YAML and `section.key=value` overrides; ranges are checked when a section is
built, so a configuration that exists is valid. Nothing here imports JAX.
"""

import dataclasses
from typing import Literal, dataclass_transform

from jaxrec.checks import InputError, check_range


@dataclass_transform(frozen_default=True, kw_only_default=True)
def section(cls):
    """A frozen, keyword-only dataclass."""
    return dataclasses.dataclass(frozen=True, kw_only=True)(cls)


@section
class FeedbackKind:
    """How one kind of feedback is read from a row of the log."""

    column: str | None = None  # None: the row is the feedback, always 1 (generated: its column `liked`)
    at_least: float | None = None  # threshold that turns the column into 0 / 1; None: the column already is 0 or 1


@section
class Columns:
    """Column names of a CSV log and its item table."""

    user: str = "user"
    item: str = "item"
    time: str = "time"  # a number, or an ISO date
    item_id: str = "item"  # in the item table
    title: str = "title"  # in the item table


@section
class GeneratedLog:
    """Size and taste structure of the generated catalogue; topics are text, likes follow latent interests."""

    items: int = 600
    users: int = 800
    topics: int = 12
    topics_liked: int = 2  # of each user
    interactions: int = 60  # mean a user

    def __post_init__(self):
        for name, low in {
            "items": 20,
            "users": 20,
            "topics": 2,
            "topics_liked": 1,
            "interactions": 5,
        }.items():
            check_range(f"data.generated.{name}", getattr(self, name), low)
        check_range("data.generated.topics", self.topics, self.topics_liked, 24)


@section
class DataConfig:
    """Where the log comes from and how it is cleaned and split."""

    source: Literal["movielens", "csv", "generated"] = "generated"
    path: str = ""  # folder of the log; files below are relative to it
    log_file: str = "log.csv"  # source csv
    item_file: str = "items.csv"  # source csv; empty: items without texts but their ids
    columns: Columns = Columns()
    generated: GeneratedLog = GeneratedLog()
    feedback: dict[str, FeedbackKind] = dataclasses.field(default_factory=lambda: {"liked": FeedbackKind()})
    text: str = "{title}"  # item text: any column of the item table; movielens also has {genres} and {tags}
    max_tags: int = 8  # most frequent user-written tags in {tags}
    min_user_rows: int = 1  # k-core: repeated until both hold
    min_item_rows: int = 1
    min_item_ratings: int = 1  # training rows an item needs to be recommendable
    allow_bad_rows: float = 0.0  # share of unreadable rows that may be dropped; above it the run stops
    split: Literal["leave_one_out", "global_time"] = "leave_one_out"
    test_share: float = 0.2  # of the rows, global_time only

    def __post_init__(self):
        if not self.feedback:
            raise InputError("data.feedback: expected at least one kind of feedback, got none.")
        for name, kind in self.feedback.items():
            if kind.at_least is not None and kind.column is None and self.source != "generated":
                raise InputError(
                    f"data.feedback.{name}.at_least: a threshold without a column; set data.feedback.{name}.column."
                )
        for name in ("max_tags", "min_user_rows", "min_item_rows", "min_item_ratings"):
            check_range(f"data.{name}", getattr(self, name), 0 if name == "max_tags" else 1)
        check_range("data.allow_bad_rows", self.allow_bad_rows, 0, 1)
        check_range("data.test_share", self.test_share, 0.01, 0.9)


@section
class EncoderConfig:
    """The language model that turns item texts into the item table."""

    model: str = "all-MiniLM-L6-v2"  # folder, installed package or Hugging Face name
    max_length: int = 128  # tokens; longer texts are cut
    batch_tokens: int = 8192  # tokens a batch, padding included
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the matrix products
    cache_dir: str = "~/.cache/jaxrec"  # vectors by weights and texts; empty: no cache

    def __post_init__(self):
        check_range("encoder.max_length", self.max_length, 8, 8192)
        check_range("encoder.batch_tokens", self.batch_tokens, self.max_length)


@section
class InterestEvolutionConfig:
    """RecSim's interest evolution users (the SlateQ experiment)."""

    name: Literal["interest_evolution"] = "interest_evolution"
    num_candidates: int = 10
    slate_size: int = 3
    reward: dict[str, float] = dataclasses.field(default_factory=lambda: {"watch_time": 1.0})

    def __post_init__(self):
        check_range("env.num_candidates", self.num_candidates, 1)
        check_range("env.slate_size", self.slate_size, 1, self.num_candidates)


@section
class LoggedConfig:
    """Users fitted to a log: the whole catalogue is recommendable, every request shows one slate."""

    name: Literal["logged"] = "logged"
    path: str = ""  # a fitted simulator; empty in recipes, where `train` fits one to the log
    slate_size: int = 5
    requests: int = 10  # an episode; its end is a truncation
    reward: dict[str, float] = dataclasses.field(default_factory=lambda: {"liked": 1.0})

    def __post_init__(self):
        check_range("env.slate_size", self.slate_size, 1)
        check_range("env.requests", self.requests, 1)
        for name, weight in self.reward.items():
            check_range(f"env.reward.{name}", weight)


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
    holdout: float = 0.1  # latest share of the rows, for calibration, where no validation log is given
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
class PolicyConfig:
    """Network of a slate policy: history encoder, then two towers."""

    encoder: Literal["gru", "transformer", "mean"] = "gru"  # over the history, where the environment has one
    width: int = 64  # of item vectors, history states and queries
    hidden: tuple[int, ...] = (64,)  # hidden layers of the query and of the value network
    item_residual: bool = False  # a learned vector and bias an item on top of its row

    def __post_init__(self):
        check_range("learner.policy.width", self.width, 1)
        if self.encoder == "transformer" and self.width % 4:
            raise InputError(f"learner.policy.width: expected a multiple of 4 heads, got {self.width}.")
        for size in self.hidden:
            check_range("learner.policy.hidden", size, 1)


@section
class PpoConfig:
    """Proximal policy optimisation (arXiv 1707.06347) over Plackett-Luce slates."""

    name: Literal["ppo"] = "ppo"
    policy: PolicyConfig = PolicyConfig()
    num_users: int = 256  # simulated at once
    num_shards: int = 0  # logical shards, which results depend on; 0: at most 64, a power of two dividing num_users
    horizon: int = 10  # steps of each user an update
    epochs: int = 4  # passes over the transitions of an update
    minibatches: int = 4  # an epoch
    learning_rate: float = 1e-3
    anneal_updates: int = 0  # the learning rate falls linearly to zero over so many updates; 0: constant
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    value_clip: float | None = None
    value_coef: float = 0.5
    entropy_coef: float = 0.01
    max_grad_norm: float = 0.5
    reward_scale: float = 1.0  # rewards are multiplied by it before values and advantages, never in reports

    def __post_init__(self):
        for name in ("num_users", "horizon", "epochs", "minibatches"):
            check_range(f"learner.{name}", getattr(self, name), 1)
        for name in ("gamma", "gae_lambda"):
            check_range(f"learner.{name}", getattr(self, name), 0, 1)
        for name in ("learning_rate", "clip", "max_grad_norm", "reward_scale"):
            check_range(f"learner.{name}", getattr(self, name), 0, open_low=True)
        for name in ("anneal_updates", "num_shards", "entropy_coef", "value_coef"):
            check_range(f"learner.{name}", getattr(self, name), 0)
        if self.num_users % self.shards:
            raise InputError(
                f"learner.num_shards: {self.shards} shards do not divide learner.num_users={self.num_users}."
            )
        if (self.num_users // self.shards * self.horizon) % self.minibatches:
            raise InputError(
                f"learner.minibatches: {self.minibatches} do not divide the {self.num_users // self.shards} users "
                f"x {self.horizon} steps of a shard; change learner.horizon, learner.num_users or learner.num_shards."
            )

    @property
    def shards(self) -> int:
        """Logical shards; derived when num_shards is 0."""
        return self.num_shards or next(s for s in (64, 32, 16, 8, 4, 2, 1) if self.num_users % s == 0)


@section
class TrainConfig:
    """The host loop around a learner."""

    updates: int = 200
    updates_per_call: int = 10  # in one compiled call; metrics, checkpoints and signals wait for its end
    checkpoint_every: int = 50  # updates; each checkpoint is evaluated first, and the best return is kept
    evaluate_users: int = 512
    keep_latest: int = 2
    devices: int = 0  # that share the users; 0: all

    def __post_init__(self):
        for name in ("updates", "updates_per_call", "evaluate_users", "checkpoint_every", "keep_latest"):
            check_range(f"train.{name}", getattr(self, name), 1)
        check_range("train.devices", self.devices, 0)
        for name in ("updates", "checkpoint_every"):
            if getattr(self, name) % self.updates_per_call:
                raise InputError(
                    f"train.{name}: expected a multiple of train.updates_per_call={self.updates_per_call}, "
                    f"got {getattr(self, name)}."
                )


@section
class EvaluateConfig:
    """How a finished policy is judged."""

    users: int = 2000  # simulated users, the same for every policy
    max_steps: int = 1000  # of one user, for simulators without a time limit
    judge_share: float = 0.5  # of the log's users fit the second simulator, which training never sees
    cutoffs: tuple[int, ...] = (5, 10, 20)  # k of the ranking metrics

    def __post_init__(self):
        check_range("evaluate.users", self.users, 2)
        check_range("evaluate.max_steps", self.max_steps, 1)
        check_range("evaluate.judge_share", self.judge_share, 0.05, 0.95)
        check_range("evaluate.cutoffs, how many", len(self.cutoffs), 1)
        for k in self.cutoffs:
            check_range("evaluate.cutoffs", k, 1)


ENV_CONFIGS = {"interest_evolution": InterestEvolutionConfig, "logged": LoggedConfig}
LEARNER_CONFIGS = {"ppo": PpoConfig}


@section
class Config:
    """A whole recipe."""

    seed: int = 0  # everything random follows from it
    data: DataConfig | None = None  # environments without a log need none
    encoder: EncoderConfig = EncoderConfig()
    response: ResponseConfig = ResponseConfig()  # users fitted to the log
    env: InterestEvolutionConfig | LoggedConfig
    learner: PpoConfig = PpoConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    def __post_init__(self):
        if 0 < self.learner.anneal_updates < self.train.updates:
            raise InputError(
                f"learner.anneal_updates: the learning rate would be 0 from update {self.learner.anneal_updates} of "
                f"train.updates={self.train.updates} on; raise it to {self.train.updates}, or set it to 0."
            )
