"""`jaxrec evaluate`: the policy of a run against simple recommenders, in two simulators and on the held-out log."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp

from jaxrec.checks import InputError
from jaxrec.cli import experiment, matrix, runtime
from jaxrec.cli.simulators import context_before, sides_before
from jaxrec.config.full_matrix import FullMatrixConfig
from jaxrec.config.load import load_config
from jaxrec.config.logged import LoggedConfig
from jaxrec.config.schema import Config
from jaxrec.envs.logged_world import load_simulator
from jaxrec.evaluate import recommenders, report
from jaxrec.evaluate.baselines import baselines
from jaxrec.evaluate.held_out import held_out_metrics
from jaxrec.evaluate.pictures import behaviour_picture
from jaxrec.evaluate.simulate import ItemFacts, Recommender, Simulated, make_simulation
from jaxrec.nets.policy import catalogue_scores
from jaxrec.serve import SavedPolicy, load_policy
from jaxrec.serve.new_catalogue import Deployed, deployed_in
from jaxrec.sharding.compile import compiled
from jaxrec.storage.files import write_json, write_text
from jaxrec.storage.run import RunFolder
from jaxrec.supervised.simple import KNN_ITEMS, SIMPLE_RECOMMENDERS, item_knn
from jaxrec.types import Array, Env, Observation, World


def evaluate(run_path: str, overrides: list[str]) -> int:
    """Print the tables and write `evaluation.json` into the run."""
    run = RunFolder.open(run_path)
    config = _load(run, overrides)
    saved = load_policy(run.path)
    runtime.prepare()
    print(f"judging {run.policy} (update {saved.step}) on {runtime.describe_devices()}")
    key = experiment.stream(config, "judge")
    account: dict[str, Any] = {"step": saved.step, "users": config.evaluate.users, "seed": config.seed}
    if isinstance(config.env, LoggedConfig):
        account |= _judge_logged(config, run, saved, key)
    else:
        world = matrix.kept_matrix(config, run) if isinstance(config.env, FullMatrixConfig) else None
        env = experiment.make_environment(config, world)
        policy = recommenders.learned(saved.policy, env.spec.slate_size, (saved.params, saved.items))
        rivals = {report.POLICY: policy, **baselines(env, config.env)}
        results = _simulate_all(config, env, [env.world], rivals, key, None)[0]
        section = report.simulated_section(results)
        report.print_simulated(f"{env.spec.name}, {config.evaluate.users} users", section)
        account["simulators"] = {experiment.TRAIN: section}
        write_text(run.evaluation_picture, behaviour_picture({env.spec.name: results}))
    write_json(run.evaluation, account)
    print(f"written to {run.evaluation}, what the users did to {run.evaluation_picture}")
    return 0


def _load(run: RunFolder, overrides: list[str]) -> Config:
    """The run's config; what training saw cannot be changed afterwards, or judging would leak or lie."""
    trained, config = load_config(Config, run.config), load_config(Config, run.config, overrides)
    free = {name: getattr(config.evaluate, name) for name in ("users", "max_steps", "cutoffs")}
    allowed = dataclasses.replace(trained, evaluate=dataclasses.replace(trained.evaluate, **free))
    if allowed.data is not None and config.data is not None:
        allowed = dataclasses.replace(allowed, data=dataclasses.replace(allowed.data, path=config.data.path))
    if config != allowed:
        raise InputError(
            f"{run.config}: evaluate takes data.path, evaluate.users, evaluate.max_steps and evaluate.cutoffs; "
            "anything else belongs to the training of another run."
        )
    return config


def _judge_logged(config: Config, run: RunFolder, saved: SavedPolicy, key: Array) -> dict[str, Any]:
    assert isinstance(config.env, LoggedConfig)
    corpus = experiment.read_corpus(config, context_before(run.simulators), sides_before(run.simulators))
    experiment.check_same_catalogue(saved, corpus)
    config = dataclasses.replace(config, env=dataclasses.replace(config.env, pessimism=0.0))  # caution is for training
    worlds = [load_simulator(run.simulators / name) for name in (experiment.TRAIN, experiment.JUDGE)]
    env = experiment.make_environment(config, worlds[0])
    facts = experiment.item_facts(env, corpus)
    policies = judged_policies(run, saved, env.world)
    rivals = _logged_recommenders(config, env, policies, corpus)
    trained, judged = _simulate_all(config, env, worlds, rivals, key, facts)

    account: dict[str, Any] = {"simulators": {}}
    for name, results in ((experiment.TRAIN, trained), (experiment.JUDGE, judged)):
        section = account["simulators"][name] = report.simulated_section(results)
        what = "the simulator it was trained in" if name == experiment.TRAIN else "other users, never seen in training"
        report.print_simulated(f"{name}: {what}, {config.evaluate.users} users", section)
    write_text(run.evaluation_picture, behaviour_picture({experiment.TRAIN: trained, experiment.JUDGE: judged}))
    account["lift_kept"] = report.lift_kept(trained, judged)
    _print_shares(account)

    account["held_out"] = held_out(config, policies, env.world, corpus, saved.spec.history_length)
    account["held_out"] |= _held_out_simple(config, corpus)
    split = experiment.log_config(config).split
    title = f"held-out log ({split}), whole catalogue; the simple recommenders know all users' training rows"
    report.print_held_out(title, account["held_out"], config.evaluate.cutoffs)
    return account


