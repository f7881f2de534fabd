"""`jaxrec pretrain --from RUN`: a policy of one catalogue in another, whose items it knows by texts and features.

All that the policy learned about reading histories and the item table is kept. What it learned about single items
(`learner.policy.item_residual`) is kept for items with the same id and title, and is zero for all others.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxrec.checks import InputError
from jaxrec.config.load import load_config
from jaxrec.config.schema import Config
from jaxrec.foreign import quoted
from jaxrec.nets.policy import make_policy
from jaxrec.progress import note
from jaxrec.runs.half_written import read_account
from jaxrec.runs.read_log import ContextColumns, Corpus
from jaxrec.runs.recipe import log_config
from jaxrec.runs.users.fitted_folder import LOG
from jaxrec.serve import SavedPolicy, load_policy
from jaxrec.serve.new_catalogue import RESIDUALS, carried_params
from jaxrec.storage.stage_folders import PretrainFolder
from jaxrec.types import EnvSpec, Params, World

NETWORK = ("encoder", "width", "hidden", "item_residual", "layers", "heads")  # fields of learner.policy
ENCODER = ("model", "pooling", "dimensions", "prompt", "prompt_name", "bidirectional")  # these change what vectors mean
SETTING = "pretrain.start_from"


def check(config: Config) -> None:
    """Raise InputError if the recipe starts from something that cannot be transferred."""
    source = config.pretrain.start_from
    if not source:
        return
    if not Path(source).is_dir():
        raise InputError(
            f"{SETTING}: no folder {quoted(source)}; give a folder of `jaxrec pretrain` or `jaxrec train`."
        )
    if config.encoder.train != "frozen":
        raise InputError(
            f"encoder.train: {config.encoder.train} changes what the vectors mean that {source} reads; set it to "
            "frozen."
        )
    if not config.pretrain.texts:
        raise InputError(f"pretrain.texts: false, but {source} knows other items by their texts; set it to true.")
    if log_config(config).own_texts:
        raise InputError(f"data.own_texts: their components mean something else in {source}; set it to 0.")


def columns_of(source: str) -> ContextColumns:
    """The context columns and item features that the policy of a run reads."""
    folder, policy = PretrainFolder(source), load_policy(source)
    log: dict[str, Any] = {}
    if folder.account.is_file():
        log = read_account(folder.account)["log"]
    elif (folder.simulators / LOG).is_file():
        log = read_account(folder.simulators / LOG)
    elif policy.spec.context_size:
        raise InputError(f"{source}: does not say which context its policy reads; give the folder of the whole run.")
    return ContextColumns(tuple(log.get("context", ())), None, policy.item_features)


def columns_before(config: Config) -> ContextColumns | None:
    """The columns that the log of a pretraining must have; None to choose them anew."""
    return columns_of(config.pretrain.start_from) if config.pretrain.start_from else None


def starting_params(config: Config, corpus: Corpus, spec: EnvSpec, world: World) -> Params | None:
    """Parameters of the policy in `pretrain.start_from` for the items of this log; None without one."""
    source = config.pretrain.start_from
    if not source:
        return None
    saved, catalogue = load_policy(source), corpus.dataset.catalogue
    _check_inputs(source, saved, config, corpus)
    params = carried_params(saved, catalogue.ids, catalogue.titles)
    fresh = jax.eval_shape(make_policy(spec, config.learner.policy).init, jax.random.key(0), world)
    if config.learner.policy.item_residual:  # a policy without them starts as if they were zero
        params = {name: jnp.zeros(fresh[name].shape) for name in RESIDUALS} | params
    else:
        params = {name: value for name, value in params.items() if name not in RESIDUALS}
    names = [name for name in NETWORK if name != "item_residual"]
    check_same_network(SETTING, source, saved, config, names)
    check_same_shapes(SETTING, source, params, fresh)
    both = len(set(zip(saved.ids, saved.titles, strict=True)) & set(zip(catalogue.ids, catalogue.titles, strict=True)))
    note(
        f"  starting from {source} (step {saved.step}, {len(saved.ids):,} items): {both:,} of the {len(catalogue):,} "
        "items are the same, the others are known by their texts and features"
    )
    return params


def check_same_network(
    setting: str, source: str, saved: SavedPolicy, config: Config, names: list[str] | tuple[str, ...] = NETWORK
) -> None:
    """Raise InputError unless the saved policy has the network of the recipe."""
    for name in names:
        was, now = getattr(saved.network, name), getattr(config.learner.policy, name)
        if was != now:
            raise InputError(
                f"{setting}: {source} has learner.policy.{name}={was}, expected {now}; pretrain with this "
                "recipe, or change the learner's network."
            )


def check_same_shapes(setting: str, source: str, params: Params, fresh: Params) -> None:
    """Raise InputError unless parameters fit the inputs of the recipe."""
    was, now = ({path: x.shape for path, x in jax.tree_util.tree_leaves_with_path(p)} for p in (params, fresh))
    for path in now:
        if was.get(path) != now[path]:
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            raise InputError(
                f"{setting}: {name} of {source} has shape {was.get(path)}, expected {now[path]}; pretrain "
                "with the encoder, feedback and context of this recipe."
            )


def _check_inputs(source: str, saved: SavedPolicy, config: Config, corpus: Corpus) -> None:
    """Raise InputError unless texts, features, feedback and context mean the same in both logs."""
    now, was = corpus.features.encodings, saved.item_features
    if (list(now), now) != (list(was), was):  # blocks of other columns, or in another order
        raise InputError(f"{SETTING}: {source} reads other columns of item features; use its data.item_features.")
    feedback = tuple(saved.feedback), corpus.dataset.log.feedback_names
    if feedback[0] != feedback[1]:
        names = [", ".join(some) for some in feedback]
        raise InputError(f"{SETTING}: {source} reads feedback {names[0]}, this log has {names[1]}; use the same names.")
    context = columns_of(source).names, corpus.dataset.log.context_names
    if context[0] != context[1]:
        names = [", ".join(some) or "none" for some in context]
        raise InputError(f"{SETTING}: {source} reads context {names[0]}, this log has {names[1]}; use the same.")
    recipe = PretrainFolder(source).config
    if recipe.is_file():
        _check_encoder(source, load_config(Config, recipe), config)


def _check_encoder(source: str, before: Config, config: Config) -> None:
    tuned = PretrainFolder(source).path / "encoder"  # of a pretraining that tuned it
    for name in ENCODER:
        was, now = getattr(before.encoder, name), getattr(config.encoder, name)
        if name == "model" and tuned.is_dir():
            was = str(tuned)
        if was != now and not (name == "model" and Path(was).absolute() == Path(now).absolute()):
            raise InputError(
                f"{SETTING}: {source} was trained with encoder.{name}={was}, expected {now or 'none'}; use the same."
            )
