"""Users of another package: registered in one call, and then known everywhere."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import jaxrec
from jaxrec.checks import InputError
from jaxrec.config.users import ENV_CONFIGS
from jaxrec.runs.evaluate import evaluate
from jaxrec.runs.users.registry import USER_KINDS

SOURCE = '''
"""Users who click what a slate names, until `steps` slates were shown."""
import dataclasses
import jax, jax.numpy as jnp
import jaxrec
from flax import struct
from jaxrec.evaluation.recommenders import ranking
from jaxrec.types import Env, EnvSpec, Observation, SlateAction, StepOutput, World


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObedientConfig:
    name: str = "obedient"
    slate_size: int = 2
    steps: int = 3


class State(struct.PyTreeNode):
    taste: jax.Array  # [U = 2]
    step: jax.Array


def make(config):
    def observe(state):
        return Observation(user=state.taste)

    def reset(key, world):
        state = State(jax.random.uniform(key, (2,)), jnp.asarray(0, jnp.int32))
        return state, observe(state)

    def step(key, state, action, world):
        click = (world.item_table[action].sum(-1) > 0).astype(jnp.float32)[:, None]
        after = State(state.taste, state.step + 1)
        obs, over = observe(after), after.step >= config.steps
        return after, StepOutput(obs, click.sum(), jnp.asarray(False), over, click, obs)

    table = jnp.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [-1.0, -1.0]])
    action = SlateAction(size=config.slate_size)
    spec = EnvSpec(name="obedient", action=action, num_items=5, feedback=("click",), user_size=2)
    return Env(reset, step, World(item_table=table), spec)


def rules(env, config):
    return {"best": ranking(env.world.item_table.sum(-1), env.spec.slate_size)}


jaxrec.register_env("obedient", ObedientConfig, make, baselines=rules)
'''
RECIPE = {
    "seed": 1,
    "env": {"name": "obedient", "steps": 4},
    "learner": {"name": "ppo", "num_users": 8, "horizon": 4, "minibatches": 2, "policy": {"width": 8, "hidden": [8]}},
    "train": {"updates": 2, "updates_per_call": 1, "checkpoint_every": 1, "evaluate_users": 8, "devices": 1},
    "evaluate": {"users": 10},
}


@pytest.fixture(scope="module")
def registered():
    space: dict = {"__name__": "obedient_users"}
    exec(compile(SOURCE, "obedient_users.py", "exec", dont_inherit=True), space)
    yield space["make"], space["ObedientConfig"]
    del USER_KINDS["obedient"], ENV_CONFIGS["obedient"]


def test_make_env_knows_the_users_and_checks_their_options(registered) -> None:
    assert "obedient" in jaxrec.list_envs()
    assert jaxrec.make_env("obedient", slate_size=3).spec.slate_size == 3
    with pytest.raises(InputError, match=r"env has no field .slate_sise.; did you mean .slate_size.\?"):
        jaxrec.make_env("obedient", slate_sise=3)


def test_a_run_trains_judges_and_is_inspected(registered, tmp_path: Path) -> None:
    run = jaxrec.train(RECIPE, tmp_path / "run", silent=True)
    recommenders = evaluate(run, silent=True)["simulators"]["train"]["recommenders"]
    assert set(recommenders) == {"policy", "random", "best"}
    assert recommenders["best"]["return"] == 4 * 2  # four slates of the two items that everybody clicks
    from jaxrec.cli.inspect_view import print_account
    from jaxrec.runs.inspect import describe

    account = describe(run.path)
    assert account["recipe"]["action"] == {"name": "slate", "size": 2} and account["next"] == ""
    print_account(account)


def test_the_adapters_take_the_users(registered) -> None:
    env = jaxrec.to_gymnasium(jaxrec.make_env("obedient"))
    env.reset(seed=0)
    _, reward, terminated, truncated, _ = env.step(np.array([0, 1]))
    assert (float(reward), terminated, truncated) == (2.0, False, False)


def test_a_taken_name_is_refused(registered) -> None:
    make, config = registered
    other = dataclasses.make_dataclass("Other", [("name", str, "sardine")], frozen=True)
    with pytest.raises(InputError, match="register_env: 'sardine' is taken by SardineConfig; choose another name"):
        jaxrec.register_env("sardine", other, make)
    jaxrec.register_env("obedient", config, make)  # the same once more, as when a module is loaded again


def test_users_without_an_environment_are_refused(registered) -> None:
    with pytest.raises(InputError, match="register_env: 'obedient' has no environment; pass make"):
        jaxrec.register_env("obedient", registered[1])


@pytest.mark.parametrize("other", [dict, dataclasses.make_dataclass("Other", [("name", str, "else")], frozen=True)])
def test_a_config_without_the_name_is_refused(registered, other: type) -> None:
    with pytest.raises(InputError, match=r"must be a dataclass with the field `name: str = 'elsewhere'`\."):
        jaxrec.register_env("elsewhere", other, registered[0])
    assert "elsewhere" not in jaxrec.list_envs()


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder on the path with the package and its metadata, as pip leaves them."""
    site = tmp_path / "site"
    metadata = site / "obedient_users-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "obedient_users.py").write_text(SOURCE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: obedient-users\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[jaxrec.envs]\nobedient = obedient_users\n")
    return site


def command(site: Path, *words: str) -> subprocess.CompletedProcess:
    code = f"import sys; sys.path.insert(0, {str(site)!r}); from jaxrec.cli import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)


@pytest.mark.slow
def test_the_command_line_finds_an_installed_package(installed: Path, tmp_path: Path) -> None:
    recipe, run = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(yaml.safe_dump(RECIPE))
    done = command(installed, "train", str(recipe), "--run", str(run))
    assert done.returncode == 0 and "best evaluated return" in done.stdout, done.stderr
    done = command(installed, "evaluate", str(run))
    assert done.returncode == 0 and "obedient, 10 users" in done.stdout, done.stderr
    account = json.loads((run / "evaluation.json").read_text())
    assert account["simulators"]["train"]["recommenders"]["best"]["return"] == 8


def test_a_broken_package_disturbs_nobody_who_does_not_use_it(installed: Path, tmp_path: Path) -> None:
    (installed / "obedient_users.py").write_text("raise RuntimeError('no licence')")
    code = (
        f"import sys; sys.path.insert(0, {str(installed)!r}); import jaxrec; jaxrec.make_env('interest_evolution'); "
        "print('obedient' in jaxrec.list_envs(), 'obedient_users' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "True False", done.stderr


def test_a_package_that_registers_nothing_is_named(installed: Path) -> None:
    (installed / "obedient_users.py").write_text("")
    code = f"import sys; sys.path.insert(0, {str(installed)!r}); import jaxrec; jaxrec.make_env('obedient')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "the package of 'obedient' does not call jaxrec.register_env('obedient', ...)" in done.stderr


def test_a_package_that_cannot_be_imported_is_named_in_one_line(installed: Path, tmp_path: Path) -> None:
    (installed / "obedient_users.py").write_text("raise RuntimeError('no licence')")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    done = command(installed, "train", str(recipe), "--run", str(tmp_path / "run"))
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "env.name: the package of 'obedient' cannot be imported (RuntimeError('no licence'))" in done.stderr
