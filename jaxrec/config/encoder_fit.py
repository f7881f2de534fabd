"""Fields shared by the sections that train an encoder."""

from typing import Literal

from jaxrec.checks import InputError, check_range
from jaxrec.config.section import section


@section
class EncoderFitConfig:
    """Steps, rates and evaluations."""

    batch_size: int = 64
    steps: int = 500
    learning_rate: float = 5e-5
    warm_up: float = 0.1  # share of the steps in which the learning rate rises
    decay: Literal["cosine", "linear", "constant"] = "cosine"  # after the warm-up, to 0 at the last step
    optimiser: Literal["adamw", "adafactor"] = "adamw"
    weight_decay: float = 0.01  # of kernels, embeddings and adapters
    clip: float = 1.0  # global norm of the gradient
    dropout: float = 0.0  # of what a sublayer adds
    word_dropout: float = 0.0  # of tokens, except the first and last of a text
    field_dropout: float = 0.0  # chance that a text lacks one of the columns of data.text
    max_length: int = 0  # tokens per text in training; 0: encoder.max_length
    remat: Literal["none", "dots", "full"] = "none"  # how much of a layer the gradient recomputes
    evaluate_every: int = 100  # steps; the best encoder on validation is the result
    patience: int = 0  # evaluations without a new best before training ends; 0: never
    steps_per_call: int = 10  # in one compiled call

    def check_fit(self, section: str, least_steps: int = 1) -> None:
        """Check the fields above; messages name them with `section`."""
        check_range(f"{section}.batch_size", self.batch_size, 2)
        check_range(f"{section}.steps", self.steps, least_steps)
        for name in ("evaluate_every", "steps_per_call"):
            check_range(f"{section}.{name}", getattr(self, name), 1)
        for name in ("learning_rate", "clip"):
            check_range(f"{section}.{name}", getattr(self, name), 0, open_low=True)
        for name in ("weight_decay", "max_length", "patience"):
            check_range(f"{section}.{name}", getattr(self, name), 0)
        for name in ("dropout", "word_dropout", "field_dropout"):
            check_range(f"{section}.{name}", getattr(self, name), 0, 0.9)
        check_range(f"{section}.warm_up", self.warm_up, 0, 1)
        for name in ("steps", "evaluate_every"):
            if getattr(self, name) % self.steps_per_call:
                raise InputError(
                    f"{section}.{name}: expected a multiple of {section}.steps_per_call={self.steps_per_call}, "
                    f"got {getattr(self, name)}."
                )
