"""Scripts of benchmarks/ at their smallest: that they run, and that their lines become a table."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_replay_is_measured_and_its_line_becomes_a_row() -> None:
    found = script("replay").measure(transitions=320, users=16, calls=10, peer=False)
    assert (found["transitions"], found["added"], found["calls"]) == (320, 160, 10) and found["ms_10"] > 0
    (row,) = script("table").rows_of(found)
    assert row[:3] == ("replay of 320: add 160 and sample 512", "ms (10th to 90th percentile)", found["ms"])


def test_the_spread_of_times_leaves_out_a_tenth_on_each_side() -> None:
    spread = script("replay").spread
    assert spread([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
    assert spread([99.0, 0.01, *(float(n) for n in range(2, 20))]) == (10.5, 3.0, 18.0)


@pytest.mark.slow
def test_steps_over_a_catalogue_are_measured_in_blocks() -> None:
    catalogue = script("catalogue")
    assert [catalogue.blocks(1024, items) for items in (10_000, 100_000, 1_000_000, 10**9)] == [1, 8, 64, 1024]
    found = catalogue.measure(items=64, users=8, rounds=1)
    assert found["over_bare"]["bare"] == 1.0 and set(found["median_ms"]) == {"bare", "greedy", "sampled"}


def test_lines_become_a_table_with_devices_and_spread() -> None:
    of_all = {"device": "cpu", "lowest": 886_118, "highest": 1_074_050, "versions": {"jax": "0.10.2", "flax": "0.12.8"}}
    lines = [
        {"env": "interest_evolution", "users": 256, "user_steps_per_s": 1_015_713, **of_all},
        {"users": 512, "horizon": 128, "user_steps_per_s": 900_000, **of_all},
    ]
    figures = [{"name": "products", "unit": "GFLOP/s", "value": 1234.5, "lowest": 0.001234, "highest": 2e6}]
    lines.append({"figures": figures, "device": "another", "versions": {"jax": "1"}})
    head, _, _, _, first, second, last = script("table").table(lines).splitlines()
    assert head == "cpu; another. jax 1, flax 0.12.8."
    assert first == "| simulator interest_evolution, 256 users | 1,015,713 | 886,118 to 1,074,050 | user steps/s |"
    assert (
        second == "| PPO, interest_evolution, 512 users x 128 steps | 900,000 | 886,118 to 1,074,050 | user steps/s |"
    )
    assert last == "| products | 1,234 | 0.00123 to 2,000,000 | GFLOP/s |"


def test_a_return_that_is_too_low_or_no_number_is_found(tmp_path: Path) -> None:
    table = [sys.executable, str(BENCHMARKS / "table.py"), "--run", str(tmp_path), "--above", "165"]
    for last, code in ((170.0, 0), (160.0, 1), (float("nan"), 1)):
        rows = [{"step": 10, "evaluation_return": 200.0}, {"step": 20, "evaluation_return": last}, {"step": 30}]
        (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert subprocess.run(table, capture_output=True).returncode == code
    nothing = subprocess.run(table[:2], capture_output=True, text=True)
    assert nothing.returncode == 2 and "give LINES.jsonl, or --run RUN" in nothing.stderr


def test_the_script_for_gpus_is_well_formed_and_says_what_it_lacks() -> None:
    gpu = BENCHMARKS / "gpu.sh"
    assert subprocess.run(["bash", "-n", str(gpu)]).returncode == 0 and os.access(gpu, os.X_OK)
    none = subprocess.run([str(gpu)], env=os.environ | {"PYTHON": "false"}, capture_output=True, text=True)
    assert none.returncode == 2 and "set PYTHON" in none.stderr
