"""What the compiled update does, read from the compiled program itself."""

import re

import jax
import pytest

from jaxrec.config.schema import TrainConfig
from jaxrec.envs import auto_reset
from jaxrec.learn import list_learners, make_learner
from jaxrec.learn.program import compile_learner
from tests.hlo import all_reduces, computations, could_be_one
from tests.learners import EXPLORING, QUICK, env_for, learner_of, small_config
from tests.quick import slow_unless

OPTIONS = {"num_users": 64, "replay_size": 64 * 4000, "learning_starts": 512, "n_step": 3}


CASES = [(name, devices) for name in [*list_learners(), *EXPLORING] for devices in (1, 8)]
ALSO_QUICK = ("ppo", 1), ("ddpg", 8)  # a program without all-reduces; gradients of actors and critics


@pytest.fixture(scope="module", params=slow_unless({*((name, 8) for name in QUICK), *ALSO_QUICK}, CASES), ids=str)
def program(request: pytest.FixtureRequest):
    name, devices = request.param
    env, config = env_for(name), small_config(name, **OPTIONS)
    learner = make_learner(learner_of(name), auto_reset(env), config)
    return devices, compile_learner(learner, env.world, TrainConfig(devices=devices), config.shards)


def compiled_text(program) -> str:
    state = program.init(jax.random.key(0), program.world)
    return program.update_many.lower(state, program.world).compile().as_text()


def test_nothing_crosses_to_the_host_inside(program) -> None:
    text = compiled_text(program[1]).lower()
    for word in ("callback", "infeed", "outfeed", "send(", "recv(", "host_compute"):
        assert word not in text, word


def test_gradients_meet_in_all_reduces_only(program) -> None:
    devices, compiled = program
    text = compiled_text(compiled)
    assert bool(re.search(r"\ball-reduce", text)) == (devices > 1)
    assert not re.search(r"\ball-gather|\ball-to-all|\bcollective-permute", text)
    # Gradients, sums of losses and statistics share an all-reduce wherever one does not need another one: a step of
    # PPO has three, for the mean of the advantages, then their deviation, then the gradients.
    bodies = [body for body in computations(text).values() if all_reduces(body)]
    assert bool(bodies) == (devices > 1)
    assert not [pair for body in bodies for pair in could_be_one(body)]


APART = """\
%add (a: f32[], b: f32[]) -> f32[] {
  ROOT %both = f32[] add(%a, %b)
}

ENTRY %main (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  %of_x = f32[] all-reduce(%x), to_apply=%add
  %twice = f32[] multiply(%of_x, %of_x)
  %after = f32[] all-reduce(%twice), to_apply=%add, metadata={op_name="%of_y"}
  %of_y = f32[] all-reduce(%y), to_apply=%add
  ROOT %sum = f32[] add(%after, %of_y)
}
"""


def test_an_all_reduce_too_many_is_found() -> None:
    bodies = computations(APART)
    assert [all_reduces(body) for body in bodies.values()] == [[], ["of_x", "after", "of_y"]]
    assert could_be_one(bodies["main"]) == [("after", "of_y")]


def test_every_buffer_of_the_state_is_donated_and_reused(program) -> None:
    _, compiled = program
    state = compiled.init(jax.random.key(0), compiled.world)
    executable = compiled.update_many.lower(state, compiled.world).compile()
    state_bytes = sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(jax.tree.map(_raw, state)))
    memory = executable.memory_analysis()
    assert memory.alias_size_in_bytes >= state_bytes
    if hasattr(state, "replay"):  # the ring is written in place: no copy of it, however large
        ring_bytes = sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(state.replay))
        assert memory.temp_size_in_bytes < ring_bytes / 4
    after, _ = compiled.update_many(state, compiled.world)
    assert all(x.is_deleted() for x in jax.tree.leaves(state))
    assert not any(x.is_deleted() for x in jax.tree.leaves(after))


def test_world_parameters_are_neither_donated_nor_constants_of_the_program(program) -> None:
    _, compiled = program
    state = compiled.init(jax.random.key(0), compiled.world)
    compiled.update_many(state, compiled.world)
    assert not compiled.world.item_table.is_deleted()


def test_the_update_compiles_exactly_once(program, compilations: list[str]) -> None:
    _, compiled = program
    jax.clear_caches()
    state = compiled.init(jax.random.key(0), compiled.world)
    other = compiled.init(jax.random.key(1), compiled.world)
    compilations.clear()
    for _ in range(3):
        state, _ = compiled.update_many(state, compiled.world)
    compiled.update_many(other, compiled.world)  # another seed is not another program
    assert len(compilations) == 1


@pytest.fixture
def compilations():
    """Names of the programs that JAX lowered while the test ran."""
    seen: list[str] = []

    def listen(event: str, duration: float, **details: object) -> None:
        if event == "/jax/core/compile/jaxpr_to_mlir_module_duration":
            seen.append(str(details.get("fun_name")))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


def _raw(x: jax.Array) -> jax.Array:
    return jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x
