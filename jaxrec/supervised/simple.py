"""Recommenders that anything learned must beat, by name."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxrec.checks import InputError
from jaxrec.config.baselines import BASELINES
from jaxrec.supervised.baselines.als import als, score_als
from jaxrec.supervised.baselines.bias import bias, predict_bias, score_bias
from jaxrec.supervised.baselines.content import content, score_content
from jaxrec.supervised.baselines.neighbours import (
    item_knn,
    liked_items,
    liked_rows,
    most_popular,
    score_item_knn,
    score_popular,
    score_sequential_rules,
    score_user_knn,
    sequential_rules,
    user_knn,
)
from jaxrec.supervised.baselines.ridge import predict_ridge, ridge, score_ridge
from jaxrec.types import Array

Setting = Mapping[str, float]


class SimpleRecommender(NamedTuple):
    """`fit` counts on the host; `score` is pure: (what was fitted, history, its feedback) -> scores.

    `fit(log, vectors, **setting)` gives a pytree of arrays; vectors [I, E] of the items' texts may be None. It raises
    InputError where it cannot be fitted, and the recommender is then left out. History [..., H], feedback [..., H, F]
    -> [..., I]. What was fitted is an argument of the compiled function, never closed over.
    """

    fit: Callable[..., Any]
    score: Callable[[Any, Array, Array], Array]
    grid: tuple[Setting, ...] = ({},)  # settings of `fit`; validation rows choose, and without them it is the first
    # Expected feedback of items [..., n]: (what was fitted, history, its feedback, items) -> [..., n, F]
    predict: Callable[[Any, Array, Array, Array], Array] | None = None


def of_log(fit: Callable[..., Any]) -> Callable[..., Any]:
    """A `fit` that reads no item vectors."""
    return lambda log, vectors=None, **setting: fit(log, **setting)


_item_knn = of_log(item_knn)  # one table for two recommenders
ALS_GRID = tuple({"alpha": a, "regularisation": r} for a in (10.0, 3.0, 30.0) for r in (10.0, 100.0))

SIMPLE_RECOMMENDERS: dict[str, SimpleRecommender] = {
    "most_popular": SimpleRecommender(of_log(most_popular), lambda counts, items, _: score_popular(counts, items)),
    "most_liked": SimpleRecommender(
        of_log(lambda log: most_popular(liked_rows(log))), lambda counts, items, _: score_popular(counts, items)
    ),
    "item_knn": SimpleRecommender(_item_knn, lambda table, items, _: score_item_knn(table, items)),
    "item_knn_liked": SimpleRecommender(
        of_log(lambda log: item_knn(liked_rows(log))),
        lambda table, items, feedback: score_item_knn(table, liked_items(items, feedback)),
    ),
    "item_knn_last": SimpleRecommender(_item_knn, lambda table, items, _: score_item_knn(table, items, last_only=True)),
    "sequential_rules": SimpleRecommender(
        of_log(sequential_rules), lambda table, items, _: score_sequential_rules(table, items)
    ),
    "user_knn": SimpleRecommender(of_log(user_knn), lambda rows, items, _: score_user_knn(rows, items)),
    "content": SimpleRecommender(content, score_content),
    "als": SimpleRecommender(of_log(als), lambda model, items, _: score_als(model, items), grid=ALS_GRID),
    "ridge": SimpleRecommender(ridge, score_ridge, predict=predict_ridge),
    "bias": SimpleRecommender(of_log(bias), score_bias, predict=predict_bias),
}


def register_recommender(name: str, recommender: SimpleRecommender) -> None:
    """Make `name` known to recipes (`evaluate.baselines`, `evaluate.ensemble`); raises InputError if it is taken."""
    if name in SIMPLE_RECOMMENDERS:
        raise InputError(f"register_recommender: {name!r} is taken; choose another name.")
    SIMPLE_RECOMMENDERS[name] = recommender
    BASELINES.append(name)


__all__ = [
    "SIMPLE_RECOMMENDERS",
    "SimpleRecommender",
    "most_popular",
    "of_log",
    "register_recommender",
]
