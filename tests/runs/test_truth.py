"""A generated log is written by people whose tastes are known: policies are judged by them too."""

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.data.generated import hidden_tastes
from jaxrec.envs import logged
from jaxrec.envs.logged_world import load_simulator
from jaxrec.nets.tastes import all_logits, probabilities
from jaxrec.runs.evaluate import evaluate
from jaxrec.runs.read_log import read_corpus
from jaxrec.runs.recipe import log_config
from jaxrec.runs.users.truth import true_chances, world_of_generator
from jaxrec.storage.run import RunFolder
from jaxrec.supervised.calibration import sigmoid
from jaxrec.supervised.comeback import comeback_chance
from jaxrec.supervised.leaving import leave_chance
from jaxrec.types import World


@pytest.fixture(scope="module")
def run(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("truth") / "run"
    shutil.copytree(tiny_run, copy)
    return copy


@pytest.mark.slow
def test_nobody_beats_the_oracle_that_knows_the_generators_people(run: Path) -> None:
    evaluate(run, {"evaluate.users": 400}, silent=True)
    truth = json.loads((run / "evaluation.json").read_text())["simulators"]["truth"]["recommenders"]
    returns = {name: row["return"] for name, row in truth.items()}
    assert {"policy", "random", "most_popular", "best_fixed", "greedy_response"} <= set(returns)
    assert max(returns, key=returns.__getitem__) == "greedy_response"
    assert returns["greedy_response"] > returns["random"] + 2


def test_the_true_answers_are_the_generators_probabilities(run: Path) -> None:
    config = load_config(Config, run / "config.yaml")
    corpus = read_corpus(config)
    fitted = load_simulator(RunFolder(run).simulators / "train")
    world = world_of_generator(config, corpus, fitted)
    assert world is not None
    true = hidden_tastes(log_config(config).generated, config.seed)
    env = logged.make(config.env, world)
    states, _ = jax.jit(jax.vmap(env.reset, in_axes=(0, None)))(jax.random.split(jax.random.key(0), 300), world)
    p = np.asarray(jax.jit(lambda s, w: logged.answer_probabilities(s, w, config.env))(states, world))[..., 0]
    draws = np.asarray(world.users.tastes.draws)  # one version of each
    assert draws.shape[0] == 1 and p.shape == (300, 60)
    users = (np.asarray(states.person)[:, None] == draws).all((-1, -2)).argmax(1)
    assert len(set(users)) == len(np.unique(corpus.split.train.user)) == 40  # people of both halves
    want = np.stack([true.like_probability(user) for user in users])
    np.testing.assert_allclose(p, want, atol=1e-5)


@pytest.mark.parametrize("weights", ["{liked: 1.0}", "{liked: 2.5}"])
def test_with_visits_the_true_people_tire_leave_and_come_back_as_the_generator_says(run: Path, weights: str) -> None:
    """Whatever a like counts in the recipe, the generator goes by the share of likes."""
    options = [
        "data.generated.visits={boredom: 0.7, keep: 0.8, leave: -1, content: 3, comeback: 0.1, return_content: 0.5}",
        "env.leave={name: hazard}",
        "env.comeback_model={sessions: 2}",
        f"env.reward={weights}",
    ]
    config = load_config(Config, run / "config.yaml", options)
    world = world_of_generator(config, read_corpus(config), load_simulator(RunFolder(run).simulators / "train"))
    assert world is not None
    users, weight = world.users, config.env.reward["liked"]
    share = np.array([0.0, 1 / 3, 1.0])
    leave = leave_chance(users.leave, jnp.asarray(weight * share), jnp.zeros(3))
    np.testing.assert_allclose(leave, sigmoid(-1 - 3 * share), rtol=1e-5)
    state = jnp.zeros((1, users.tastes.draws.shape[-1]))
    back = [comeback_chance(users.comeback, state, jnp.asarray(weight * q)) for q in share]
    np.testing.assert_allclose(back, 0.1 + 0.5 * share, rtol=1e-5)
    assert float(users.tastes.effects.alike[0]) == pytest.approx(-0.7)
    assert float(users.tastes.effects.keep[0]) == pytest.approx(0.8)


def test_the_generators_people_like_what_the_log_says(run: Path) -> None:
    """Rates of the log itself, so that numbers of users and items are those of the log."""
    config = load_config(Config, run / "config.yaml")
    log = read_corpus(config).dataset.log
    true = hidden_tastes(log_config(config).generated, config.seed)
    p = np.stack([true.like_probability(user) for user in range(log.num_users)])[log.user, log.item]
    error = log.feedback[:, 0] - p
    assert abs(error.mean()) < 4 * (p * (1 - p)).sum() ** 0.5 / len(p)
    for high in (False, True):  # among what is likely and among what is not
        part = (p > 0.5) == high
        assert abs(error[part].mean()) < 4 * (p * (1 - p))[part].sum() ** 0.5 / part.sum()


def test_a_log_that_nobody_generated_has_no_truth(run: Path) -> None:
    config = load_config(Config, run / "config.yaml", ["data.source=files"])
    fitted = load_simulator(RunFolder(run).simulators / "train")
    assert world_of_generator(config, read_corpus(load_config(Config, run / "config.yaml")), fitted) is None
    assert true_chances(config, read_corpus(load_config(Config, run / "config.yaml"))) is None


def test_people_and_items_keep_their_tastes_where_cleaning_numbers_them_anew(run: Path) -> None:
    words = ["data.min_user_rows=14", "data.min_item_rows=6", "data.feedback={liked: {}, disliked: {at_most: 0.5}}"]
    config = load_config(Config, run / "config.yaml", words)
    corpus = read_corpus(config)
    users, ids = corpus.dataset.users, corpus.dataset.catalogue.ids
    assert len(users) < 40 and users != tuple(str(n) for n in range(len(users)))
    fitted = load_simulator(run / "simulators" / "train")
    table = jnp.zeros((len(ids), fitted.item_table.shape[1]))
    world = world_of_generator(config, corpus, World(table, users=fitted.users))
    assert world is not None
    true = hidden_tastes(log_config(config).generated, config.seed)
    tastes = world.users.tastes
    p = np.asarray(probabilities(tastes, all_logits(tastes, tastes.draws[0])))  # [U, I, F]
    kept = np.unique(corpus.split.train.user)
    want = np.stack([true.like_probability(int(users[n])) for n in kept])[:, [int(name) - 1 for name in ids]]
    np.testing.assert_allclose(p[..., 0], want, atol=1e-5)
    np.testing.assert_allclose(p[..., 1], 1 - want, atol=1e-5)
    chances = true_chances(config, corpus)
    assert chances is not None
    np.testing.assert_allclose(chances(kept), want, atol=1e-6)


def test_true_chances_are_of_the_first_kind_of_feedback(run: Path) -> None:
    config = load_config(Config, run / "config.yaml", ["data.feedback={disliked: {at_most: 0.5}}"])
    chances = true_chances(config, read_corpus(config))
    assert chances is not None
    true = hidden_tastes(log_config(config).generated, config.seed)
    np.testing.assert_allclose(chances(np.array([3, 0])), [1 - true.like_probability(user) for user in (3, 0)])
