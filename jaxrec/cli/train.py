"""`jaxrec train`: a recipe becomes a run folder with a policy in it."""

import dataclasses
import time
from pathlib import Path

import jax

from jaxrec.checks import InputError
from jaxrec.cli import continued, experiment, matrix, runtime
from jaxrec.cli.simulators import context_before, prepare_simulators, sides_before
from jaxrec.config.data import FeedbackKind
from jaxrec.config.full_matrix import FullMatrixConfig
from jaxrec.config.load import load_config, to_yaml
from jaxrec.config.logged import LoggedConfig
from jaxrec.config.schema import Config, EvaluateConfig
from jaxrec.data import Catalogue
from jaxrec.data.pseudonyms import check_key_outside
from jaxrec.envs import auto_reset, randomize
from jaxrec.evaluate.recommenders import learned
from jaxrec.evaluate.simulate import make_simulation
from jaxrec.learn import make_learner
from jaxrec.nets.policy import make_policy
from jaxrec.runs.host_loop import Outcome
from jaxrec.runs.train_learner import train as run_loop
from jaxrec.serve import save_policy
from jaxrec.storage.events import check_tensorboard
from jaxrec.storage.files import write_text
from jaxrec.storage.run import RunFolder
from jaxrec.types import Env, Params


def train(config_path: str, overrides: list[str], run_path: str | None, resume: bool) -> int:
    """Train to the end of the recipe or to a signal; 0 done, 130 interrupted."""
    config = load_config(Config, config_path, overrides)
    experiment.check_recipe(config)
    check_tensorboard(config.train.tensorboard)
    run_path = run_path or f"runs/{Path(config_path).stem}"
    if config.data is not None:
        check_key_outside(config.data, Path(run_path))
    run = open_run(config, run_path, resume)
    started = time.perf_counter()
    runtime.prepare()
    print(f"run {run.path} on {runtime.describe_devices()}")
    before = continued.policy_before(config, run)
    corpus, catalogue, world, initial = None, None, None, None
    if isinstance(config.env, LoggedConfig):
        named = [Path(config.env.path)] if config.env.path else []
        old = [RunFolder(config.train.continue_from).simulators] if config.train.continue_from else []
        context, sides = context_before(run.simulators, *named, *old), sides_before(run.simulators, *old)
        corpus = experiment.read_corpus(config, context, sides)
        if before is not None and not run.simulators.exists():
            continued.check_users(config, sides, corpus.dataset.users)
        catalogue, world = corpus.dataset.catalogue, prepare_simulators(config, corpus, run.simulators)
    elif isinstance(config.env, FullMatrixConfig):
        if config.data is not None:
            corpus = experiment.read_corpus(config)
            catalogue = corpus.dataset.catalogue
        world = matrix.prepare_matrix(config, corpus, run)
    env = experiment.make_environment(config, world)
    if before is not None and catalogue is not None:
        initial = continued.starting_params(config, before, env, catalogue.ids)
    print(f"  prepared in {time.perf_counter() - started:.0f} s; training {config.train.updates} updates")
    outcome = reinforce(config, env, catalogue, run, initial)
    write_text(run.config, to_yaml(config))  # a resumed run may have been told to go on for longer
    if outcome.interrupted:
        print(f"stopped at update {outcome.step}; continue with: jaxrec train {run.config} --run {run.path} --resume")
        return 130
    if before is not None and corpus is not None:
        continued.print_old_against_new(config, run, env, corpus)
    print(
        f"done in {time.perf_counter() - started:.0f} s: best evaluated return {outcome.best_score:.3f}\n"
        f"  policy       {run.policy}\n"
        f"  metrics      {run.metrics}\n"
        f"  checkpoints  {run.checkpoints}\n"
        f"next: jaxrec evaluate {run.path}"
    )
    return 0


def open_run(config: Config, path: str, resume: bool) -> RunFolder:
    """Create the run, or check that the one to resume was made by the same recipe."""
    text = to_yaml(config)
    if not resume:
        return RunFolder.create(path, text)
    run = RunFolder.open(path)
    before = load_config(Config, run.config)
    if _experiment_of(before) != _experiment_of(config):
        was, now = (to_yaml(_experiment_of(c)).splitlines() for c in (before, config))
        changed = next((f"{a.strip()!r} became {b.strip()!r}" for a, b in zip(was, now, strict=False) if a != b), "")
        raise InputError(
            f"{run.config}: the run was made by another recipe ({changed}); "
            f"resume with `jaxrec train {run.config} --run {run.path} --resume`, or begin another run with --run."
        )
    return run


def _experiment_of(config: Config) -> Config:
    """The config without what may change between stop and resume: how long, on how many devices, how judged."""
    anew = {"updates": config.train.updates_per_call, "checkpoint_every": config.train.updates_per_call}
    train = dataclasses.replace(config.train, **anew, devices=0, keep_latest=1, tensorboard=True)
    return dataclasses.replace(config, train=train, evaluate=EvaluateConfig(judge_share=config.evaluate.judge_share))


def reinforce(
    config: Config, env: Env, catalogue: Catalogue | None, run: RunFolder, initial: Params | None = None
) -> Outcome:
    """Train the learner over `env`, from `initial`; the policy folder is rewritten with every new best."""
    key_evaluate = experiment.stream(config, "select")
    trained_in = randomize(env, config.train.randomize) if config.train.randomize else env
    learner = make_learner(config.learner.name, auto_reset(trained_in), config.learner)
    policy = make_policy(env.spec, config.learner.policy)
    facts = experiment.item_facts(env, None)
    simulate = make_simulation(env, learned(policy, env.spec.slate_size), config.evaluate.max_steps)
    numbers = tuple(str(n) for n in range(env.spec.num_items))
    items = (numbers, numbers) if catalogue is None else (catalogue.ids, catalogue.titles)

    def evaluate(params: Params, step: int) -> float:
        arrays = (params, policy.items(params, env.world))
        key = jax.random.fold_in(key_evaluate, step)
        return simulate(env.world, facts, key, config.train.evaluate_users, arrays).mean

    def save(params: Params, step: int) -> None:
        save_policy(
            run.policy,
            params=params,
            world=env.world,
            spec=env.spec,
            config=config.learner.policy,
            feedback=_feedback_kinds(config, env),
            items=items,
            step=step,
        )

    return run_loop(
        learner,
        env.world,
        run,
        config.train,
        key=experiment.stream(config, "learn"),
        initial=initial,
        num_shards=config.learner.shards,
        steps_per_update=config.learner.num_users * config.learner.horizon,
        evaluate=evaluate,
        save_policy=save,
    )


def _feedback_kinds(config: Config, env: Env) -> dict[str, FeedbackKind]:
    """How a saved policy reads the values of a history; without a log an item that is named counts 1."""
    if config.data is not None:
        return config.data.feedback
    return {name: FeedbackKind() for name in env.spec.feedback} if env.spec.history_length else {}
