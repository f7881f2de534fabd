"""Simple recommenders wherever recommenders are compared: on the held-out log and with simulated users."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.data import Log, Split
from jaxrec.envs import logged
from jaxrec.envs.logged_world import load_simulator
from jaxrec.evaluation.ensemble import ensemble
from jaxrec.evaluation.feedback_errors import constant_mean, feedback_errors
from jaxrec.evaluation.held_out import held_out_metrics
from jaxrec.evaluation.measures import item_facts
from jaxrec.evaluation.recommenders import by_scorer
from jaxrec.evaluation.scorers import Scorer, compiled_score, fit_simple, simple_scorer
from jaxrec.evaluation.simulate import make_simulation
from jaxrec.progress import quiet
from jaxrec.runs.read_log import Corpus, read_corpus
from jaxrec.supervised.simple import SIMPLE_RECOMMENDERS, SimpleRecommender
from jaxrec.types import Env, Observation, World


class Tiny(NamedTuple):
    corpus: Corpus
    env: Env
    scorers: dict[str, Scorer]


@pytest.fixture(scope="module")
def tiny(tiny_run: Path) -> Tiny:
    config = load_config(Config, tiny_run / "config.yaml")
    with quiet():
        corpus = read_corpus(config)
    env = logged.make(config.env, load_simulator(tiny_run / "simulators" / "train"))
    vectors, split = np.asarray(env.world.users.text(env.world.item_table)), corpus.split
    scorers = {}
    for name, simple in SIMPLE_RECOMMENDERS.items():
        scorers[name] = simple_scorer(simple, fit_simple(simple, split.train, split.validation, vectors)[0])
    both = [scorers["als"], scorers["item_knn"]]
    return Tiny(corpus, env, scorers | {"ensemble": ensemble(both, np.ones(2), env.world.recommendable)})


@pytest.mark.parametrize("name", [*SIMPLE_RECOMMENDERS, "ensemble"])
def test_every_recommender_ranks_the_log_and_serves_simulated_users(name: str, tiny: Tiny) -> None:
    scorer, world = tiny.scorers[name], tiny.env.world
    ranked = held_out_metrics(compiled_score(scorer), tiny.corpus.split)
    assert ranked["users"] == 40 and 0 < ranked["ndcg@20"] < 1
    counts = jnp.asarray(tiny.corpus.counts)
    run = make_simulation(tiny.env, by_scorer(scorer, counts, 3), 10)
    result = run(world, item_facts(world.users.text(world.item_table)), jax.random.key(0), 20)
    assert (result.lengths == 4).all() and 0 < result.mean <= 12 and 0 < result.coverage <= 1


def slates(scores: list[float], counts: list[float], obs: Observation, world: World, size: int) -> list:
    fixed = Scorer(lambda arrays, obs: jnp.broadcast_to(arrays, (2, len(scores))), jnp.array(scores, jnp.float32))
    recommender = by_scorer(fixed, jnp.array(counts, jnp.float32), size)
    return jax.jit(recommender.choose)(recommender.arrays, jax.random.key(0), None, obs, world).tolist()


def test_ties_fall_back_to_popularity_and_no_item_of_the_history_is_shown() -> None:
    obs = Observation(history_items=jnp.array([[-1, 4], [-1, 1]]))
    world = World(item_table=jnp.zeros((5, 1)))
    # best first: item 4, then 1, 0 and 2 with one score by their counts, then 3
    assert slates([1e6, 1e6, 1e6, 0, 2e6], [5, 7, 1, 9, 0], obs, world, 3) == [[1, 0, 2], [4, 0, 2]]


def test_only_recommendable_items_are_shown() -> None:
    obs = Observation(history_items=jnp.array([[-1, 4], [-1, -1]]))
    world = World(item_table=jnp.zeros((5, 1)), recommendable=jnp.array([0, 2, 4], jnp.int32))
    # positions among items 0, 2, 4
    assert slates([1, 9, 1, 9, 1], [5, 7, 6, 9, 8], obs, world, 2) == [[1, 0], [2, 1]]


def test_a_list_of_candidates_is_ranked_the_same_way() -> None:
    obs = Observation(history_items=jnp.array([[-1], [-1]]), candidates=jnp.array([[3, 0, 2], [2, 1, 0]], jnp.int32))
    world = World(item_table=jnp.zeros((4, 1)))
    assert slates([1, 2, 1, 1], [5, 7, 8, 4], obs, world, 2) == [[2, 1], [1, 0]]


def small_log(rows: list[tuple[int, int]], feedback: list[float]) -> Log:
    user, item = (np.array(column, np.int32) for column in zip(*rows, strict=True))
    return Log(user, item, np.arange(len(rows)), np.array(feedback, np.float32)[:, None], ("liked",), 3, 6)


def test_the_setting_is_the_one_with_the_best_ndcg_on_the_validation_rows() -> None:
    log = small_log([(0, 0), (1, 1), (2, 2)], [1, 1, 1])
    later = small_log([(0, 5), (1, 5), (2, 5)], [1, 1, 1])

    def fit(log: Log, vectors: object, best: float = 0.0) -> np.ndarray:
        return np.eye(6, dtype=np.float32)[int(best)]

    grid = tuple({"best": float(item)} for item in (3, 5, 4))
    simple = SimpleRecommender(fit, lambda scores, items, _: jnp.broadcast_to(scores, (len(items), 6)), grid)
    arrays, setting = fit_simple(simple, log, later)
    assert setting == {"best": 5.0} and arrays.tolist() == [0, 0, 0, 0, 0, 1]
    assert fit_simple(simple, log, later.take(np.zeros(3, bool)))[1] == {"best": 3.0}  # nobody chooses: the first


def test_errors_of_predicted_feedback_by_hand() -> None:
    train = small_log([(0, 0), (0, 1), (1, 0), (2, 2)], [1, 0, 1, 1])  # mean 3/4
    test = small_log([(0, 3), (0, 4), (1, 5)], [1, 0, 0])
    split = Split(train, train.take(np.zeros(4, bool)), test)
    got = feedback_errors(constant_mean(split), split)["liked"]
    assert got["mae"] == pytest.approx((1 / 4 + 3 / 4 + 3 / 4) / 3)
    assert got["rmse"] == pytest.approx(((1 / 16 + 9 / 16 + 9 / 16) / 3) ** 0.5)
    exact = feedback_errors(lambda obs, items: (items == 3)[..., None].astype(float), split)["liked"]
    assert exact == {"mae": 0, "rmse": 0}
