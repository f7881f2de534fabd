import dataclasses
import json
import math
import re
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from jaxrec.checks import InputError
from jaxrec.config.data import FeedbackKind
from jaxrec.config.policy import PolicyConfig
from jaxrec.nets.belief import expected_after
from jaxrec.nets.effects import Effects
from jaxrec.nets.policy import make_policy
from jaxrec.serve import SavedPolicy, load_policy, save_policy
from jaxrec.types import EnvSpec, SlateAction, World
from tests.damage import without_digests
from tests.tiny_tastes import random_tastes

IDS = ("a", "b", "c:1", "d", "e", "f")
SPEC = EnvSpec(name="logged", action=SlateAction(size=2), num_items=6, feedback=("liked",), history_length=3)
CONFIG = PolicyConfig(encoder="mean", width=4, hidden=(4,))
FEEDBACK = {"liked": FeedbackKind(column="rating", at_least=4.0)}


def save(folder: Path, *, spec: EnvSpec = SPEC, shown: list[int] | None = None, step: int = 7) -> tuple[dict, World]:
    table = jax.random.normal(jax.random.key(0), (6, 5))
    world = World(item_table=table, recommendable=None if shown is None else jnp.array(shown, jnp.int32))
    params = make_policy(spec, CONFIG).init(jax.random.key(step), world)
    save_policy(
        folder,
        params=params,
        world=world,
        spec=spec,
        config=CONFIG,
        feedback=FEEDBACK,
        items=(IDS, [f"Title of {name}" for name in IDS]),
        step=step,
    )
    return params, world


@pytest.fixture
def policy(tmp_path: Path) -> SavedPolicy:
    save(tmp_path / "policy")
    return load_policy(tmp_path / "policy")


def ids(slate: list) -> list[str]:
    return [item.id for item in slate]


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    params, world = save(tmp_path / "policy", shown=[0, 2, 3, 5])
    got = load_policy(tmp_path / "policy")
    assert jax.tree.structure(got.params) == jax.tree.structure(params)
    for mine, saved in zip(jax.tree.leaves(got.params), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(mine, saved)
    np.testing.assert_array_equal(got.world.item_table, world.item_table)
    np.testing.assert_array_equal(got.world.recommendable, [0, 2, 3, 5])
    assert (got.spec, got.feedback, got.ids, got.step) == (SPEC, FEEDBACK, IDS, 7)
    assert got.titles[1] == "Title of b"


def test_ranges_without_an_end_are_saved_as_json_that_any_program_reads(tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, feedback_range=((-math.inf, 2.5),), candidate_range=(0.0, math.inf))
    save(tmp_path / "policy", spec=spec)
    assert load_policy(tmp_path / "policy").spec == spec

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    saved = json.loads((tmp_path / "policy" / "description.json").read_text(), parse_constant=refuse)["spec"]
    assert saved["feedback_range"] == [["-inf", 2.5]] and saved["candidate_range"] == [0.0, "inf"]


def test_a_run_folder_leads_to_its_policy(tmp_path: Path) -> None:
    save(tmp_path / "run" / "policy", step=3)
    assert load_policy(str(tmp_path / "run")).step == 3


def test_a_new_policy_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    for step in (1, 2):
        save(tmp_path / "policy", step=step)
    assert load_policy(tmp_path / "policy").step == 2
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]


def test_plain_orbax_and_json_read_what_is_saved(tmp_path: Path) -> None:
    params, world = save(tmp_path / "policy")
    with ocp.StandardCheckpointer() as checkpointer:
        arrays = checkpointer.restore(tmp_path / "policy" / "arrays")
    np.testing.assert_array_equal(arrays["item_table"], world.item_table)
    np.testing.assert_array_equal(arrays["params"]["query"]["kernel"], params["query"]["kernel"])
    names = ["arrays", "description.json", "digests.xxh128", "items.json"]
    assert sorted(path.name for path in (tmp_path / "policy").iterdir()) == names


def test_the_order_of_a_set_does_not_matter_but_what_was_thought_of_it_does(policy: SavedPolicy) -> None:
    def scores(*history: str) -> dict[str, float]:  # the network of this policy reads the mean of the history
        return {item.id: item.score for item in policy.recommend(history, k=4)}

    assert set(scores("a:5", "c:1:2")) == {"b", "d", "e", "f"}
    assert scores("a:5", "c:1:2") == pytest.approx(scores("c:1:2", "a:5"), abs=1e-5)
    assert scores("a:5", "c:1:2") != pytest.approx(scores("a:2", "c:1:5"), abs=1e-3)


def test_feedback_is_read_as_the_log_is_and_ids_may_hold_colons(policy: SavedPolicy) -> None:
    items, feedback = policy.histories.read(["a:4", " b:3.9 ", "c:1", "c:1:5"])
    np.testing.assert_array_equal(items, [0, 1, 2, 2])
    assert items.dtype == np.int32 and feedback.dtype == np.float32
    np.testing.assert_array_equal(feedback[:, 0], [1.0, 0.0, 1.0, 1.0])  # at least 4; without a value: liked


def test_a_policy_with_a_serving_temperature_draws_slates_by_seed_and_history(policy: SavedPolicy) -> None:
    warm = dataclasses.replace(policy, network=dataclasses.replace(policy.network, serving_temperature=10.0))
    slates = [tuple(ids(warm.recommend(["a"], k=2, seed=seed))) for seed in range(12)]
    assert slates == [tuple(ids(warm.recommend(["a"], k=2, seed=seed))) for seed in range(12)]
    assert len(set(slates)) > 1 and all("a" not in slate for slate in slates)
    assert len({tuple(ids(policy.recommend(["a"], k=2, seed=seed))) for seed in range(3)}) == 1


