"""The section about pretraining a policy on the log."""

from typing import Literal

from jaxrec.checks import InputError, check_range
from jaxrec.config.section import section

GENERATIVE = "generative"  # value of `model`


@section
class PretrainConfig:
    """How `jaxrec pretrain` fits the network of `learner.policy` to what users did next."""

    start_from: str = ""  # a run of `jaxrec pretrain` or `train` over another catalogue (`--from RUN`); empty: none
    # What is trained: the network of `learner.policy`, or one that generates the code of the next item (`generative`).
    model: Literal["policy", "generative"] = "policy"
    target: Literal["next", "liked"] = "next"  # every next item, or only positive rows, see data.target
    # cross_entropy predicts the targets. reinforce learns from the rewards of rows (env.reward) that another policy
    # chose, corrected for its choices (arXiv 1812.02353). grpo rewards samples of a generator that is trained already
    # (`--from RUN`, section generative.grpo). The next two fields are read with reinforce alone, gamma with both.
    loss: Literal["cross_entropy", "reinforce", "grpo"] = "cross_entropy"
    top_k: int = 1  # items that the policy will show; 1: no top-K correction
    weight_cap: float = 10.0  # largest importance ratio to the policy that wrote the log
    gamma: float = 0.0  # discount of the rewards of later rows; 0: a row's own reward alone
    # Residuals of items (`learner.policy.item_residual`) start as vectors of which items users have within this many
    # rows of each other (jaxrec.supervised.successions); 0: at zero.
    neighbours: int = 0
    texts: bool = True  # false: random rows replace the text vectors, to measure what texts add
    # Rows of one moment are read in the order of the file, as public figures of MovieLens are. Only for logs in which
    # such rows were not shown together: else one row of a slate tells which other one was chosen.
    file_order: bool = False
    window: int = 0  # rows of a user that are read at once; 0: what the policy reads, and one more
    epochs: int = 50
    batch_size: int = 64  # windows per step; shorter ones are joined by more of them
    optimiser: Literal["adamw", "adafactor", "lion"] = "adamw"
    learning_rate: float = 1e-3
    warm_up: float = 0.05  # share of the steps in which the learning rate rises
    decay: Literal["cosine", "linear", "constant"] = "cosine"  # after the warm-up, to 0 at the last step
    weight_decay: float = 0.01  # of all parameters except biases and norms
    clip: float = 1.0  # global norm of the gradient
    dropout: float = 0.2  # of rows and sublayers of the history encoder
    crop: float = 0.0  # chance that a window is cut to 60% of its rows (arXiv 2010.14395, as the next two)
    mask: float = 0.0  # chance that 30% of a window's rows are hidden from later states
    reorder: float = 0.0  # chance that 60% of a window's rows are shuffled
    # Sampled negatives per step, by popularity, with log-Q correction. 0: softmax over recommendable items with rows.
    negatives: int | None = None  # None: 0 up to 100,000 recommendable items, above it 4096
    feedback_weight: float = 0.0  # of a second loss: the feedback of the next row, from a head that is not kept
    evaluate_every: int = 1  # epochs; the best policy on validation rows is the result
    evaluate_users: int = 0  # validation users, the same at every evaluation; 0: all
    patience: int = 0  # evaluations without a new best before training ends; 0: never
    steps_per_call: int = 10  # in one compiled call; epochs are filled up to whole calls
    chunk: int = 128  # positions whose scores of all items are held at a time

    def __post_init__(self):
        for name in ("epochs", "batch_size", "evaluate_every", "steps_per_call", "chunk"):
            check_range(f"pretrain.{name}", getattr(self, name), 1)
        for name in ("weight_decay", "feedback_weight", "evaluate_users", "patience", "neighbours"):
            check_range(f"pretrain.{name}", getattr(self, name), 0)
        for name in ("learning_rate", "clip"):
            check_range(f"pretrain.{name}", getattr(self, name), 0, open_low=True)
        for name in ("warm_up", "crop", "mask", "reorder"):
            check_range(f"pretrain.{name}", getattr(self, name), 0, 1)
        check_range("pretrain.dropout", self.dropout, 0, 0.9)
        if self.window:
            check_range("pretrain.window", self.window, 2)
        check_range("pretrain.top_k", self.top_k, 1)
        check_range("pretrain.weight_cap", self.weight_cap, 0, open_low=True)
        check_range("pretrain.gamma", self.gamma, 0, 1)
        self._check_loss()
        if self.negatives is not None:
            check_range("pretrain.negatives", self.negatives, 0)

    def _check_loss(self) -> None:
        """Raise InputError for fields that the loss does not read."""
        if self.loss != "reinforce":
            unread = ("top_k", "weight_cap", *(["gamma"] if self.loss == "cross_entropy" else []))
            for name in unread:
                if getattr(self, name) != self.__dataclass_fields__[name].default:
                    raise InputError(
                        f"pretrain.{name}: not read with pretrain.loss={self.loss}; remove it, or set pretrain.loss "
                        "to reinforce."
                    )
            if self.loss == "grpo" and self.model != GENERATIVE:
                raise InputError(
                    "pretrain.loss: grpo samples the codes of items; set pretrain.model to generative, or loss to "
                    "reinforce."
                )
            return
        if self.target != "next":
            raise InputError(
                "pretrain.target: reinforce learns from all rows by their rewards, got liked; set it to next."
            )
        if self.negatives:
            raise InputError("pretrain.negatives: reinforce needs the exact softmax; set it to 0.")
