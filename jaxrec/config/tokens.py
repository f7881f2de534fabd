"""The section about semantic ids: short codes of items."""

from typing import Literal

from jaxrec.checks import check_range
from jaxrec.config.section import section


@section
class TokensConfig:
    """How `jaxrec tokens` turns the vectors of items into codes."""

    # kmeans: residual k-means. rqvae: the same codebooks between a learned encoder and decoder (arXiv 2305.05065).
    method: Literal["kmeans", "rqvae"] = "kmeans"
    levels: int = 3  # codes of an item, before the one that tells items with the same codes apart
    codes: int = 256  # different codes at each level; at most as many as there are items
    # How much codes with many items are avoided: weight of sum n log n, with n the items of a code, in units of what
    # the level lowers the mean squared error by. 0: nearest codes only.
    balance: float = 0.5
    steps: int = 60  # of k-means at each level
    # rqvae: size of the vectors that are quantised, at most that of the items' vectors. 0: as many principal components
    # as hold 90% of their variance.
    latent: int = 0
    hidden: int = 256  # rqvae: width of the hidden layer of encoder and decoder
    epochs: int = 200  # rqvae: passes over the items
    batch_size: int = 256  # rqvae: items per step
    learning_rate: float = 1e-3  # rqvae
    commitment: float = 0.25  # rqvae: weight of the loss that keeps vectors near their codes
    # A column of `data.text` that says to which group an item belongs. The report then says how often items with the
    # same codes share it. Empty: none; generated logs have their topics.
    category: str = ""

    def __post_init__(self):
        check_range("tokens.levels", self.levels, 1, 8)
        check_range("tokens.codes", self.codes, 2, 65_536)
        check_range("tokens.balance", self.balance, 0, 1)
        for name in ("steps", "hidden", "epochs", "batch_size"):
            check_range(f"tokens.{name}", getattr(self, name), 1)
        check_range("tokens.latent", self.latent, 0)
        check_range("tokens.learning_rate", self.learning_rate, 0, open_low=True)
        check_range("tokens.commitment", self.commitment, 0)
