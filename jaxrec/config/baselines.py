"""Names of the recommenders that policies are compared with; `jaxrec.supervised.simple` has the recommenders."""

from jaxrec.checks import InputError, check_name
from jaxrec.foreign import quoted

BASELINES = [
    "most_popular",  # rows of the item
    "most_liked",  # positive rows of the item: those with `data.target`
    "item_knn",  # items that the same users have, summed over the history
    "item_knn_liked",  # the same of positive rows
    "item_knn_last",  # of the last item of the history only
    "sequential_rules",  # items that often come soon after the latest ones of the history
    "user_knn",  # items of the users with the most similar rows
    "content",  # texts like those of the liked items
    "als",  # matrix factorisation of implicit feedback
    "ridge",  # ridge regression on the user's answers, with texts as features
    "bias",  # mean feedback of the item
]
# Each of these costs about as much as counting. `als` is fitted once for each setting of its grid, `user_knn` compares
# every history with all rows of the log, and `ridge` solves a linear system per history. A recipe has to ask for them.
CHEAP = (
    "most_popular",
    "most_liked",
    "item_knn",
    "item_knn_liked",
    "item_knn_last",
    "sequential_rules",
    "content",
    "bias",
)


def check_baselines(where: str, names: tuple[str, ...]) -> None:
    """Raise InputError for names that are unknown or given twice."""
    for place, name in enumerate(names):
        check_name(where, name, BASELINES)
        if name in names[:place]:
            raise InputError(f"{where}: {quoted(name)} is given twice; keep one of them.")
