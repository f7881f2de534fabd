"""The section about tuning an encoder on the log."""

from typing import Literal

from jaxrec.checks import check_name, check_range
from jaxrec.config.encoder_fit import EncoderFitConfig
from jaxrec.config.section import section

KERNELS = ("query", "key", "value", "attention_output", "mlp_gate", "mlp_in", "mlp_out")  # of one layer


@section
class TuneConfig(EncoderFitConfig):
    """How `jaxrec tune` fits an encoder to pairs of items that a user liked in a row; `batch_size` counts pairs."""

    mode: Literal["full", "lora"] = "full"  # all weights, or low-rank adapters of frozen kernels
    rank: int = 8  # lora
    alpha: float = 16.0  # lora: adapters are scaled by alpha / rank
    lora_dropout: float = 0.0  # lora: of what adapters read
    kernels: tuple[str, ...] = KERNELS  # lora: kernels that get adapters; those that a model lacks are ignored
    objective: Literal["in_batch", "full_softmax"] = "in_batch"  # negatives: the batch, or the whole catalogue
    feedback: str = ""  # kind of feedback that pairs are made of; empty: the first of data.feedback
    users: Literal["train", "all"] = "train"  # users whose training rows are used; all: the judge's users too
    temperature: float = 0.05  # of the cosines
    popularity: float = 1.0  # in_batch: share of log P(item) that is subtracted from the scores; 0: no correction
    evaluate_users: int = 2000  # validation users, the same at every evaluation

    def __post_init__(self):
        self.check_fit("tune")
        for name in ("rank", "evaluate_users"):
            check_range(f"tune.{name}", getattr(self, name), 1)
        for name in ("alpha", "temperature"):
            check_range(f"tune.{name}", getattr(self, name), 0, open_low=True)
        check_range("tune.popularity", self.popularity, 0)
        check_range("tune.lora_dropout", self.lora_dropout, 0, 0.9)
        check_kernels("tune.kernels", self.kernels)


def check_kernels(name: str, kernels: tuple[str, ...]) -> None:
    """Raise InputError unless `kernels`, the setting `name`, are names of at least one kernel."""
    check_range(f"{name}, how many", len(kernels), 1)
    for kernel in kernels:
        check_name(name, kernel, KERNELS)
