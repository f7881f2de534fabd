"""The people who wrote the log, where their answers are known: from a file, or because the log is generated."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.data import DataConfig, GeneratedVisits
from jaxrec.config.logged import LoggedConfig
from jaxrec.config.schema import Config
from jaxrec.data import Log
from jaxrec.data.generated import answers, hidden_tastes
from jaxrec.data.true_answers import TrueAnswers, read_true_answers
from jaxrec.envs.known_answers import known_answers
from jaxrec.envs.leave import leave_weights
from jaxrec.envs.logged import observed_rows
from jaxrec.envs.logged_world import make_world
from jaxrec.envs.rewards import feedback_weights
from jaxrec.nets.effects import Effects
from jaxrec.nets.tastes import Belief, Link, Tastes
from jaxrec.progress import note
from jaxrec.runs.read_log import Corpus
from jaxrec.runs.recipe import log_config
from jaxrec.supervised.comeback import ComebackModel
from jaxrec.supervised.leaving import LeaveModel
from jaxrec.types import World


def true_world(config: Config, corpus: Corpus, world: World) -> tuple[str, World] | None:
    """What to call the people who wrote the log, and their world, or None if their answers are unknown.

    A file (`evaluate.truth`) has precedence over the tastes from which a log was generated. `world` has the fitted
    users that policies were trained with.
    """
    if config.evaluate.truth:
        truth = read_true_answers(config.evaluate.truth, log_config(config))
        return truth.name, world_of_file(truth, config.env, corpus, world)
    true = world_of_generator(config, corpus, world)
    return None if true is None else ("the people who wrote the log", true)


def world_of_file(truth: TrueAnswers, section: LoggedConfig, corpus: Corpus, world: World) -> World:
    """The fitted users' `world` with the people of a file in their place.

    Users of the file without training rows are left out. It does not matter in which half of the log the others are. A
    visit starts at a random position of its user's training rows. Items that may be shown are those of the file that
    policies may recommend. People with fewer known answers than a visit can need are left out. Raises InputError if
    nobody remains.
    """
    log = corpus.split.train
    users, people = _common(corpus.dataset.users, truth.users, np.unique(log.user))
    items, columns = _common(corpus.dataset.catalogue.ids, truth.items, world.offered())
    for what, found, given in (("users", users, truth.users), ("items", items, truth.items)):
        if not len(found):
            raise InputError(
                f"evaluate.truth: {truth.name}: none of its {len(given):,} {what} is in the training rows of the log"
                f"{' and recommendable' if what == 'items' else ''}; give ids as in the log."
            )
    values = truth.answers[np.ix_(people, columns)]
    known = np.isnan(values).sum(2) == 0
    enough = known.sum(1) >= _needed(log, users, items, known, section, world)
    if not enough.any():
        raise InputError(
            f"evaluate.truth: {truth.name}: none of its {len(users):,} users of the log has enough known answers for a "
            f"visit (at most {known.sum(1).max()}); give more, or train with smaller env.requests or env.slate_size."
        )
    users, values, known = users[enough], values[enough], known[enough]
    some = known.any(0)
    left_out = "" if enough.all() else f"; {(~enough).sum():,} users with too few known answers are left out"
    note(
        f"  truth: {truth.name} has answers of {len(users):,} users and {some.sum():,} items of this log, "
        f"{1 - known[:, some].mean():.1%} of them unknown{left_out}"
    )
    answered = known_answers(values[:, some], items[some], log.num_items, log.feedback_names)
    rows = log.take(np.isin(log.user, users))
    shown = np.isin(np.arange(log.num_items), items[some])
    # When they leave is not in the file, so they leave as the fitted users do.
    leave, table = world.users.leave, np.asarray(world.item_table)
    return make_world(answered, rows, table, world.users.text_size, shown, leave=leave)


def _common(ids: tuple[str, ...], given: tuple[str, ...], usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of `ids` that are `usable` (increasing) and given too: these numbers, and their places in `given`."""
    place = {name: n for n, name in enumerate(given)}
    both = [(n, place[ids[n]]) for n in usable.tolist() if ids[n] in place]
    numbers, places = np.array(both, int).reshape(-1, 2).T
    return numbers, places


