"""The whole recipe: one frozen dataclass per section, one default per value.

`jaxrec/config/load.py` fills these from YAML and `section.key=value` overrides. Ranges are checked when a section is
built, so a configuration that exists is valid. Larger sections have files of their own in this folder: data, learners,
each kind of users. Nothing here imports JAX.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from jaxrec.checks import InputError, check_range
from jaxrec.config.baselines import CHEAP, check_baselines
from jaxrec.config.data import DataConfig
from jaxrec.config.distill import DistillConfig
from jaxrec.config.generative import GenerativeConfig
from jaxrec.config.learners import AnyLearnerConfig
from jaxrec.config.logged import ResponseConfig
from jaxrec.config.on_policy import PpoConfig
from jaxrec.config.pretrain import PretrainConfig
from jaxrec.config.section import Variants, section
from jaxrec.config.serve import ServeConfig
from jaxrec.config.tastes import TastesConfig
from jaxrec.config.tokens import TokensConfig
from jaxrec.config.tune import KERNELS, TuneConfig, check_kernels
from jaxrec.config.users import env_configs, fitted_simulators


@section
class EncoderConfig:
    """The language model that turns item texts into the item table."""

    model: str = "all-MiniLM-L6-v2"  # folder, installed package or Hugging Face name
    max_length: int = 0  # tokens; longer texts are cut; 0: the model's own limit
    batch_tokens: int = 8192  # tokens per batch, padding included
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the matrix products
    weights: Literal["float32", "int8"] = "float32"  # in memory; int8: rounded when they are loaded
    pooling: Literal["", "mean", "cls", "lasttoken", "max", "weightedmean", "mean_sqrt_len_tokens"] = (
        ""  # empty: the model's own
    )
    dimensions: int = 0  # leading channels of a vector that are kept; 0: all
    prompt: str = ""  # put in front of every text; empty: the model's default
    prompt_name: str = ""  # or one of the model's prompts by name
    bidirectional: bool = False  # let the tokens of a decoder attend to later ones
    cache_dir: str = "~/.cache/jaxrec"  # cached vectors, by weights and texts; empty: no cache
    # Weights that `jaxrec pretrain` tunes together with the policy: none, low-rank adapters or all.
    train: Literal["frozen", "lora", "full"] = "frozen"
    learning_rate: float = 1e-3  # of these weights; for full about a tenth of it
    texts_per_step: int = 64  # items whose texts are encoded with a gradient
    refresh_every: int = 100  # steps after which the whole catalogue is encoded anew
    rank: int = 8  # lora
    alpha: float = 16.0  # lora: adapters are scaled by alpha / rank
    kernels: tuple[str, ...] = KERNELS  # lora: kernels that get adapters; those that a model lacks are ignored

    def __post_init__(self):
        if self.max_length:
            check_range("encoder.max_length", self.max_length, 8)
        check_range("encoder.batch_tokens", self.batch_tokens, self.max_length or 8)
        check_range("encoder.dimensions", self.dimensions, 0)
        for name in ("texts_per_step", "refresh_every", "rank"):
            check_range(f"encoder.{name}", getattr(self, name), 1)
        for name in ("learning_rate", "alpha"):
            check_range(f"encoder.{name}", getattr(self, name), 0, open_low=True)
        check_kernels("encoder.kernels", self.kernels)
        if self.train != "frozen" and self.weights != "float32":
            raise InputError(f"encoder.weights: {self.weights} cannot be trained; set it to float32.")


@section
class TrainConfig:
    """The host loop around a learner."""

    updates: int = 200
    updates_per_call: int = 10  # in one compiled call; metrics, checkpoints and signals wait for its end
    checkpoint_every: int = 50  # updates; each checkpoint is evaluated first, and the one with the best return is kept
    evaluate_users: int = 512
    # The users whose return ranks checkpoints: those that the policy learns from, or those of the second simulator,
    # which it cannot exploit (only with a log; its figures are then slightly optimistic).
    select: Literal["train", "judge"] = "train"
    # With judge and a start: a checkpoint may only be chosen if its NDCG@10 on the validation rows of the log, as in
    # `jaxrec pretrain`, is at least this share of the start's; 0: it is not measured.
    held_out_share: float = 0.0
    keep_latest: int = 2
    devices: int = 0  # devices that share the users; 0: all
    save_replay: bool = True  # False: small checkpoints, but a resumed run refills its replay and differs a little
    tensorboard: bool = True  # event files for TensorBoard in addition to metrics.jsonl
    # Numbers of `World.users` that are drawn for each training user between [lowest, highest], such as
    # {start_budget: [100, 300]}. Evaluation keeps the published numbers.
    randomize: dict[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    # After SIGTERM: seconds for the compiled call, the evaluation if one is due, and the checkpoint. If they take
    # longer, the process ends without a new checkpoint. Less than the time until the scheduler sends SIGKILL.
    grace_seconds: float = 25.0
    continue_from: str = ""  # a run whose policy training starts from (`--continue RUN`)

    def __post_init__(self):
        for name in ("updates", "updates_per_call", "evaluate_users", "checkpoint_every", "keep_latest"):
            check_range(f"train.{name}", getattr(self, name), 1)
        check_range("train.devices", self.devices, 0)
        check_range("train.grace_seconds", self.grace_seconds, 0, 1e6, open_low=True)
        check_range("train.held_out_share", self.held_out_share, 0, 1)
        if self.held_out_share and self.select != "judge":
            raise InputError("train.held_out_share: only with train.select=judge; set that too, or this to 0.")
        for name in ("updates", "checkpoint_every"):
            if getattr(self, name) % self.updates_per_call:
                raise InputError(
                    f"train.{name}: expected a multiple of train.updates_per_call={self.updates_per_call}, "
                    f"got {getattr(self, name)}."
                )


@section
class EvaluateConfig:
    """How a finished policy is evaluated."""

    users: int = 2000  # simulated users, the same for every policy
    max_steps: int = 1000  # per user, for simulators without a time limit
    judge_share: float = 0.5  # of the log's users; the second simulator is fitted to them and never used in training
    cutoffs: tuple[int, ...] = (5, 10, 20)  # k of the ranking metrics
    baselines: tuple[str, ...] = CHEAP  # simple recommenders to compare with, fitted to the log
    ensemble: tuple[str, ...] = ()  # simple recommenders whose weighted sum is one more to compare with
    truth: str = ""  # .npz of known answers (jaxrec/data/true_answers.py) that judge too; empty: none

    def __post_init__(self):
        check_range("evaluate.users", self.users, 2)
        check_range("evaluate.max_steps", self.max_steps, 1)
        check_range("evaluate.judge_share", self.judge_share, 0.05, 0.95)
        check_range("evaluate.cutoffs, how many", len(self.cutoffs), 1)
        for k in self.cutoffs:
            check_range("evaluate.cutoffs", k, 1)
        check_baselines("evaluate.baselines", self.baselines)
        check_baselines("evaluate.ensemble", self.ensemble)


@section
class Config:
    """A whole recipe."""

    seed: int = 0  # of everything random
    data: DataConfig | None = None  # None: an environment without a log
    encoder: EncoderConfig = EncoderConfig()
    tune: TuneConfig = TuneConfig()  # of the encoder on the log, by `jaxrec tune`
    distill: DistillConfig = DistillConfig()  # of the encoder into a smaller one, by `jaxrec distill`
    tastes: TastesConfig = TastesConfig()  # of the users, fitted to their log
    response: ResponseConfig = ResponseConfig()  # of the users instead, if env.response is last_rows
    pretrain: PretrainConfig = PretrainConfig()  # of the policy on the log, by `jaxrec pretrain`
    tokens: TokensConfig = TokensConfig()  # semantic ids of the items, by `jaxrec tokens`
    generative: GenerativeConfig = GenerativeConfig()  # the network that generates them, by `jaxrec pretrain`
    env: Annotated[Any, Variants(env_configs)]  # the section of one kind of users, by its name
    learner: AnyLearnerConfig = PpoConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    serve: ServeConfig = ServeConfig()  # of the policy over HTTP, by `jaxrec serve`

    def __post_init__(self):
        if 0 < self.learner.anneal_updates < self.train.updates:
            raise InputError(
                f"learner.anneal_updates: the learning rate would be 0 from update {self.learner.anneal_updates} on, "
                f"but train.updates={self.train.updates}; raise it to {self.train.updates}, or set it to 0."
            )
        if self.data is not None:
            object.__setattr__(self, "data", _target_first(self.data, getattr(self.env, "reward", {})))
        if self.pretrain.file_order and self.data is not None and self.data.columns.request:
            raise InputError(
                "pretrain.file_order: rows of one data.columns.request were shown together, without order; set it to "
                "false."
            )
        if self.evaluate.truth and not fitted_simulators(self.env):
            raise InputError(f"evaluate.truth: users of {self.env.name} are not fitted to a log; remove it.")


def _target_first(data: DataConfig, reward: Mapping[str, float]) -> DataConfig:
    """Make the target (`data.target`) the first kind of feedback: rankings, baselines and tuning read that column."""
    wanted = (data.target, *(name for name, weight in reward.items() if weight > 0))
    target = next((name for name in wanted if name in data.feedback), "")
    if not target or target == next(iter(data.feedback)):
        return data
    return dataclasses.replace(data, feedback={target: data.feedback[target], **data.feedback})
