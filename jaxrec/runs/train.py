"""Train a policy from a recipe, in a run folder."""

import dataclasses
import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from jaxrec.checks import InputError
from jaxrec.config.data import FeedbackKind
from jaxrec.config.load import Overrides, load_config, to_yaml
from jaxrec.config.schema import Config, EvaluateConfig, TrainConfig
from jaxrec.data.item_text import texts_to_keep
from jaxrec.data.pseudonyms import check_key_outside
from jaxrec.envs import auto_reset, randomize
from jaxrec.envs.vector_actions import act_as_in
from jaxrec.evaluation.measures import item_facts
from jaxrec.evaluation.recommenders import of_policy
from jaxrec.foreign import quoted
from jaxrec.learn import make_learner
from jaxrec.learn.program import compile_learner
from jaxrec.processes import in_turn, is_first, together
from jaxrec.progress import muted, note, quiet
from jaxrec.runs import check_action, continue_run, held_out_rule, start_from
from jaxrec.runs.devices import describe_devices
from jaxrec.runs.divergence import value_limits
from jaxrec.runs.finished import Ended, Run
from jaxrec.runs.host_loop import Outcome
from jaxrec.runs.recipe import Recipe, default_folder, log_config, read_by_all, read_recipe
from jaxrec.runs.sources import OWN, Sources, prepare
from jaxrec.runs.streams import stream
from jaxrec.runs.train_learner import restore
from jaxrec.runs.train_learner import train as run_loop
from jaxrec.runs.users.kind import Prepared
from jaxrec.runs.users.registry import user_kind
from jaxrec.serve import policy_is_whole, save_policy
from jaxrec.sharding.mesh import check_shards, make_mesh
from jaxrec.storage.checkpoint import Checkpoints
from jaxrec.storage.events import check_tensorboard
from jaxrec.storage.files import write_text
from jaxrec.storage.followed import FollowedRun, check_shared
from jaxrec.storage.lock import one_command
from jaxrec.storage.run import RunFolder
from jaxrec.types import Env, Learner, Params


def train(
    recipe: Recipe,
    run: str | Path | None = None,
    overrides: Overrides = (),
    *,
    resume: bool = False,
    silent: bool = False,
) -> Run:
    """Train a policy from a recipe: a file, a dict of its sections or a `Config`.

    `run` is the folder (default: runs/ and the recipe's name). `overrides` replace values, as in
    `{"train.updates": 300}`. With `resume`, a stopped run continues from its newest checkpoint, bit for bit as if it
    had never stopped. SIGINT and SIGTERM write a checkpoint and return (`Run.ended.interrupted`). Notes and a
    progress bar are shown unless `silent`. Raises InputError, with a one-line message, for bad input.
    """
    with quiet(silent), muted(not is_first()), one_command():
        config = read_by_all(lambda: _checked(recipe, overrides, run))
        folder = run or default_folder(recipe)
        opened = in_turn(lambda: open_folder(config, folder, resume) if is_first() else FollowedRun(folder))
        check_shared(opened.path)
        return train_in(config, opened)


def _checked(recipe: Recipe, overrides: Overrides, run: str | Path | None) -> Config:
    config = read_recipe(recipe, overrides)
    check_recipe(config)
    check_key(config, Path(run or default_folder(recipe)))
    return config


def train_in(config: Config, run: RunFolder, sources: Sources = OWN) -> Run:
    """Prepare and train in an opened folder, with what `sources` gives."""
    started = time.perf_counter()
    note(f"run {run.path} on {describe_devices()}")
    ready = in_turn(lambda: _get_ready(config, run, sources))
    prepared, env, start = ready.prepared, ready.start.seen_by(ready.env), ready.start
    if start.interrupted:
        return Run(run, Ended(0, -math.inf, start.interrupted, time.perf_counter() - started))
    note(f"  prepared in {time.perf_counter() - started:.0f} s; training {config.train.updates} updates")
    outcome = train_policy(config, env, prepared, run, start.params, sources)
    run.write_config(to_yaml(config))  # a resumed run may have a larger number of updates

    def compare() -> continue_run.Comparison | None:
        if ready.continues and prepared.corpus is not None and not outcome.interrupted and is_first():
            return continue_run.old_against_new(config, run, env, prepared.corpus)
        return None

    comparison = together(compare)  # the others wait for what the first process compares and writes
    seconds = time.perf_counter() - started
    return Run(run, Ended(outcome.step, outcome.best_score, outcome.interrupted, seconds, comparison))


