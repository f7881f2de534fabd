"""`jaxrec train --continue RUN`: the policy of a finished run goes on learning from a later log."""

import shutil
from collections.abc import Sequence
from typing import Any

import jax

from jaxrec.checks import InputError
from jaxrec.cli import evaluate, experiment
from jaxrec.cli.experiment import log_config
from jaxrec.config.schema import Config
from jaxrec.data.pseudonyms import VARIABLE
from jaxrec.envs.logged import load_simulator
from jaxrec.evaluate import recommenders, report
from jaxrec.evaluate.simulate import make_simulation
from jaxrec.nets.policy import make_policy
from jaxrec.serve import SavedPolicy, load_policy
from jaxrec.serve.new_catalogue import carried_params
from jaxrec.storage.files import atomic_path
from jaxrec.storage.run import RunFolder
from jaxrec.types import Env, Params


def policy_before(config: Config, run: RunFolder) -> SavedPolicy | None:
    """The policy to go on from, None for a fresh start; a copy in the run keeps it whole without the old one."""
    if not config.train.continue_from:
        return None
    if not run.policy_before.is_dir():
        old = RunFolder.open(config.train.continue_from)
        spec = load_policy(old.path).spec
        # What can be told before anything is fitted; the rest waits for the environment.
        kinds, length = tuple(log_config(config).feedback), config.response.history_length
        _check_same(
            old, {"data.feedback": (spec.feedback, kinds), "response.history_length": (spec.history_length, length)}
        )
        with atomic_path(run.policy_before) as temporary:
            shutil.copytree(old.policy, temporary)
    return load_policy(run.policy_before)


def check_users(config: Config, sides: experiment.Sides | None, users: Sequence[str]) -> None:
    """Refuse a log of which nobody can tell who trained the old policy: some would judge it."""
    old = RunFolder(config.train.continue_from)
    if sides is None:
        raise InputError(
            f"{old.simulators}: {experiment.USERS} is missing, so nobody knows which users trained that policy; put it "
            "back, or train from the start without --continue."
        )
    if (sides.of(users) < 0).all():
        raise InputError(
            f"data.path: none of the log's {len(users):,} users is known to {old.path}; give a log that holds the "
            f"earlier rows too, read with the same {VARIABLE} or data.user_key_file."
        )


def starting_params(config: Config, before: SavedPolicy, env: Env, ids: tuple[str, ...]) -> Params:
    """Parameters of the old policy for the new catalogue; prints what became of the items."""
    params = carried_params(before, ids)
    fresh = jax.eval_shape(make_policy(env.spec, config.learner.policy).init, jax.random.key(0), env.world)
    widths = before.world.item_table.shape[1], env.world.item_table.shape[1]
    _check_same(
        RunFolder(config.train.continue_from),
        {
            "the columns of data.context and data.own_texts": (before.spec.context_size, env.spec.context_size),
            "the item table's width (encoder.model)": widths,
            "learner.policy": (_parameter_counts(params), _parameter_counts(fresh)),
        },
    )
    known, now = set(before.ids), set(ids)
    print(
        f"  continuing {config.train.continue_from} (update {before.step}): {len(known & now):,} items as before, "
        f"{len(now - known):,} new ones by their text, {len(known - now):,} no longer in the log"
    )
    return params


def _check_same(run: RunFolder, pairs: dict[str, tuple[Any, Any]]) -> None:
    """Refuse to continue where the old policy reads other things than the recipe gives it."""
    for what, (old, new) in pairs.items():
        if old != new:
            raise InputError(
                f"{run.path}: cannot be continued by this recipe: {what} was {old}, is {new}; keep what "
                "that run had, or train from the start without --continue."
            )


def _parameter_counts(params: Params) -> str:
    """A network in few words: kind of history encoder and numbers of parameters a part."""
    return ", ".join(f"{name} {sum(x.size for x in jax.tree.leaves(part)):,}" for name, part in sorted(params.items()))


def print_old_against_new(config: Config, run: RunFolder, env: Env, corpus: experiment.Corpus) -> None:
    """Both policies on the newer log: ranking of its held-out part, return in the simulator that only judges."""
    new = load_policy(run.path)
    policies = evaluate.judged_policies(run, new, env.world)
    ranked = evaluate.held_out(config, policies, env.world, corpus, new.spec.history_length)
    world = load_simulator(run.simulators / experiment.JUDGE)
    facts, key = experiment.item_facts(env, corpus), experiment.stream(config, "judge")
    results = {}
    for name, p in policies.items():
        learned = recommenders.learned(p.policy, env.spec.slate_size, (p.params, p.items))
        run_in = make_simulation(env, learned, config.evaluate.max_steps)
        results[name] = run_in(world, facts, key, config.evaluate.users)
    title = "old and new policy with users of the newer log who never trained either"
    report.print_simulated(title, report.simulated_section(results))
    report.print_held_out("old and new policy on the newer held-out log", ranked, config.evaluate.cutoffs)
