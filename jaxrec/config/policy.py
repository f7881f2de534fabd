"""The section about the policy's network."""

import math
from typing import Literal

from jaxrec.checks import InputError, check_range
from jaxrec.config.section import section


@section
class PolicyConfig:
    """Network of a slate policy: a history encoder, then two towers."""

    # Of the history, if the environment has one. "profile" is the cheapest for long histories, "graph" reads which of
    # its items are alike; its time and memory grow with the square of the length.
    encoder: Literal["gru", "lstm", "transformer", "graph", "mean", "profile"] = "gru"
    width: int = 64  # of item vectors, history states and queries
    hidden: tuple[int, ...] = (64,)  # hidden layers of the query and of the value network
    item_residual: bool = False  # a learned vector and bias per item, added to its row of the item table
    # Scores of items: products of two towers, or these plus a perceptron on [state, item, query x item], whose time is
    # that of users x items. It also reads the product of user interests and item row where these have the same size.
    scorer: Literal["product", "mlp"] = "product"
    # With the scorer mlp: how many items the product chooses, exactly, for the perceptron to rank; the others are never
    # shown. 0: the perceptron ranks everything on offer.
    retrieve: int = 0
    # "topic": a bonus for each topic, by how often and how long ago it was shown and clicked, and by how many of its
    # items are in the slate already. The columns of the item table are then topics (`jaxrec.nets.repetition`).
    repetition: Literal["none", "topic"] = "none"
    # Scores also have products of an item's row with the mean rows of what got each kind of feedback in the history and
    # of what did not, with learned weights (`jaxrec.nets.relevance`).
    relevance_feedback: bool = False
    choice: bool = False  # a choice model, and values of items if they are chosen; slateq sets and learns them
    serving: Literal["top_k", "greedy", "exact"] = "top_k"  # with `choice`, how the best slate is found; slateq sets it
    # How a trained policy shows slates: 0, the best one; else one drawn from its logits divided by this temperature. A
    # policy that learned from drawn slates relies on their variety where it has to find out what a user likes.
    serving_temperature: float = 0.0
    # Scores start from what the fitted tastes expect of the person after the observed history (a posterior mean), and
    # the network reads the belief. Only for users fitted to a log. A belief is updated row by row, so it takes time.
    belief: bool = False
    future: bool = False  # a second score per item, of what showing it changes later; far_sighted sets and learns it
    history: int = 0  # latest rows of the observed history that the encoder reads; 0: all
    # The value network reads the state of the policy, or that state without passing gradients back ("stopped"), or the
    # state of a history encoder of its own ("separate"), or the latter and what the simulator hides from policies
    # ("hidden": an asymmetric critic, arXiv 1710.06542, in training). In the last three, learning values leaves the
    # parameters of scores alone.
    value: Literal["shared", "stopped", "separate", "hidden"] = "shared"
    # Slates of different items while little is known of a user, for scores that are expected rewards (all_items,
    # far_sighted): what the highest cosine of an item with those before it costs, in units of an item's reward range.
    # It fades as diversity / (1 + rows / diversity_rows) with the observed rows.
    diversity: float = 0.0
    diversity_rows: float = 4.0
    # Policies of vectors (env.action): standard deviation of their Gaussian at first, before it is squashed into the
    # range; and, with critics, how many of the nearest items these choose from (arXiv 1512.07679), 0: the point counts.
    deviation: float = 0.5
    nearest: int = 0
    critics: int = 0  # networks Q(s, a) of vectors; ddpg and td3 set and learn them
    layers: int = 2  # transformer
    heads: int = 4  # of attention, for the transformer; graphs, for graph
    dropout: float = 0.0  # of rows and sublayers, only where a training asks for it; `pretrain` has its own

    def __post_init__(self):
        check_range("learner.policy.width", self.width, 1, 2**20)
        for name in ("layers", "heads"):
            check_range(f"learner.policy.{name}", getattr(self, name), 1, 1000)
        if len(self.hidden) > 100:
            raise InputError(f"learner.policy.hidden: expected at most 100 layers, got {len(self.hidden):,}.")
        if self.encoder == "transformer" and self.width % self.heads:
            raise InputError(f"learner.policy.width: expected a multiple of {self.heads} heads, got {self.width}.")
        if self.future and self.value != "shared":
            raise InputError(
                f"learner.policy.value: {self.value}, but the scores of a policy with `future` (far_sighted) contain "
                "the value; set it to shared."
            )
        check_range("learner.policy.history", self.history, 0)
        check_range("learner.policy.serving_temperature", self.serving_temperature, 0)
        if self.serving_temperature and self.diversity:
            raise InputError(
                "learner.policy.serving_temperature: slates that are drawn are not made diverse; set it or "
                "learner.policy.diversity to 0."
            )
        check_range("learner.policy.deviation", self.deviation, 0, open_low=True)
        for name in ("nearest", "critics"):
            check_range(f"learner.policy.{name}", getattr(self, name), 0, 2**20)
        check_range("learner.policy.diversity", self.diversity, 0)
        check_range("learner.policy.diversity_rows", self.diversity_rows, 0, open_low=True)
        check_range("learner.policy.dropout", self.dropout, 0, 0.9)
        for size in self.hidden:
            check_range("learner.policy.hidden", size, 1, 2**20)
        if (self.scorer == "mlp" or self.repetition != "none") and not self.hidden:
            raise InputError(
                "learner.policy.hidden: the scorer mlp and repetition need at least one hidden layer, got none."
            )
        check_range("learner.policy.retrieve", self.retrieve, 0)
        if self.retrieve and (self.scorer != "mlp" or self.choice or self.diversity):
            raise InputError(
                "learner.policy.retrieve: only with learner.policy.scorer: mlp, and without choice and diversity, "
                "which score every item; set it to 0."
            )
        if self.choice and self.future:
            raise InputError("learner.policy.choice: a policy with a choice model has no future; set it to false.")

    def check_retrieval(self, slate_size: int) -> None:
        """Raise InputError if slates hold more items than are retrieved."""
        if 0 < self.retrieve < slate_size:
            raise InputError(
                f"learner.policy.retrieve: {self.retrieve} items do not fill a slate of {slate_size}; raise it to "
                f"{slate_size} or more, or set it to 0."
            )

    def check_vectors(self, env: str, of: str, low: float, high: float) -> None:
        """Raise InputError for settings that policies of vectors lack; the users `env` take those `of` a kind."""
        usual = PolicyConfig()
        of_items = ("item_residual", "scorer", "retrieve", "belief", "repetition", "relevance_feedback")
        for name in (*of_items, "choice", "serving_temperature", "future", "diversity"):
            if getattr(self, name) != getattr(usual, name):
                raise InputError(
                    f"learner.policy.{name}: policies of {env} act with vectors and score no single items; set it to "
                    f"{str(getattr(usual, name)).lower()}."
                )
        if math.isfinite(low) != math.isfinite(high):
            raise InputError(
                f"policy: vectors of {env} go from {low} to {high}; expected a range of two finite numbers, or of none."
            )
        if self.nearest and of != "item":
            raise InputError(
                f"learner.policy.nearest: critics choose among rows near to a point, but vectors of {env} are no such "
                "points; set env.action.name to item, or nearest to 0."
            )