class Ready(NamedTuple):
    """What a training begins with."""

    prepared: Prepared
    env: Env
    start: start_from.Start
    continues: bool  # the policy of another run


def _get_ready(config: Config, run: RunFolder, sources: Sources) -> Ready:
    """Make what is missing in the run, and read it."""
    before, initial = continue_run.policy_before(config, run), None
    with sources.preparing(run):
        prepared, env = sources.prepare(config, run, before)
        if before is not None and prepared.catalogue is not None:
            initial = continue_run.starting_params(config, before, act_as_in(env, config.env), prepared.catalogue.ids)
        start = start_from.starting_params(config, run, env, prepared.corpus)
    if start.params is None:
        start = start._replace(params=initial)
    return Ready(prepared, env, start, before is not None)


def rebuild_policy(run: RunFolder) -> bool:
    """Write RUN/policy again from the best checkpoint; False if no whole checkpoint was evaluated."""
    with Checkpoints(run.checkpoints) as checkpoints:
        if not checkpoints.judged:
            return False
        config = load_config(Config, run.config, ["train.devices=1"])  # however many the run had
        prepared, env = prepare(config, run, continue_run.policy_before(config, run))
        env = start_from.starting_params(config, run, env, prepared.corpus).seen_by(env)
        program = compile_learner(learner_of(config, env), env.world, config.train, config.learner.shards)
        best, state = checkpoints.best_sane(lambda step: restore(checkpoints, step, program, config.train))
    _policy_writer(config, act_as_in(env, config.env), prepared, run)(state.params, best)
    return True


def check_key(config: Config, folder: Path) -> None:
    """Raise InputError if the key of the pseudonyms would be in the folder that is written."""
    if config.data is not None:
        check_key_outside(config.data, folder)


def check_recipe(config: Config) -> None:
    """Check devices, shards, the log and the rewards, which would otherwise fail after minutes of preparation."""
    check_shards(make_mesh(config.train.devices), config.learner.shards)
    kind = user_kind(config.env.name)
    check_action.check(config)
    kind.check(config)
    start_from.check(config)
    held_out_rule.check(config)
    if config.train.select == "judge" and kind.others is None:
        raise InputError(f"train.select: {config.env.name} has no second simulator; set it to train.")
    check_tensorboard(config.train.tensorboard)


def open_folder(config: Config, path: str | Path, resume: bool) -> RunFolder:
    """Create the run folder, or check that the run to resume has the same recipe."""
    text = to_yaml(config)
    if not resume:
        return RunFolder.create(path, text)
    run = RunFolder.reopen(path)
    before = load_config(Config, run.config)
    if changed := what_changed(before, config):
        raise InputError(
            f"{run.config}: the run was made by another recipe ({changed}); "
            f"resume with `jaxrec train {run.config} --run {run.path} --resume`, or start another run with --run."
        )
    if before.learner.anneal_updates != config.learner.anneal_updates:
        # The first updates had another learning rate, so the run is no longer reproducible from its last recipe alone.
        write_text(run.path / f"config-{before.train.updates}.yaml", to_yaml(before))
        note(
            f"  learner.anneal_updates was {before.learner.anneal_updates} and is {config.learner.anneal_updates} from "
            f"here on; config-{before.train.updates}.yaml keeps the earlier recipe"
        )
    return run


def what_changed(before: Config, now: Config) -> str:
    """Name the first setting that a resumed run may not change and that differs; empty if there is none."""
    longer = now.train.updates > before.train.updates
    was, new = (to_yaml(_experiment_of(one, any_schedule=longer)).splitlines() for one in (before, now))
    pairs = ((a.strip(), b.strip()) for a, b in itertools.zip_longest(was, new, fillvalue=""))
    return next((f"{quoted(a)} became {quoted(b)}" for a, b in pairs if a != b), "")


