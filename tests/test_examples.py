"""The examples run, for far shorter than they have to in order to learn."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.data.true_answers import read_true_answers
from jaxrec.runs.read_log import read_corpus
from jaxrec.runs.recipe import read_recipe
from tests.recipes import TINY_ENCODER

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(autouse=True)
def as_clients_have_it():
    """JAX's usual promotion: optax and gymnax's own environments need it."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def example(name: str, *needs: str) -> ModuleType:
    for module in needs:
        pytest.importorskip(module)
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def printed(lines: str) -> dict[str, float]:
    """Mean returns by policy, from lines such as "myopic 167.5 +- 0.9 minutes"."""
    return {line.split()[0]: float(line.split()[1]) for line in lines.splitlines() if "+-" in line}


def test_the_gymnax_example_trains_and_plays_beside_simple_policies(monkeypatch, capsys) -> None:
    module = example("gymnax_ppo", "gymnax")
    monkeypatch.setattr(sys, "argv", ["gymnax_ppo.py", "--updates", "2", "--episodes", "400"])
    module.main()
    returns = printed(capsys.readouterr().out)
    assert list(returns) == ["PPO", "myopic", "random"]
    assert abs(returns["myopic"] - 167.5) < 5 and abs(returns["random"] - 160.3) < 3  # 4.5 standard errors or so
    assert 140 < returns["PPO"] < 300


def test_the_loop_of_the_gymnax_example_runs_on_an_environment_of_gymnaxs_own() -> None:
    module = example("gymnax_ppo", "gymnax")
    import gymnax

    env, params = gymnax.make("Pendulum-v1")
    config = module.Config(updates=3, num_envs=16, num_steps=32)
    trained, rewards = jax.jit(module.make_train(env, params, config))(jax.random.key(0))
    assert rewards.shape == (3,) and np.isfinite(rewards).all()
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(trained.params))


def test_the_advantages_of_the_gymnax_example_stop_where_an_episode_ends() -> None:
    module = example("gymnax_ppo", "gymnax")
    column = {name: jnp.zeros((3, 1)) for name in module.Step._fields}
    column |= {
        "reward": jnp.array([[1.0], [2.0], [4.0]]),
        "value": jnp.array([[0.5], [1.0], [2.0]]),
        "after": jnp.array([[1.0], [0.0], [8.0]]),  # the second step ends the episode
        "done": jnp.array([[False], [True], [False]]),
    }
    got = module.advantages(module.Step(**column), module.Config(gamma=1.0, gae_lambda=0.5))
    np.testing.assert_allclose(got[:, 0], [2.0, 1.0, 10.0])  # 1 + 1 - .5 + .5 * 1; 2 - 1; 4 + 8 - 2


def test_the_dense_truth_example_logs_a_share_of_the_matrix_that_judges(tmp_path) -> None:
    module = example("dense_truth")
    like = module.write_data(tmp_path, 40, 80, 0.3, seed=0)
    config = read_recipe(module.recipe(tmp_path, 0, 2, str(TINY_ENCODER)))
    assert config.data is not None and config.train.updates == 2
    log, catalogue = (corpus := read_corpus(config)).dataset.log, corpus.dataset.catalogue
    assert abs(len(log) / like.size - 0.3) < 4 * (0.3 * 0.7 / like.size) ** 0.5
    truth = read_true_answers(str(tmp_path / "truth.npz"), config.data)
    assert set(truth.users) == set(corpus.dataset.users) and truth.items == catalogue.ids
    row = {user: n for n, user in enumerate(truth.users)}
    p = truth.answers[[row[corpus.dataset.users[u]] for u in log.user], log.item, 0]
    error = log.feedback[:, 0] - p  # the log's answers are those of the matrix
    for high in (False, True):
        part = (p > 0.5) == high
        assert abs(error[part].mean()) < 4 * (p * (1 - p))[part].sum() ** 0.5 / part.sum()
    assert all(". " in text for text in catalogue.texts)


def test_the_dense_truth_example_prints_the_best_first(capsys) -> None:
    rows = {"ridge": {"return": 35.0, "return_95": 0.2}, "policy": {"return": 36.5, "return_95": 0.25}}
    example("dense_truth").show({"recommenders": rows, "policy_minus": {"ridge": (1.5, 0.3)}})
    assert list(printed(capsys.readouterr().out).items()) == [("policy", 36.5), ("ridge", 35.0)]


def test_the_stable_baselines_example_trains_and_plays(monkeypatch, capsys) -> None:
    module = example("gymnasium_sb3", "gymnasium", "torch", "stable_baselines3")
    monkeypatch.setattr(sys, "argv", ["gymnasium_sb3.py", "--steps", "1", "--episodes", "400"])
    module.main()
    assert list(printed(capsys.readouterr().out)) == ["PPO", "myopic", "random"]
