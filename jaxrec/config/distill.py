"""The section about training a smaller encoder to give the vectors of a larger one."""

from typing import Literal

from jaxrec.checks import InputError, check_range
from jaxrec.config.encoder_fit import EncoderFitConfig
from jaxrec.config.section import section


@section
class DistillConfig(EncoderFitConfig):
    """How `jaxrec distill` makes a student of the recipe's encoder; `batch_size` counts texts.

    If `student` is empty, it is the encoder itself without its least important layers, heads and channels.
    """

    student: str = ""  # folder, installed package or Hugging Face name; empty: the encoder itself, pruned
    layers: int = 0  # of the pruned student; 0: all
    heads: int = 0  # attention heads of each layer; 0: all
    channels: int = 0  # MLP channels of each layer; 0: all
    probe_texts: int = 256  # texts of the catalogue on which importance is measured
    objective: Literal["vectors", "relations"] = "vectors"  # the teacher's vectors, or only the cosines between them
    learning_rate: float = 2e-4
    held_out: int = 1000  # texts of the catalogue that the student is judged on; at most a tenth

    def __post_init__(self):
        self.check_fit("distill", least_steps=0)
        for name in ("layers", "heads", "channels"):
            check_range(f"distill.{name}", getattr(self, name), 0)
        for name in ("probe_texts", "held_out"):
            check_range(f"distill.{name}", getattr(self, name), 2)
        if self.student and (self.layers or self.heads or self.channels):
            raise InputError(
                "distill.student: cannot be pruned too; remove either the student, or layers, heads and channels."
            )
