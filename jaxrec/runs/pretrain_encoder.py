"""The parts of a pretraining that differ when the encoder learns too (`encoder.train`)."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.schema import Config
from jaxrec.encoder import open_encoder, save_encoder
from jaxrec.encoder.adapt import save_adapters
from jaxrec.encoder.embed import texts_digest, weights_digest
from jaxrec.encoder.encode_ids import CPU_TOKENS
from jaxrec.runs.fit_encoder import check_sources, size_of
from jaxrec.runs.read_log import Corpus
from jaxrec.runs.recipe import log_config
from jaxrec.runs.streams import stream
from jaxrec.sharding.compile import compiled
from jaxrec.storage.stage_folders import PretrainFolder
from jaxrec.supervised.joint import FROZEN, LORA, JointState, make_joint, make_joint_data
from jaxrec.supervised.pretrain import PretrainData, Pretraining, trained_of
from jaxrec.supervised.pretrain_batches import Plan, PretrainState, steps_per_epoch
from jaxrec.types import Metrics, Params, World


class Stage(NamedTuple):
    """A pretraining as functions of its state, whatever is trained."""

    data: Any  # what all steps read besides the world
    init: Callable[[World, Any], Any]  # world, data -> state
    update: Callable[[Any, World, Any], tuple[Any, Metrics]]
    trained: Callable[[Any], Any]  # the part of a state that learns
    policy: Callable[[Any], PretrainState]  # the part of a state that is the policy's
    starting: Callable[[Any, Params], Any]  # a state with other parameters of the policy
    settled: Callable[[Any, Any], Any]  # state, data -> the state with an item table of its encoder as it is now
    world: Callable[[Any, World], World]  # a settled state, the world before -> what its policy reads
    save: Callable[[Any], None]  # write what a new best policy has besides itself
    written: tuple[Path, ...] = ()  # folders that `save` writes
    note: Callable[[Any], str] = lambda state: ""  # an abstract state -> what is trained besides the policy


def make_stage(
    config: Config, run: PretrainFolder, corpus: Corpus, pretraining: Pretraining, data: PretrainData, plan: Plan
) -> Stage:
    """The stage that `encoder.train` asks for; on a resume, raises InputError if weights or texts have changed."""
    key = stream(config, "pretrain")
    if config.encoder.train == FROZEN:
        return Stage(
            data=data,
            init=lambda world, data: pretraining.init(key, world),
            update=pretraining.update,
            trained=trained_of,
            policy=lambda state: state,
            starting=lambda state, params: state.replace(params=params),
            settled=lambda state, data: state,
            world=lambda state, world: world,
            save=lambda state: None,
        )
    if log_config(config).item_features:
        raise InputError(
            f"encoder.train: {config.encoder.train} re-encodes the item table, which holds data.item_features too; "
            "remove them, or set it to frozen."
        )
    enc, texts = open_encoder(config.encoder), corpus.dataset.catalogue.texts
    check_sources(run, weights=weights_digest(enc.params), texts=texts_digest(texts))
    ids = enc.tokenize([enc.prompt + text for text in texts])
    # As in `encode_ids`: a larger batch falls out of a CPU's cache.
    most = min(config.encoder.batch_tokens, CPU_TOKENS if jax.default_backend() == "cpu" else 2**31)
    fit = config.pretrain
    joint = make_joint(pretraining, plan, enc, config.encoder, fit, fit.epochs * steps_per_epoch(fit, plan))
    refresh, own = compiled(joint.refresh), stream(config, "encoder")

    def save(state: JointState) -> None:
        weights = jax.tree.map(np.asarray, joint.weights(enc.params, state.encoder))
        save_encoder(dataclasses.replace(enc, params=weights), run.encoder)
        if config.encoder.train == LORA:
            save_adapters(enc, state.encoder, config.encoder.rank, config.encoder.alpha, run.adapters)

    def sizes(state: JointState) -> str:
        return f" of the policy and {size_of(state.encoder):,} of the encoder's {size_of(enc.params):,}"

    return Stage(
        data=make_joint_data(data, enc, ids, most),
        init=lambda world, data: joint.init(key, own, world, data),
        update=joint.update,
        trained=lambda state: trained_of(state.policy) | {"encoder": state.encoder},
        policy=lambda state: state.policy,
        starting=lambda state, params: state.replace(policy=state.policy.replace(params=params)),
        settled=lambda state, data: refresh(state, data) if int(state.age) else state,
        world=lambda state, world: world.replace(item_table=state.table),
        save=save,
        written=(run.encoder, run.adapters) if config.encoder.train == LORA else (run.encoder,),
        note=sizes,
    )