def judged_policies(run: RunFolder, saved: SavedPolicy, world: World) -> dict[str, Deployed]:
    """The policy of the run and, where it continued another, the one it started from."""
    policies = {report.POLICY: Deployed(saved.policy, saved.params, saved.items)}
    if run.policy_before.is_dir():
        policies[report.BEFORE] = deployed_in(load_policy(run.policy_before), saved.ids, world)
    return policies


def _logged_recommenders(
    config: Config, env: Env, policies: dict[str, Deployed], corpus: experiment.Corpus
) -> dict[str, Recommender]:
    assert isinstance(config.env, LoggedConfig)
    size = env.spec.slate_size
    counts = jnp.asarray(corpus.counts, jnp.float32)
    learned = {name: recommenders.learned(p.policy, size, (p.params, p.items)) for name, p in policies.items()}
    rivals = learned | {
        "random": recommenders.uniform(size),
        report.POPULAR: recommenders.ranking(counts, size),
        report.FIXED: recommenders.best_fixed(config.env, env, experiment.stream(config, "best_fixed")),
        report.GREEDY: recommenders.greedy(config.env, env.world),
    }
    if env.spec.num_items > KNN_ITEMS:
        print(f"  item_knn left out: its table of {env.spec.num_items:,} x {env.spec.num_items:,} items is too large")
    else:
        rivals["item_knn"] = recommenders.item_knn(jnp.asarray(item_knn(corpus.train)), counts, size)
    return rivals


def _simulate_all(
    config: Config,
    env: Env,
    worlds: list[World],
    rivals: dict[str, Recommender],
    key: Array,
    facts: ItemFacts | None,
) -> list[dict[str, Simulated]]:
    """Every recommender in every world, same users and keys."""
    facts = experiment.item_facts(env, None) if facts is None else facts
    results: list[dict[str, Simulated]] = [{} for _ in worlds]
    for name, recommender in rivals.items():
        run = make_simulation(env, recommender, config.evaluate.max_steps)
        for world, result in zip(worlds, results, strict=True):
            result[name] = run(world, facts, key, config.evaluate.users)
    return results


def held_out(
    config: Config, policies: dict[str, Deployed], world: World, corpus: experiment.Corpus, history_length: int
) -> dict[str, dict[str, float]]:
    """How policies rank what users of the log chose next."""

    def judge(deployed: Deployed) -> dict[str, float]:
        program = compiled(partial(catalogue_scores, deployed.policy))

        def scores(obs: Observation) -> Array:
            return program(deployed.params, deployed.items, obs, world)

        return held_out_metrics(scores, corpus.split, config.evaluate.cutoffs, history_length)

    return {name: judge(deployed) for name, deployed in policies.items()}


def _held_out_simple(config: Config, corpus: experiment.Corpus) -> dict[str, dict[str, float]]:
    """The same of simple recommenders, which know the whole training part of the log."""
    account = {}
    for name, simple in SIMPLE_RECOMMENDERS.items():
        if name.startswith("item_knn") and corpus.split.train.num_items > KNN_ITEMS:
            continue
        fitted, score = jnp.asarray(simple.fit(corpus.split.train)), compiled(simple.score)

        def scores(obs: Observation, fitted: Array = fitted, score: Callable[..., Array] = score) -> Array:
            return score(fitted, obs.history_items, obs.history_feedback)

        account[name] = held_out_metrics(scores, corpus.split, config.evaluate.cutoffs)
    return account


def _print_shares(account: dict[str, Any]) -> None:
    section = account["simulators"][experiment.TRAIN]
    closed, kept = section.get("gap_closed"), account["lift_kept"]
    if closed is not None:
        print(f"gap from the best fixed ranking to greedy on the response: {section['gap']:.3f}, closed {closed:.1%}")
    if kept is not None:
        print(f"lift over most popular kept in the judging simulator: {kept:.1%}")
