import json
import math

import pytest

from jaxrec.cli import bench as command
from jaxrec.cli import main
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
def found() -> dict:
    return bench(TINY)


def test_every_figure_is_a_rate_with_its_unit(found: dict) -> None:
    assert "cpu, jax " in found["device"] and found["versions"]["jax"]
    assert len(found["figures"]) == len(FAMILIES) + 3
    for one in found["figures"]:
        assert 0 < one["lowest"] <= one["value"] <= one["highest"] < math.inf
        assert one["unit"] == UNITS[one["name"].split()[0]]


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
