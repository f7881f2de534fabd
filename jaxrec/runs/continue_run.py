"""`jaxrec train --continue RUN`: continue training the policy of a finished run on a later log."""

from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxrec.checks import InputError
from jaxrec.config.schema import Config
from jaxrec.envs.logged_world import load_simulator
from jaxrec.evaluation import report
from jaxrec.evaluation.measures import item_facts
from jaxrec.nets.policy import make_policy
from jaxrec.progress import note
from jaxrec.runs.evaluate import judged_policies, learned, simulate_all
from jaxrec.runs.held_out import rank_policies
from jaxrec.runs.read_log import Corpus
from jaxrec.runs.recipe import log_config
from jaxrec.runs.users.kind import JUDGE
from jaxrec.runs.users.registry import user_kind
from jaxrec.serve import SavedPolicy, load_policy
from jaxrec.serve.new_catalogue import carried_params
from jaxrec.storage.files import atomic_path
from jaxrec.storage.inside import copy_folder
from jaxrec.storage.run import RunFolder
from jaxrec.storage.stage_folders import PretrainFolder
from jaxrec.types import Env, Params


def policy_before(config: Config, run: RunFolder) -> SavedPolicy | None:
    """The policy to continue, None for a fresh start; the run keeps a copy, so it needs the old run only once."""
    if not config.train.continue_from:
        return None
    if not run.policy_before.is_dir():
        old = RunFolder.open(config.train.continue_from)
        spec = load_policy(old.path).spec
        # Checks that need no environment come before anything is fitted.
        _check_encoder(config, old)
        _check_same(old, {"data.feedback": (spec.feedback, tuple(log_config(config).feedback))})
        with atomic_path(run.policy_before) as temporary:
            copy_folder(old.policy, temporary)
    return load_policy(run.policy_before)


def _check_encoder(config: Config, old: RunFolder) -> None:
    """Raise InputError if the old policy reads vectors of a tuned encoder, and the recipe names another one."""
    tuned = PretrainFolder(old.pretrain).encoder
    if tuned.is_dir() and Path(config.encoder.model).resolve() != tuned.resolve():
        raise InputError(
            f"{old.path}: its policy reads the vectors of {tuned}, but encoder.model is {config.encoder.model}; set "
            f"encoder.model to {tuned}."
        )


def starting_params(config: Config, before: SavedPolicy, env: Env, ids: tuple[str, ...]) -> Params:
    """Parameters of the old policy for the new catalogue; prints how many items are kept, new or gone."""
    params = carried_params(before, ids)
    fresh = jax.eval_shape(make_policy(env.spec, config.learner.policy).init, jax.random.key(0), env.world)
    widths = before.world.item_table.shape[1], env.world.item_table.shape[1]
    _check_same(
        RunFolder(config.train.continue_from),
        {
            "the columns of data.context and data.own_texts": (before.spec.context_size, env.spec.context_size),
            "the item table's width (encoder.model, data.item_features)": widths,
            "learner.policy": (_parameter_counts(params), _parameter_counts(fresh)),
        },
    )
    known, now = set(before.ids), set(ids)
    note(
        f"  continuing {config.train.continue_from} (update {before.step}): {len(known & now):,} items kept, "
        f"{len(now - known):,} new (known by their texts), {len(known - now):,} no longer in the log"
    )
    return params


def _check_same(run: RunFolder, pairs: dict[str, tuple[Any, Any]]) -> None:
    """Raise InputError if the recipe does not give the old policy the inputs it was trained with."""
    for what, (old, new) in pairs.items():
        if old != new:
            raise InputError(
                f"{run.path}: cannot be continued by this recipe: {what} was {old}, is now {new}; use "
                "the old setting, or train from scratch without --continue."
            )


def _parameter_counts(params: Params) -> str:
    """Describe a network by the number of parameters of each part."""
    return ", ".join(f"{name} {sum(x.size for x in jax.tree.leaves(part)):,}" for name, part in sorted(params.items()))


class Comparison(NamedTuple):
    """The old and the new policy on the newer log."""

    simulated: dict[str, Any]  # in the judging simulator, as a section of evaluation.json
    held_out: dict[str, dict[str, float]]  # ranking of the held-out rows

    def show(self, cutoffs: tuple[int, ...]) -> None:
        """Print both tables."""
        title = "old and new policy, users of the newer log that neither was trained on"
        report.print_simulated(title, self.simulated)
        report.print_held_out("old and new policy on the newer held-out log", self.held_out, cutoffs)


def old_against_new(config: Config, run: RunFolder, env: Env, corpus: Corpus) -> Comparison:
    """Compare both policies on the newer log: ranking of its held-out part, and return in the judging simulator."""
    new = load_policy(run.path)
    policies = judged_policies(run, new, env.world)
    tables = rank_policies(config, policies, env.world, corpus, new.spec.history_length)
    world = load_simulator(run.simulators / JUDGE)
    facts = item_facts(user_kind(config.env.name).item_rows(env.world), corpus.counts + 1.0)
    results = simulate_all(config, env, [world], learned(policies, env), facts)[0]
    return Comparison(report.simulated_section(results), {name: table.all for name, table in tables.items()})