def test_an_empty_history_is_one_of_no_rows(policy: SavedPolicy) -> None:
    items, feedback = policy.histories.read([])
    assert items.shape == (0,) and feedback.shape == (0, 1)
    assert len(policy.recommend(k=6)) == 6


def test_only_recommendable_items_are_shown_and_never_those_of_the_history(tmp_path: Path) -> None:
    save(tmp_path / "policy", shown=[0, 2, 3, 5])
    policy = load_policy(tmp_path / "policy")
    assert set(ids(policy.recommend(k=4))) == {"a", "c:1", "d", "f"}
    assert set(ids(policy.recommend(["a", "b", "d", "d"], k=4))) == {"c:1", "f"}  # fewer are left than asked for
    with pytest.raises(InputError, match="k: expected a value at least 1 and at most 4"):
        policy.recommend(k=5)


def test_a_history_longer_than_the_window_still_hides_its_oldest_items(policy: SavedPolicy) -> None:
    assert set(ids(policy.recommend(["a", "b", "d", "e"], k=6))) == {"c:1", "f"}


@pytest.mark.parametrize(
    ("history", "message"),
    [("A", "no item 'A' in the catalogue of 6"), ("a:x", "expected a number for rating, got 'x'")],
)
def test_entries_that_name_nothing_are_refused(policy: SavedPolicy, history: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        policy.recommend([history])


def test_a_folder_of_the_user_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "text.md").write_text("years of work")
    with pytest.raises(InputError, match="already exists, and jaxrec did not write it"):
        save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["text.md"]


def test_arrays_of_another_network_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "policy")
    path = without_digests(tmp_path / "policy") / "description.json"
    path.write_text(path.read_text().replace('"width": 4', '"width": 8'))
    with pytest.raises(InputError, match="arrays and description are not of one policy"):
        load_policy(tmp_path / "policy")


def test_a_policy_saved_before_actions_had_a_type_opens(policy: SavedPolicy, tmp_path: Path) -> None:
    save(tmp_path / "policy")
    path = without_digests(tmp_path / "policy") / "description.json"
    description = json.loads(path.read_text())
    assert description["spec"].pop("action") == {"name": "slate", "size": 2}
    description["spec"]["slate_size"] = 2
    path.write_text(json.dumps(description))
    assert load_policy(tmp_path / "policy").spec == policy.spec == SPEC


def test_parameters_that_are_not_finite_are_an_error_and_no_empty_slate(tmp_path: Path) -> None:
    table = jnp.ones((6, 5))
    params = make_policy(SPEC, CONFIG).init(jax.random.key(0), World(item_table=table))
    params["query"]["kernel"] = params["query"]["kernel"].at[0, 0].set(jnp.nan)
    what = {"spec": SPEC, "config": CONFIG, "feedback": FEEDBACK, "items": (IDS, IDS), "step": 1}
    save_policy(tmp_path / "policy", params=params, world=World(item_table=table), **what)
    with pytest.raises(InputError, match=r"params.query.kernel holds numbers that are not finite"):
        load_policy(tmp_path / "policy")
    diverged = SavedPolicy(CONFIG, params, World(item_table=table), SPEC, FEEDBACK, IDS, IDS, 1)
    with pytest.raises(InputError, match="scores are not finite numbers"):
        diverged.recommend(["a"], k=2)


def test_a_run_without_a_policy_says_how_to_get_one(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").touch()
    with pytest.raises(InputError, match="no policy yet; `jaxrec train --resume`"):
        load_policy(tmp_path)


def test_the_tastes_of_a_policy_with_belief_are_saved_and_checked(tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, reward_weights=(1.0,))
    network = dataclasses.replace(CONFIG, belief=True)
    effects = Effects(jnp.array([-0.5]), jnp.zeros(1), jnp.array([0.9, 0.0]))
    tastes = random_tastes(6, 2, kinds=1).replace(effects=effects)
    world = World(item_table=jax.random.normal(jax.random.key(0), (6, 5)), tastes=tastes)

    params = make_policy(spec, network).init(jax.random.key(7), world)

    def write(folder: Path, world: World) -> None:
        items = IDS, [f"Title of {name}" for name in IDS]
        save_policy(
            folder, params=params, world=world, spec=spec, config=network, feedback=FEEDBACK, items=items, step=1
        )

    write(tmp_path / "policy", world)
    got = load_policy(tmp_path / "policy")
    chex.assert_trees_all_equal(got.world.tastes, tastes)
    expected = expected_after(tastes, jnp.array([1, 4, 2]), jnp.ones((3, 1)), None)[:, 0]
    slate = got.recommend(["b", "e", "c:1"], 3)
    others = [0, 3, 5]
    assert ids(slate) == [IDS[n] for n in sorted(others, key=lambda n: -float(expected[n]))]
    write(tmp_path / "short", world.replace(tastes=tastes.replace(item_vectors=tastes.item_vectors[:5])))
    with pytest.raises(InputError, match=r"tastes.item_vectors has shape \(5, 2\), expected \(6, 2\)"):
        load_policy(tmp_path / "short")