def _needed(
    log: Log, users: np.ndarray, items: np.ndarray, known: np.ndarray, section: LoggedConfig, world: World
) -> np.ndarray:
    """[U] known answers that a visit of each user can need, so that there is an item for every place of its slates."""
    if section.repeats:
        return np.full(len(users), section.slate_size)
    part = log.take(np.isin(log.user, users) & np.isin(log.item, items))
    seen = np.zeros(known.shape, bool)
    seen[np.searchsorted(users, part.user), np.searchsorted(items, part.item)] = True
    barred = (seen & known).sum(1) + (section.requests - 1) * section.slate_size  # in the history, at the last request
    return np.minimum(barred, observed_rows(section, world.num_recommendable)) + section.slate_size


def world_of_generator(config: Config, corpus: Corpus, world: World) -> World | None:
    """The fitted users' `world` with the generator's own users in their place; None if the log is not generated.

    They start at random positions of the training rows of the whole log, whichever side fitted the users.
    """
    data = log_config(config)
    if data.source != "generated":
        return None
    true = hidden_tastes(data.generated, config.seed)
    users, items = _generated_numbers(corpus)
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
    comeback, leave = _visits(config, theta.shape[-1], world.users.leave)
    table, size = np.asarray(world.item_table), world.users.text_size
    return make_world(tastes, corpus.split.train, table, size, recommendable, comeback, leave)


def true_chances(config: Config, corpus: Corpus) -> Callable[[np.ndarray], np.ndarray] | None:
    """Give a function from users [B] to their chance of the first kind of feedback, [B, I], without fatigue.

    None if the log is not generated. No recommender that asks only what people like can rank better. It still misses
    held-out rows, because answers are random and the log shows only some items.
    """
    data = log_config(config)
    if data.source != "generated":
        return None
    true, (users, items) = hidden_tastes(data.generated, config.seed), _generated_numbers(corpus)
    disliked, liked = answers(data, np.array([0.0, 1.0]))[:, 0]  # a kind may be 1 for what is not liked
    return lambda who: np.stack(
        [disliked + (liked - disliked) * true.like_probability(int(users[user]))[items] for user in who]
    )


def _generated_numbers(corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
    """Numbers that the generator gave to the users and the items that are left after cleaning."""
    users = np.array([int(name) for name in corpus.dataset.users])
    return users, np.array([int(name) - 1 for name in corpus.dataset.catalogue.ids])


def _effects(visits: GeneratedVisits | None, kinds: int) -> Effects | None:
    """The boredom of the users, if they tire of anything; item vectors are one for the topic and 0 elsewhere."""
    if visits is None:
        return None
    none = jnp.zeros(kinds)
    return Effects(none - visits.boredom, none, jnp.asarray([visits.keep, 0.0]))


def _visits(config: Config, width: int, fitted: LeaveModel | None) -> tuple[ComebackModel | None, LeaveModel | None]:
    """How the users come back and leave, as far as the recipe asks for it; as `fitted` where the log has no visits.

    The generator goes by the share of likes of a slate, q. The environment's satisfaction is that of the recipe's
    weights, none + more q.
    """
    data, env = log_config(config), config.env
    visits = data.generated.visits
    if visits is None or env.leave is None or env.leave.name != "hazard":
        return None, fitted
    none, more = _by_likes(data, leave_weights(env.leave, env.reward, tuple(data.feedback)))
    leave = LeaveModel(jnp.asarray([visits.leave + visits.content * none / more, -visits.content / more, 0.0]))
    if env.comeback_model is None:
        return None, leave
    none, more = _by_likes(data, feedback_weights(env.reward, tuple(data.feedback)))
    weight = visits.return_content / more
    states = jnp.zeros((1, width * len(data.feedback)))
    numbers = jnp.asarray(weight), jnp.asarray(visits.comeback - weight * none)
    return ComebackModel(states, jnp.zeros(1), *numbers, source="truth"), leave


def _by_likes(data: DataConfig, weights: tuple[float, ...]) -> tuple[float, float]:
    """Weighted feedback of an item that is not liked, and what a like adds to it."""
    disliked, liked = (float(x @ np.asarray(weights)) for x in answers(data, np.array([0.0, 1.0])))
    if liked == disliked:
        raise InputError("env.reward: weights likes and dislikes alike, so nobody is more content after a like.")
    return disliked, liked - disliked
