"""The section about tuning an encoder on the log."""

from typing import Literal

from jaxrec.checks import InputError, check_name, check_range
from jaxrec.config.section import section

KERNELS = ("query", "key", "value", "attention_output", "mlp_gate", "mlp_in", "mlp_out")  # of a layer


@section
class TuneConfig:
    """How `jaxrec tune` fits an encoder to what users liked one after the other."""

    mode: Literal["full", "lora"] = "full"  # all weights, or low-rank adapters beside frozen kernels
    rank: int = 8  # lora
    alpha: float = 16.0  # lora: adapters count alpha / rank
    kernels: tuple[str, ...] = KERNELS  # lora: that get adapters; those that a model does not have are left out
    objective: Literal["in_batch", "full_softmax"] = "in_batch"  # what an item's partner is told from
    feedback: str = ""  # kind that pairs are made of; empty: the first of data.feedback
    users: Literal["train", "all"] = "train"  # whose training rows; all: those of the judge's users too
    temperature: float = 0.05  # of the cosines
    popularity: float = 1.0  # in_batch: share of log P(item) that is taken off the scores; 0: no correction
    batch_size: int = 64  # pairs a step
    steps: int = 500
    learning_rate: float = 5e-5  # lora wants more, about 1e-3
    warm_up: float = 0.1  # share of the steps in which the rate rises
    decay: Literal["cosine", "linear", "constant"] = "cosine"  # behind them, to 0 at the last step
    optimiser: Literal["adamw", "adafactor"] = "adamw"
    weight_decay: float = 0.01  # of kernels, embeddings and adapters
    clip: float = 1.0  # global norm of the gradient
    dropout: float = 0.0  # of what a sublayer adds
    word_dropout: float = 0.0  # of tokens but the first and last of a text
    field_dropout: float = 0.0  # chance that a text lacks one of the columns of data.text
    max_length: int = 0  # tokens a text while tuning; 0: encoder.max_length
    remat: Literal["none", "dots", "full"] = "none"  # how little the gradient keeps of a layer
    evaluate_every: int = 100  # steps; the best encoder on validation rows is the result
    evaluate_users: int = 2000  # of validation; the same at every evaluation
    patience: int = 0  # evaluations without a new best before tuning ends; 0: never
    steps_per_call: int = 10  # in one compiled call

    def __post_init__(self):
        for name in ("rank", "steps", "evaluate_every", "evaluate_users", "steps_per_call"):
            check_range(f"tune.{name}", getattr(self, name), 1)
        check_range("tune.batch_size", self.batch_size, 2)
        for name in ("alpha", "temperature", "learning_rate", "clip"):
            check_range(f"tune.{name}", getattr(self, name), 0, open_low=True)
        for name in ("popularity", "weight_decay", "max_length", "patience"):
            check_range(f"tune.{name}", getattr(self, name), 0)
        for name in ("dropout", "word_dropout", "field_dropout"):
            check_range(f"tune.{name}", getattr(self, name), 0, 0.9)
        check_range("tune.warm_up", self.warm_up, 0, 1)
        check_range("tune.kernels, how many", len(self.kernels), 1)
        for name in self.kernels:
            check_name("tune.kernels", name, KERNELS)
        for name in ("steps", "evaluate_every"):
            if getattr(self, name) % self.steps_per_call:
                raise InputError(
                    f"tune.{name}: expected a multiple of tune.steps_per_call={self.steps_per_call}, "
                    f"got {getattr(self, name)}."
                )
