import json
import math
from typing import Any

import jax
import pytest

from jaxrec.cli import bench as command
from jaxrec.cli import main
from jaxrec.learn.program import Program, compile_learner
from jaxrec.runs.bench import FAMILIES, Sizes, bench

TINY = Sizes(
    users=8,
    steps=2,
    learning_users=64,
    horizon=4,
    texts=2,
    tokens=8,
    layers=1,
    width=32,
    transitions=640,
    sampled=8,
    calls=2,
)
UNITS = {"simulator": "user steps/s", "PPO,": "updates/s", "encoder": "texts/s", "replay": "calls/s"}


@pytest.fixture(scope="module")
def measured() -> tuple[dict, list[Program]]:
    """The figures, and the programs of learners that gave them."""
    programs: list[Program] = []

    def compile_and_keep(*given: Any) -> Program:
        programs.append(compile_learner(*given))
        return programs[-1]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("jaxrec.runs.bench.compile_learner", compile_and_keep)
        return bench(TINY), programs


@pytest.fixture
def found(measured: tuple[dict, list[Program]]) -> dict:
    return measured[0]


@pytest.mark.slow
def test_one_device_is_measured_also_where_there_are_several(measured: tuple[dict, list[Program]]) -> None:
    found, (program,) = measured
    assert jax.device_count() > 1 and found["device"].startswith(f"one device of {jax.device_count()} x ")
    devices = {one for x in jax.tree.leaves(program.abstract) for one in x.sharding.device_set}
    assert devices == {jax.devices()[0]}


@pytest.mark.slow
def test_every_figure_is_a_rate_with_its_unit(found: dict) -> None:
    assert "cpu, jax " in found["device"] and found["versions"]["jax"]
    assert len(found["figures"]) == len(FAMILIES) + 3
    for one in found["figures"]:
        assert 0 < one["lowest"] <= one["value"] <= one["highest"] < math.inf
        assert one["unit"] == UNITS[one["name"].split()[0]]


@pytest.mark.slow
def test_the_command_prints_a_table_or_one_json_line(
    found: dict, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(command, "bench", lambda sizes: found)
    assert main(["bench"]) == 0
    table = capsys.readouterr().out
    assert found["device"] in table and all(one["name"] in table for one in found["figures"])
    assert main(["bench", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == found
    assert main(["bench", "--calls", "0"]) == 2
