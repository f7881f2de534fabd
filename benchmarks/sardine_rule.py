"""Measure a rule for SARDINE's users that was made by hand and sees what was shown and clicked alone.

It likes items whose rows are near the mean row of what was clicked, and far from that of what was not (Rocchio). Each
item of a topic costs the later ones of this topic in the same slate, and remembered clicks cost the topic.

    python benchmarks/sardine_rule.py --preset SlateTopK-Bored
"""

import argparse
import json
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec import make_env
from jaxrec.config.sardine import SARDINE_PRESETS
from jaxrec.evaluation.simulate import ItemFacts, Recommender, make_simulation
from jaxrec.nets.relevance import history_means
from jaxrec.nets.repetition import main_topics
from jaxrec.ops.spread_slates import Spread, top_spread
from jaxrec.types import Array, Observation, World


def make_rule(slate_size: int, other: float, same_slate: float, lately: float) -> Recommender:
    """Build the rule from the weights of what was not clicked, of a topic's earlier items, and of remembered clicks."""

    def choose(arrays: Any, key: Array, env_state: Any, obs: Observation, world: World) -> Array:
        clicked, not_clicked, *_ = jnp.moveaxis(history_means(world.item_table, obs), -2, 0)
        scores = (clicked - other * not_clicked) @ world.item_table.T
        nothing = (obs.history_feedback.sum((-2, -1)) == 0)[:, None]  # then any item is as good
        scores = scores + 0.3 * jnp.where(nothing, jax.random.uniform(key, scores.shape), 0.0)
        places = jnp.arange(slate_size, dtype=scores.dtype)
        cost = same_slate * places[None, None] + lately * obs.user[..., None]
        topics = jnp.broadcast_to(main_topics(world.item_table), scores.shape)
        return top_spread(scores, Spread(topics, -cost), slate_size)

    return Recommender(choose, None)


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=list(SARDINE_PRESETS), default="SlateTopK-Bored")
    parser.add_argument("--users", type=int, default=512)
    parser.add_argument("--slates", type=int, default=30, help="latest slates that the rule sees")
    parser.add_argument("--other", type=float, default=0.3, help="weight of what was not clicked")
    parser.add_argument("--same-slate", type=float, default=1.0, help="cost of each earlier item of the same topic")
    parser.add_argument("--lately", type=float, default=0.0, help="cost of a topic that is about to bore")
    options = parser.parse_args()
    env = make_env("sardine", preset=options.preset, history_slates=options.slates)
    rule = make_rule(env.spec.slate_size, options.other, options.same_slate, options.lately)
    facts = ItemFacts(rows=env.world.item_table, surprise=jnp.zeros(env.spec.num_items))
    found = make_simulation(env, rule, max_steps=200)(env.world, facts, jax.random.key(0), options.users)
    error = 1.96 * found.returns.std(ddof=1) / options.users**0.5
    print(json.dumps({"benchmark": "sardine_rule"} | vars(options) | {"return": found.mean, "error": float(error)}))


if __name__ == "__main__":
    main()
