"""Hostile inputs of all kinds: one line or a right result; nothing else is touched. `frame.py` has the rules."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hostile.frame import Hostile, faults, prepare, snapshot, start
from tests.hostile.launch import Launcher
from tests.hostile.logs import LOGS
from tests.hostile.models import MODELS
from tests.hostile.outputs import OUTPUTS
from tests.hostile.recipes import RECIPES
from tests.hostile.runs import RUNS
from tests.hostile.surroundings import SURROUNDINGS
from tests.hostile.tokenizers import TOKENIZERS
from tests.quick import slow_unless

CASES: tuple[Hostile, ...] = (*MODELS, *TOKENIZERS, *LOGS, *OUTPUTS, *RECIPES, *RUNS, *SURROUNDINGS)
SLOW = {"a bomb that is cut off"}  # "a bomb of gzip" meets the same limits
QUICK = [case for case in CASES if case.name not in SLOW]


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    with Launcher() as started:
        yield started


@pytest.fixture
def trained(request: pytest.FixtureRequest) -> Callable[[], Path]:
    """Gives the trained run, which only some cases wait for."""
    return lambda: request.getfixturevalue("tiny_run")


@pytest.mark.parametrize("case", slow_unless(QUICK, CASES), ids=lambda case: case.name)
def test_a_hostile_input_is_refused_in_one_line_or_harmless(
    case: Hostile, tmp_path: Path, launcher: Launcher, trained: Callable[[], Path]
) -> None:
    place = prepare(case, tmp_path / "root", trained)
    before = snapshot(place.root)
    ended = start(case, place, launcher)
    assert not faults(case, place, before, ended), f"{ended.out}\n{ended.err}"
    if case.check is not None:
        case.check(place, ended)


def test_the_names_of_the_cases_differ() -> None:
    assert len({case.name for case in CASES}) == len(CASES) == len(QUICK) + len(SLOW)
