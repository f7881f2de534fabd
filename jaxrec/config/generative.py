"""The section about networks that generate the code of the next item."""

from typing import Literal

from jaxrec.checks import InputError, check_range
from jaxrec.config.section import section


@section
class GenerativeConfig:
    """The network of `jaxrec pretrain` with `pretrain.model: generative`."""

    shape: Literal["decoder", "encoder_decoder"] = "decoder"
    tokens: str = ""  # a folder of `jaxrec tokens` from the same catalogue, copied to RUN/tokens; empty: made there
    width: int = 64
    layers: int = 2  # of the decoder, and of the encoder if there is one
    heads: int = 4
    hidden: int = 256  # of the perceptron of a layer
    buckets: int = 32  # of relative positions, which are counted in tokens
    max_distance: int = 128  # tokens from which on all distances are the same
    history: int = 20  # latest rows of a user that are read
    item_rows: bool = True  # whether the history has the items' rows of the item table besides their codes
    beams: int = 50  # items that are generated; further ones are not ranked
    compare: str = ""  # a run of `jaxrec pretrain` on the same log, to rank the held-out rows too; empty: none

    def __post_init__(self):
        for name in ("width", "layers", "heads", "hidden", "history"):
            check_range(f"generative.{name}", getattr(self, name), 1)
        check_range("generative.buckets", self.buckets, 4)
        check_range("generative.max_distance", self.max_distance, self.buckets)
        check_range("generative.beams", self.beams, 1, 10_000)
        if self.width % self.heads:
            raise InputError(
                f"generative.width: expected a multiple of generative.heads={self.heads}, got {self.width}; change one."
            )
