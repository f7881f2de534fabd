import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec import make_env
from jaxrec.cli import main
from jaxrec.envs.logged_world import load_simulator

LEAVE = {"name": "temper", "start": 2, "target": 1}
OPTIONS = ["env.requests=4", f"env.leave={LEAVE}", "env.comeback_model={sessions: 2}"]


@pytest.mark.slow
@pytest.mark.parametrize("response", ["tastes", "last_rows"])
def test_fitted_simulators_know_when_their_users_come_back(
    response: str, recipe: Path, last_rows_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "users"
    reward = "env.reward={liked: 1, comeback_day: -0.1}"
    recipe = recipe if response == "tastes" else last_rows_recipe
    assert main(["fit-simulator", str(recipe), "-o", str(folder), *OPTIONS, reward]) == 0
    out = capsys.readouterr().out
    days = json.loads((folder / "validity.json").read_text())["comeback_days"]
    page = (folder / "validity.html").read_text()
    if "left_out" in days:
        assert days["left_out"] in page
    else:
        assert "days until the next session" in page and 1 <= days["simulated_mean"] <= 10
    for name in ("train", "judge"):
        assert re.search(
            rf"comeback days of {name} users, fitted to \d+ comebacks in the log: mean \d\.\d\d fitted", out
        )
        assert json.loads((folder / name / "description.json").read_text())["comeback"] == {"source": "log"}
        comeback = load_simulator(folder / name).users.comeback
        assert comeback is not None and np.isfinite(np.asarray(comeback.v)).all()
    options = {"slate_size": 3, "requests": 4, "leave": LEAVE, "reward": {"liked": 1.0, "comeback_day": -0.1}}
    env = make_env("logged", path=str(folder), comeback_model={"sessions": 2}, **options)
    state, _ = env.reset(jax.random.key(0), env.world)
    step, over, rewards = jax.jit(env.step), False, []
    for n in range(8):
        slate = jnp.arange(3, dtype=jnp.int32) + 3 * n
        state, out = step(jax.random.key(n), state, slate, env.world)
        rewards.append(float(out.reward))
        over = bool(out.terminated | out.truncated)
        if over:
            break
    assert over and all(r == pytest.approx(round(r, 1), abs=1e-5) for r in rewards)
