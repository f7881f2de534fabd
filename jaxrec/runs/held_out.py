"""Rank and predict the held-out rows of the log, with policies and with simple recommenders."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrec.config.schema import Config
from jaxrec.envs.rewards import feedback_weights
from jaxrec.evaluation.answered import Asked, answers_section, halves, order_answers
from jaxrec.evaluation.feedback_errors import constant_mean, feedback_errors
from jaxrec.evaluation.held_out import HeldOut, held_out_tables, held_out_tables_of_users
from jaxrec.evaluation.measures import mean_and_half_width
from jaxrec.evaluation.report import POLICY, POSTERIOR, TRUE_TASTES
from jaxrec.evaluation.scorers import Scorer, compiled_scores, policy_scorer
from jaxrec.evaluation.simulate import Recommender
from jaxrec.runs.baselines import fit_baselines, held_out_rows
from jaxrec.runs.read_log import Corpus
from jaxrec.runs.users.truth import true_chances
from jaxrec.serve.new_catalogue import Deployed
from jaxrec.sharding.compile import compiled
from jaxrec.supervised.simple import SIMPLE_RECOMMENDERS
from jaxrec.types import Array, Observation, World


def held_out_account(
    config: Config,
    policies: dict[str, Deployed],
    world: World,
    corpus: Corpus,
    vectors: np.ndarray | None,
    history_length: int,
) -> dict[str, Any]:
    """The entries of evaluation.json about the held-out log.

    `held_out` and `held_out_liked` are ranking metrics by recommender, of all test rows and of those with the feedback
    `target`. If the log is generated, a ranking by what its users truly like is among them. `held_out_feedback` has,
    for each kind of feedback, the errors of recommenders that predict it and of the constant mean.
    """
    tables = rank_policies(config, policies, world, corpus, history_length)
    split, cutoffs = corpus.split, config.evaluate.cutoffs
    scorers = fit_baselines(config, held_out_rows(corpus), vectors, world)
    scores = compiled_scores(scorers)
    tables |= {name: held_out_tables(score, split, cutoffs) for name, score in scores.items()}
    if (chances := true_chances(config, corpus)) is not None:
        tables[TRUE_TASTES] = held_out_tables_of_users(chances, split, cutoffs)
    account: dict[str, Any] = {"held_out": {name: table.all for name, table in tables.items()}}
    account |= {"target": corpus.split.test.feedback_names[0]}
    liked = {name: table.liked for name, table in tables.items() if table.liked is not None}
    account |= {"held_out_minus": paired_leads(tables)}
    return account | ({"held_out_liked": liked} if liked else {}) | _predicted(scorers, corpus)


def answers_account(
    config: Config, rivals: dict[str, Recommender], world: World, corpus: Corpus, history_length: int
) -> dict[str, Any]:
    """The entry `answers` of evaluation.json: the order of what people really answered whom nothing was trained on.

    These are the people whom the second simulator is fitted to. Left out where the log has no two answers to compare,
    and for policies with a start, which may have read the rows of everybody.
    """
    if config.learner.start_from or not len(corpus.judge):
        return {}
    split, recommendable = halves(corpus.judge), np.zeros(corpus.judge.num_items, bool)
    recommendable[slice(None) if world.recommendable is None else np.asarray(world.recommendable)] = True
    weights = np.asarray(feedback_weights(config.env.reward, split.test.feedback_names))

    def scorer(rival: Recommender) -> Scorer:
        def score(arrays: tuple[Any, World], obs: Observation) -> Array:
            assert rival.score is not None
            return rival.score(arrays[0], obs, arrays[1])

        return Scorer(score, (rival.arrays, world))

    scores = compiled_scores({name: scorer(rival) for name, rival in rivals.items() if rival.score is not None})
    rewards = split.test.feedback @ weights
    asked = Asked(split, history_length, recommendable, rewards, config.env.slate_size, scores.get(POSTERIOR))
    return answers_section(order_answers(scores, asked), POLICY, asked.picks)


def paired_leads(tables: dict[str, HeldOut]) -> dict[str, tuple[float, float]]:
    """The policy's lead over each other recommender in NDCG@10 of liked rows, paired by user, with half its interval.

    Without liked rows, of all rows. Rewards the choice of what people like, not of what they are shown anyway.
    """
    own = tables[POLICY]
    use_liked = own.liked is not None
    leads = {}
    for name, other in tables.items():
        mine, theirs = (one.liked_ndcg if use_liked else one.all_ndcg for one in (own, other))
        if name != POLICY:
            leads[name] = mean_and_half_width(mine - theirs)
    return leads


def rank_policies(
    config: Config, policies: dict[str, Deployed], world: World, corpus: Corpus, history_length: int
) -> dict[str, HeldOut]:
    """Held-out ranking metrics of each policy."""
    scorers = {name: policy_scorer(one.policy, one.params, one.items, world) for name, one in policies.items()}
    scores, cutoffs = compiled_scores(scorers), config.evaluate.cutoffs
    return {name: held_out_tables(score, corpus.split, cutoffs, history_length) for name, score in scores.items()}


def _predicted(scorers: dict[str, Scorer], corpus: Corpus) -> dict[str, Any]:
    """Errors of the scorers that predict feedback; nothing if there are none."""
    errors = {}
    for name, scorer in scorers.items():
        simple = SIMPLE_RECOMMENDERS.get(name)
        if simple is not None and simple.predict is not None:
            program = compiled(simple.predict)

            def predict(obs: Observation, items: np.ndarray, arrays: Any = scorer.arrays, program: Any = program):
                return program(arrays, obs.history_items, obs.history_feedback, jnp.asarray(items))

            errors[name] = feedback_errors(predict, corpus.split)
    if not errors:
        return {}
    errors["constant_mean"] = feedback_errors(constant_mean(corpus.split), corpus.split)
    kinds = corpus.split.test.feedback_names
    return {"held_out_feedback": {kind: {name: row[kind] for name, row in errors.items()} for kind in kinds}}
