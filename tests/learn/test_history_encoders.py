"""Every learner trains the encoders that read a history as a sequence or a graph."""

import jax
import numpy as np
import pytest

from jaxrec.config.learners import LEARNER_CONFIGS
from jaxrec.config.policy import PolicyConfig
from jaxrec.envs import auto_reset
from jaxrec.learn import make_learner
from tests.learners import acted_on, learner_cases, small
from tests.probes import still_memory
from tests.tiny_tastes import two_people


@pytest.mark.parametrize("encoder", ["lstm", "graph"])
@pytest.mark.parametrize("name", learner_cases(sorted(LEARNER_CONFIGS)))
def test_updates_move_every_part_of_the_encoder(name: str, encoder: str) -> None:
    people = two_people(requests=4, repeats=True)
    assert people.item_rewards is not None
    env = auto_reset(acted_on(name, people._replace(memory=still_memory(people.item_rewards))))
    policy = PolicyConfig(encoder=encoder, width=8, hidden=(16,), heads=2)
    learner = make_learner(name, env, small(name, policy=policy, horizon=4, choice="liked"))
    before = after = learner.init(jax.random.key(0), env.world)
    update = jax.jit(learner.update)
    for _ in range(3):
        after, _ = update(after, env.world)
    moved = jax.tree.map(lambda a, b: bool((np.asarray(a) != np.asarray(b)).any()), before.params, after.params)
    assert all(jax.tree.leaves(moved["history"])), moved["history"]
