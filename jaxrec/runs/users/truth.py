"""The people who wrote the log, where they are known: the users of a generated log answer by their true tastes."""

import jax.numpy as jnp
import numpy as np

from jaxrec.config.data import GeneratedVisits
from jaxrec.config.schema import Config
from jaxrec.data.generated import answers, hidden_tastes
from jaxrec.envs.logged_world import make_world
from jaxrec.runs.read_log import Corpus
from jaxrec.runs.recipe import log_config
from jaxrec.supervised.comeback import ComebackModel
from jaxrec.supervised.effects import Effects
from jaxrec.supervised.leaving import LeaveModel
from jaxrec.supervised.tastes import Belief, Link, Tastes
from jaxrec.types import World


def world_of_generator(config: Config, corpus: Corpus, world: World) -> World | None:
    """The fitted users' `world` with the generator's own users in their place; None if the log is not generated.

    They start at random positions of the training rows of the whole log, whichever side fitted the users.
    """
    data = log_config(config)
    if data.source != "generated":
        return None
    true = hidden_tastes(data.generated, config.seed)
    # Cleaning leaves some of them out, and numbers the others anew.
    users = np.array([int(name) for name in corpus.dataset.users])
    items = np.array([int(name) - 1 for name in corpus.dataset.catalogue.ids])
    interest, topic, kinds = true.interest[users], true.topic[items], len(data.feedback)
    theta = np.concatenate([np.zeros((len(interest), 1)), interest], axis=1)  # [U, 1 + topics], no bias
    theta = jnp.asarray(np.repeat(theta[:, None], kinds, axis=1), jnp.float32)
    disliked, liked = answers(data, np.array([0.0, 1.0]))  # [F] each: a kind may be 1 for what is not liked
    ones = np.ones(kinds, np.float32)
    tastes = Tastes(
        item_vectors=jnp.asarray(np.eye(interest.shape[1])[topic], jnp.float32),
        item_logits=jnp.asarray(np.repeat(true.quality[items][:, None], kinds, axis=1), jnp.float32),
        link=Link(*(jnp.asarray(x) for x in (ones, 0 * ones, disliked, liked, ones))),
        population=Belief(theta.mean(0), jnp.tile(jnp.eye(theta.shape[-1])[None], (kinds, 1, 1))),
        means=theta,
        draws=theta[None],
        effects=_effects(data.generated.visits, kinds),
        feedback_names=tuple(data.feedback),
    )
    recommendable = None
    if world.recommendable is not None:
        recommendable = np.isin(np.arange(len(items)), np.asarray(world.recommendable))
    comeback, leave = _visits(config, theta.shape[-1])
    table, size = np.asarray(world.item_table), world.users.text_size
    return make_world(tastes, corpus.split.train, table, size, recommendable, comeback, leave)


def _effects(visits: GeneratedVisits | None, kinds: int) -> Effects | None:
    """The boredom of the users, if they tire of anything; item vectors are one for the topic and 0 elsewhere."""
    if visits is None:
        return None
    none = jnp.zeros(kinds)
    return Effects(none - visits.boredom, none, jnp.asarray([visits.keep, 0.0]))


def _visits(config: Config, width: int) -> tuple[ComebackModel | None, LeaveModel | None]:
    """How the users come back and leave, as far as the recipe asks for it."""
    visits, env = log_config(config).generated.visits, config.env
    if visits is None or env.leave is None or env.leave.name != "hazard":
        return None, None
    leave = LeaveModel(jnp.asarray([visits.leave, -visits.content, 0.0]))
    if env.comeback_model is None:
        return None, leave
    none = jnp.zeros((1, width * len(log_config(config).feedback)))
    numbers = jnp.asarray(visits.return_content), jnp.asarray(visits.comeback)
    return ComebackModel(none, jnp.zeros(1), *numbers, source="truth"), leave
