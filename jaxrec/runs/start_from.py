"""First parameters of a learner from a pretrained policy (`learner.start_from`)."""

from pathlib import Path
from typing import NamedTuple

from jaxrec.checks import InputError
from jaxrec.config.load import to_yaml
from jaxrec.config.on_policy import OnPolicyConfig
from jaxrec.config.schema import Config
from jaxrec.foreign import quoted
from jaxrec.nets.network import is_value_part
from jaxrec.nets.policy import make_policy
from jaxrec.processes import count
from jaxrec.progress import note
from jaxrec.runs import pretrain_inputs, transfer
from jaxrec.runs.pretrain import open_folder, pretrain_in
from jaxrec.runs.read_log import ContextColumns, Corpus
from jaxrec.runs.streams import stream
from jaxrec.serve import SavedPolicy, load_policy, policy_is_whole
from jaxrec.storage.files import atomic_path
from jaxrec.storage.inside import copy_folder
from jaxrec.storage.run import RunFolder
from jaxrec.storage.stage_folders import PretrainFolder
from jaxrec.supervised.joint import FROZEN
from jaxrec.types import Array, Env, Params

PRETRAIN = "pretrain"  # the value of learner.start_from that pretrains within the run


class Start(NamedTuple):
    """First parameters, None for fresh ones; `interrupted` is the signal that stopped the pretraining."""

    params: Params | None = None
    interrupted: int = 0
    table: Array | None = None  # [I, E] item table of a tuned encoder, which the policy reads instead of the world's

    def seen_by(self, env: Env) -> Env:
        """`env` with this item table, if there is one."""
        return env if self.table is None else env._replace(world=env.world.replace(item_table=self.table))


def check(config: Config) -> None:
    """Raise InputError if the recipe asks for a start that it cannot have."""
    source, tuned = config.learner.start_from, config.encoder.train != FROZEN
    pulled = isinstance(config.learner, OnPolicyConfig) and config.learner.start_kl
    if pulled and not source and not config.train.continue_from:
        raise InputError(
            "learner.start_kl: learning starts from no policy that it could be pulled to; set learner.start_from "
            "or train.continue_from, or remove it."
        )
    if not source:
        if tuned:
            raise InputError(
                f"encoder.train: {config.encoder.train}, but only pretraining tunes the encoder; set "
                f"learner.start_from to {PRETRAIN}, or encoder.train to {FROZEN}."
            )
        return
    if source == PRETRAIN and count() > 1:
        raise InputError(
            f"learner.start_from: {PRETRAIN} runs in one process only; run `jaxrec pretrain` first, and give its "
            "folder."
        )
    if config.train.continue_from:
        raise InputError("learner.start_from: train.continue_from gives the first parameters too; remove one of them.")
    pretrain_inputs.check_recipe(config)
    if source == PRETRAIN:
        transfer.check(config)
    if source != PRETRAIN and not Path(source).is_dir():
        raise InputError(
            f"learner.start_from: no folder {quoted(source)}; give a folder of `jaxrec pretrain`, or {PRETRAIN}."
        )
    if source != PRETRAIN:
        has_encoder = PretrainFolder(source).encoder.is_dir()
        if tuned and not has_encoder:
            raise InputError(
                f"encoder.train: {config.encoder.train}, but {source} holds no tuned encoder; set encoder.train to "
                f"{FROZEN}, or learner.start_from to {PRETRAIN}."
            )
        tuned = has_encoder
    if tuned and config.env.slate_interaction:
        raise InputError(
            "env.slate_interaction: simulated users would compare items by the vectors of the tuned encoder; set it "
            f"to 0, or pretrain with encoder.train={FROZEN}."
        )


def start_columns(config: Config) -> ContextColumns | None:
    """The columns of the policy that learning starts from; None to choose them anew."""
    source = config.learner.start_from
    if source == PRETRAIN:
        return transfer.columns_before(config)
    if not source or config.data is None or not load_policy(source).item_features:
        return None
    found, own = (
        transfer.columns_of(source),
        config.data.own_texts,
    )  # own texts come last, and are fitted to the same log again
    return found._replace(names=found.names[:-own] if own else found.names)


def starting_params(config: Config, run: RunFolder, env: Env, corpus: Corpus | None) -> Start:
    """Load what `learner.start_from` names; pretrain in RUN/pretrain first if it says so and this is not done yet."""
    source = config.learner.start_from
    policy_is_wholes = run.checkpoints.is_dir() and any(path.name.isdigit() for path in run.checkpoints.iterdir())
    if not source or policy_is_wholes:  # a run that goes on has parameters
        return Start(table=_tuned_table(run))
    assert corpus is not None, "only users fitted to a log have something to start from"
    if source == PRETRAIN:
        folder = PretrainFolder(run.pretrain)
        if not folder.evaluation.is_file() or not policy_is_whole(folder.policy):  # a lost policy is made again there
            folder = _opened(config, folder)
            if number := pretrain_in(config, folder, corpus).interrupted:
                return Start(interrupted=number)
        source = str(folder.path)
    saved = load_policy(source)
    params = _fitting_params(source, saved, config, env, corpus.dataset.catalogue.ids)
    note(f"  starting from {source} (step {saved.step})")
    _keep_encoder(Path(source), run)
    return Start(params, table=_tuned_table(run))


def _keep_encoder(source: Path, run: RunFolder) -> None:
    """Copy a start with a tuned encoder to RUN/pretrain, so that the run has its item table when it is resumed."""
    if run.pretrain.exists() or not PretrainFolder(source).encoder.is_dir():
        return
    with atomic_path(run.pretrain.absolute()) as temporary:
        copy_folder(source, temporary, "checkpoints", "events.*")


def _tuned_table(run: RunFolder) -> Array | None:
    """The item table that the pretraining of this run ended with, if it tuned the encoder."""
    tuned = PretrainFolder(run.pretrain).encoder.is_dir()
    return load_policy(run.pretrain).world.item_table if tuned else None


def _opened(config: Config, folder: PretrainFolder) -> PretrainFolder:
    return open_folder(config, folder.path) if folder.config.is_file() else folder.create(folder.path, to_yaml(config))


def _fitting_params(source: str, saved: SavedPolicy, config: Config, env: Env, ids: tuple[str, ...]) -> Params:
    """The saved parameters, and fresh ones of a value network that was not saved; those that the learner lacks go.

    Raises InputError unless the policy is over the same items and has the learner's network.
    """
    if saved.ids != ids:
        raise InputError(
            f"learner.start_from: {source} knows {len(saved.ids):,} items, expected the {len(ids):,} items of this "
            "log; pretrain on the same log and data section."
        )
    transfer.check_same_network("learner.start_from", source, saved, config)
    if saved.network.future and not config.learner.policy.future:
        raise InputError(
            f"learner.start_from: {source} also scores later rewards, which learner.name={config.learner.name} would "
            "drop; start from a policy of all_items, ppo or dqn, or of `jaxrec pretrain`."
        )
    fresh = make_policy(env.spec, config.learner.policy).init(stream(config, "start_from"), env.world)
    values = {name: part for name, part in fresh.items() if is_value_part(name)}
    params = {name: part for name, part in (values | saved.params).items() if name in fresh}
    transfer.check_same_shapes("learner.start_from", source, params, fresh)
    return params
