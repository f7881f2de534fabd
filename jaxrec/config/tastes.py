"""Section about the tastes of the log's users, which are the simulator of `env.name: logged`."""

from jaxrec.checks import check_range
from jaxrec.config.section import section


@section
class TastesConfig:
    """The model of users' tastes that is fitted to their whole log; `jaxrec.nets.tastes` has the equations."""

    width: int = 16  # d, of item vectors and tastes
    text_components: int = 64  # k, principal components of the text vectors that the item vectors are made of
    groups: int | None = None  # N, groups of the texts that they are made of instead; 0: none; null: `search` chooses
    search: bool = True  # choose groups, and strengths around those below, on held-out rows; False: take these
    user_strength: float = 8.0  # precision of the prior of a user's tastes
    bias_strength: float = 1.0  # of a user's bias
    item_strength: float = 10.0  # of what the log adds to the vector of a single item
    item_bias_strength: float = 10.0  # of what it adds to the item's logit
    text_strength: float = 10.0  # of the weights of the text
    exposure_strength: float = 30.0  # of what the choice of items tells, whatever the answers; 0: nothing
    holdout: float = 0.1  # share of the rows, drawn at random, on which strengths and calibration are chosen
    draws: int = 8  # M, versions of every user, drawn from the posterior; an episode meets one of them
    negatives: int = 8  # for feedback that is 1 in every row: items the user does not have, drawn for each row
    base_rate: float = 0.1  # and P(answer) of items as the log's users met them, which no such log can tell
    effects: bool = True  # fit short-term effects of what was shown lately; 0 where the log does not confirm them
    steps: int = 100  # of Adam, each over all rows
    rounds: int = 3  # of fitting items to what is believed of users; 0: to their most likely tastes alone
    learning_rate: float = 0.03

    def __post_init__(self):
        for name in ("width", "text_components", "draws", "negatives", "steps"):
            check_range(f"tastes.{name}", getattr(self, name), 1)
        for name in (
            "user_strength",
            "bias_strength",
            "item_strength",
            "item_bias_strength",
            "text_strength",
            "learning_rate",
        ):
            check_range(f"tastes.{name}", getattr(self, name), 0, open_low=True)
        check_range("tastes.rounds", self.rounds, 0)
        check_range("tastes.groups", self.groups or 0, 0)
        check_range("tastes.exposure_strength", self.exposure_strength, 0)
        check_range("tastes.holdout", self.holdout, 0.01, 0.5)
        check_range("tastes.base_rate", self.base_rate, 0.001, 0.999)
