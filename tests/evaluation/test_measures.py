"""The registry of measures: one more metric is one more entry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.evaluation import report
from jaxrec.evaluation.measures import MEASURES, Episodes, Measure, Measures, Sizes, Step, item_facts
from jaxrec.evaluation.recommenders import ranking, uniform
from jaxrec.evaluation.simulate import Simulated, make_simulation
from jaxrec.types import Array
from tests.probes import delay_probe, document_probe

WORLD = delay_probe().world
# Items 0 and 1 were seen 1 and 3 times: shares of a quarter and three quarters.
FACTS = item_facts(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32), np.array([1.0, 3.0]))


def _start(sizes: Sizes) -> Array:
    return jnp.full(sizes.users, -jnp.inf)


def _add(best: Array, step: Step) -> Array:
    return jnp.where(step.active, jnp.maximum(best, step.reward), best)


def _finish(best: np.ndarray, episodes: Episodes) -> float:
    return float(best.reshape(-1)[: len(episodes.returns)].mean())


# What the best step of a user paid: a number per user on the device.
BEST_STEP = Measure("best step", "<{:.1f}>", start=_start, add=_add, finish=_finish)
# The same registry with one more entry, between the others.
MORE: Measures = {"return": MEASURES["return"], "best_step": BEST_STEP, **MEASURES}


def run(users: int, first: int, measures: Measures = MORE) -> Simulated:
    """Users of two steps who are always shown item `first`: 1 costs .2 and then pays 1, 0 pays .1 and then nothing."""
    scores = jnp.array([0.0, 1.0]) if first else jnp.array([1.0, 0.0])
    simulate = make_simulation(delay_probe(), ranking(scores, 1, repeats=True), 10, measures)
    return simulate(WORLD, FACTS, jax.random.key(0), users)


@pytest.mark.parametrize("users", [4, 300])
def test_one_more_measure_is_in_the_summary_and_in_the_printed_table(users: int, capsys: pytest.CaptureFixture) -> None:
    results = {report.POLICY: run(users, 1), "lazy": run(users, 0)}
    assert list(results["lazy"].summary()) == list(MORE)
    section = report.simulated_section(results)
    assert section["recommenders"][report.POLICY]["best_step"] == 1.0
    assert section["recommenders"]["lazy"]["best_step"] == pytest.approx(0.1)
    report.print_simulated("probe", section, MORE)
    lines = capsys.readouterr().out.splitlines()
    head = next(line for line in lines if "recommender" in line)
    assert head.split()[:5] == ["recommender", "return", "best", "step", "95%"]
    rows = [line.split() for line in lines]
    assert [report.POLICY, "0.800", "<1.0>"] in [row[:3] for row in rows]
    assert ["lazy", "0.100", "<0.1>"] in [row[:3] for row in rows]


def test_the_other_measures_are_as_they_are_without_it() -> None:
    with_it, without = run(300, 1).summary(), run(300, 1, MEASURES).summary()
    assert {name: with_it[name] for name in MEASURES} == without


def test_a_measure_is_nothing_where_it_does_not_apply() -> None:
    env = document_probe()
    measures = {"return": MEASURES["return"], "documents": BEST_STEP._replace(applies=lambda spec: spec.num_items > 1)}
    got = make_simulation(env, uniform(1), 5, measures)(env.world, FACTS, jax.random.key(0), 8)
    assert np.isnan(got.measured["documents"]) and got.summary()["documents"] is None


def test_facts_of_items_by_hand() -> None:
    np.testing.assert_allclose(FACTS.rows, [[0.6, 0.8], [0.0, 0.0]], rtol=1e-6)
    np.testing.assert_allclose(FACTS.surprise, [2.0, 2.0 - np.log2(3.0)], rtol=1e-6)


def test_a_single_user_has_no_interval() -> None:
    assert run(1, 1).summary()["return_95"] is None
