"""First parameters of a learner from a pretrained policy (`learner.start_from`)."""

from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxrec.checks import InputError
from jaxrec.config.learners import OnPolicyConfig
from jaxrec.config.load import to_yaml
from jaxrec.config.schema import Config
from jaxrec.nets.policy import is_value_parameter, make_policy
from jaxrec.progress import note
from jaxrec.runs import pretrain_inputs
from jaxrec.runs.pretrain import open_folder, pretrain_in
from jaxrec.runs.read_log import Corpus
from jaxrec.runs.streams import stream
from jaxrec.serve import SavedPolicy, load_policy
from jaxrec.storage.run import PretrainFolder, RunFolder
from jaxrec.types import Env, Params

PRETRAIN = "pretrain"  # the value of learner.start_from that pretrains within the run
NETWORK = ("encoder", "width", "hidden", "item_residual", "layers", "heads")  # fields of learner.policy


class Start(NamedTuple):
    """First parameters, None for fresh ones; `interrupted` if a signal stopped the pretraining."""

    params: Params | None = None
    interrupted: bool = False


def check(config: Config) -> None:
    """Raise InputError if the recipe asks for a start that it cannot have."""
    source = config.learner.start_from
    pulled = isinstance(config.learner, OnPolicyConfig) and config.learner.start_kl
    if pulled and not source and not config.train.continue_from:
        raise InputError(
            "learner.start_kl: learning starts from no policy that it could be pulled to; set learner.start_from "
            "or train.continue_from, or remove it."
        )
    if not source:
        return
    if config.train.continue_from:
        raise InputError("learner.start_from: train.continue_from gives the first parameters too; remove one of them.")
    pretrain_inputs.check_recipe(config)
    if source != PRETRAIN and not Path(source).is_dir():
        raise InputError(
            f"learner.start_from: no folder {source!r}; give a folder of `jaxrec pretrain`, or {PRETRAIN}."
        )


def starting_params(config: Config, run: RunFolder, env: Env, corpus: Corpus | None) -> Start:
    """Load what `learner.start_from` names; pretrain in RUN/pretrain first if it says so and this is not done yet."""
    source = config.learner.start_from
    saved_steps = run.checkpoints.is_dir() and any(path.name.isdigit() for path in run.checkpoints.iterdir())
    if not source or saved_steps:  # a run that goes on has parameters
        return Start()
    assert corpus is not None, "only users fitted to a log have something to start from"
    if source == PRETRAIN:
        folder = PretrainFolder(run.pretrain)
        if not folder.evaluation.is_file():
            folder = _opened(config, folder)
            if pretrain_in(config, folder, corpus).interrupted:
                return Start(interrupted=True)
        source = str(folder.path)
    saved = load_policy(source)
    _check_fits(source, saved, config, env, corpus.dataset.catalogue.ids)
    note(f"  starting from {source} (step {saved.step})")
    return Start(_with_fresh_values(saved.params, config, env))


def _opened(config: Config, folder: PretrainFolder) -> PretrainFolder:
    return open_folder(config, folder.path) if folder.config.is_file() else folder.create(folder.path, to_yaml(config))


def _check_fits(source: str, saved: SavedPolicy, config: Config, env: Env, ids: tuple[str, ...]) -> None:
    """Raise InputError unless the policy is over the same items and has the learner's network."""
    if saved.ids != ids:
        raise InputError(
            f"learner.start_from: {source} knows {len(saved.ids):,} items, expected the {len(ids):,} items of this "
            "log; pretrain on the same log and data section."
        )
    for name in NETWORK:
        was, now = getattr(saved.network, name), getattr(config.learner.policy, name)
        if was != now:
            raise InputError(
                f"learner.start_from: {source} has learner.policy.{name}={was}, expected {now}; pretrain with this "
                "recipe, or change the learner's network."
            )
    fresh = jax.eval_shape(make_policy(env.spec, config.learner.policy).init, jax.random.key(0), env.world)
    was, now = (_leaves(params) for params in (saved.params, fresh))
    for path in now:
        got = was[path].shape if path in was else None
        if got != now[path].shape and not (got is None and is_value_parameter(path)):
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            raise InputError(
                f"learner.start_from: {name} of {source} has shape {got}, expected {now[path].shape}; pretrain "
                "with the encoder, feedback and context of this recipe."
            )


def _with_fresh_values(saved: Params, config: Config, env: Env) -> Params:
    """The saved parameters of the learner's network, and fresh ones of its value where none were saved."""
    fresh = make_policy(env.spec, config.learner.policy).init(stream(config, "start_from"), env.world)
    was = _leaves(saved)  # those of a value network that the learner lacks are left out
    return jax.tree_util.tree_map_with_path(lambda path, x: was.get(path, x), fresh)


def _leaves(params: Params) -> dict[Any, Any]:
    return dict(jax.tree_util.tree_leaves_with_path(params))