def _experiment_of(config: Config, any_schedule: bool) -> Config:
    """The config without the settings that a resumed run may change: length, devices, time of grace, evaluation.

    With `any_schedule`, as when a run becomes longer, the learning rate may have another schedule. No array of the
    learner's state depends on it.
    """
    anew = {"updates": config.train.updates_per_call, "checkpoint_every": config.train.updates_per_call}
    anew |= {"grace_seconds": TrainConfig.grace_seconds}
    train = dataclasses.replace(config.train, **anew, devices=0, keep_latest=1, tensorboard=True)
    if any_schedule:
        config = dataclasses.replace(config, learner=dataclasses.replace(config.learner, anneal_updates=0))
    return dataclasses.replace(config, train=train, evaluate=EvaluateConfig(judge_share=config.evaluate.judge_share))


def train_policy(
    config: Config,
    env: Env,
    prepared: Prepared,
    run: RunFolder,
    initial: Params | None = None,
    sources: Sources = OWN,
) -> Outcome:
    """Train the learner over `env`, from `initial`; every new best policy replaces the policy folder."""
    key_evaluate = stream(config, "select")
    kind, acting = user_kind(config.env.name), act_as_in(env, config.env)
    facts = item_facts(kind.item_rows(env.world))
    selecting = env
    if config.train.select == "judge":
        assert kind.others is not None, "check_recipe refuses this"
        selecting = kind.others(config, run)
    recommender, arrays_of = of_policy(acting.spec, config.learner.policy, selecting, env.world)
    simulation = sources.simulation(config, env)
    simulate = simulation(selecting, recommender, config.evaluate.max_steps)

    def evaluate(params: Params, step: int) -> float:
        arrays = arrays_of(params)
        # The same visits every time: differences between checkpoints are then smaller than those between users.
        return simulate(selecting.world, facts, key_evaluate, config.train.evaluate_users, arrays).mean

    return run_loop(
        learner_of(config, env),
        env.world,
        run,
        config.train,
        key=stream(config, "learn"),
        initial=initial,
        # A start that is worth something competes too, if users judge it that it was not made for.
        judge_start=config.train.select == "judge" and (initial is not None or config.learner.policy.belief),
        num_shards=config.learner.shards,
        steps_per_update=config.learner.num_users * config.learner.horizon,
        evaluate=evaluate,
        save_policy=_policy_writer(config, acting, prepared, run),
        policy_is_whole=lambda: policy_is_whole(run.policy),
        further=held_out_rule.make_rule(config, env, prepared.corpus, run),
        limits=value_limits(config.learner.gamma, config.learner.reward_scale),
        build=sources.build(config, env),
        watching=sources.watching,
    )


def learner_of(config: Config, env: Env) -> Learner:
    """The recipe's learner over the users in which it trains."""
    trained_in = act_as_in(user_kind(config.env.name).training(config, env), config.env)
    if config.train.randomize:
        trained_in = randomize(trained_in, config.train.randomize)
    return make_learner(config.learner.name, auto_reset(trained_in), config.learner)


def _policy_writer(config: Config, env: Env, prepared: Prepared, run: RunFolder) -> Callable[[Params, int], None]:
    """A function of parameters and their step that replaces the policy folder."""
    numbers = tuple(str(n) for n in range(env.spec.num_items))
    catalogue, corpus = prepared.catalogue, prepared.corpus
    texts = [] if catalogue is None else texts_to_keep(log_config(config).text, catalogue)

    def save(params: Params, step: int) -> None:
        save_policy(
            run.policy,
            params=params,
            world=env.world,
            spec=env.spec,
            config=config.learner.policy,
            feedback=_feedback_kinds(config, env),
            items=(numbers, numbers) if catalogue is None else (catalogue.ids, catalogue.titles),
            step=step,
            item_features=None if corpus is None else corpus.features.encodings,
            texts=texts,
        )

    return save


def _feedback_kinds(config: Config, env: Env) -> dict[str, FeedbackKind]:
    """How a saved policy reads feedback values in a history; without a log, an item without a value counts as 1."""
    if config.data is not None:
        return config.data.feedback
    return {name: FeedbackKind() for name in env.spec.feedback} if env.spec.history_length else {}
