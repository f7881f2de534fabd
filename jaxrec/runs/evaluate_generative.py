"""`jaxrec evaluate` of a generator: its slates in the simulators of its log, next to those of simple recommenders."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.load import Overrides, load_config
from jaxrec.config.logged import LoggedConfig
from jaxrec.config.schema import Config
from jaxrec.evaluation import report
from jaxrec.evaluation.measures import item_facts
from jaxrec.evaluation.simulate import Recommender, make_simulations
from jaxrec.generate.dense import DenseItems
from jaxrec.generate.recommender import Catalogue, samples, scores, slates
from jaxrec.generate.saved import SavedGenerator, catalogue_of, load_generator
from jaxrec.progress import note
from jaxrec.runs.devices import describe_devices
from jaxrec.runs.half_written import read_account
from jaxrec.runs.pretrain import KINDS
from jaxrec.runs.streams import stream
from jaxrec.runs.users.registry import baselines, user_kind
from jaxrec.storage.files import write_json
from jaxrec.storage.stage_folders import PretrainFolder
from jaxrec.types import Array, Env, Observation, Params, World

SAMPLED = "policy_sampled"  # slates that are drawn from the generator instead of its best ones
FREE = ("users", "max_steps", "baselines", "ensemble", "truth")

Arrays = tuple[Params, Catalogue]


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorReport:
    """Results in the simulators, and the ranking of the held-out rows that the training has written."""

    account: dict[str, Any]
    titles: dict[str, str]  # of the tables, by name of the simulator
    held_out: dict[str, Any]  # by kind of target
    cutoffs: tuple[int, ...]
    path: Path  # of simulated.json

    def __getitem__(self, name: str) -> Any:
        """Return an entry of simulated.json."""
        return self.account[name]

    def show(self) -> None:
        """Print the tables."""
        for name, title in self.titles.items():
            report.print_simulated(title, self.account["simulators"][name])
        for kind, metrics in self.held_out.items():
            report.print_held_out(KINDS[kind], metrics, self.cutoffs)


def evaluate_generator(path: Path, overrides: Overrides) -> GeneratorReport:
    """Judge the generator of a run in simulators that are in RUN/simulators, and write RUN/simulated.json.

    The simulators are fitted first if they are missing, or copied from `env.path`.
    """
    run = PretrainFolder.reopen(path, "evaluate")
    config = _load(run, overrides)
    saved, kind = load_generator(run.policy), user_kind(config.env.name)
    if config.env.slate_size > saved.beams:
        raise InputError(
            f"env.slate_size: expected at most {saved.beams}, the beams of this generator, got "
            f"{config.env.slate_size}; pretrain it with a larger generative.beams."
        )
    note(f"evaluating {run.policy} (step {saved.step}) on {describe_devices()}")
    kind.check(config)
    kind.prepare(config, run, None)
    judging: Any = kind.judge(config, run, saved)  # type: ignore[arg-type]  # it reads the ids alone
    env, corpus = kind.make(judging.section, judging.worlds[0].world), judging.corpus
    facts = item_facts(kind.item_rows(env.world), corpus.counts + 1.0)
    rivals = generated(saved, env) | baselines(env, judging.section, config, corpus)
    run_all = make_simulations(env, rivals, config.evaluate.max_steps)
    sections = {
        one.name: report.simulated_section(
            run_all(one.world, facts, stream(config, "judge"), config.evaluate.users), one.residuals
        )
        for one in judging.worlds
    }
    account = {"step": saved.step, "users": config.evaluate.users, "seed": config.seed, "simulators": sections}
    if len(sections) > 1:
        account["lift_kept"] = report.lift_kept(*(sections[world.name] for world in judging.worlds[:2]))
    target = run.path / "simulated.json"
    write_json(target, account)
    ranked = read_account(run.evaluation) if run.evaluation.is_file() else {}
    return GeneratorReport(
        account=account,
        titles={world.name: world.title for world in judging.worlds},
        held_out={name: ranked[name] for name in KINDS if name in ranked},
        cutoffs=config.evaluate.cutoffs,
        path=target,
    )


def _load(run: PretrainFolder, overrides: Overrides) -> Config:
    """The run's recipe; raises InputError for changes of what the training used."""
    trained, config = load_config(Config, run.config), load_config(Config, run.config, overrides)
    free = {name: getattr(config.evaluate, name) for name in FREE}
    allowed = dataclasses.replace(
        trained, env=config.env, evaluate=dataclasses.replace(trained.evaluate, **free), response=config.response
    )
    allowed = dataclasses.replace(allowed, tastes=config.tastes)
    if allowed.data is not None and config.data is not None:
        allowed = dataclasses.replace(allowed, data=dataclasses.replace(allowed.data, path=config.data.path))
    if config != allowed or not isinstance(config.env, LoggedConfig):
        raise InputError(
            f"{run.config}: evaluate takes data.path, env (logged users), tastes, response and "
            f"{', '.join(f'evaluate.{name}' for name in FREE)}; for other changes, train another run."
        )
    return config


def _offered(dense: DenseItems | None, items: np.ndarray) -> DenseItems | None:
    """The dense check of the cold items among `items` alone."""
    if dense is None:
        return None
    return dense.replace(cold=np.intersect1d(dense.cold, items).astype(np.int32))


def generated(saved: SavedGenerator, env: Env) -> dict[str, Recommender]:
    """The generator as a recommender for simulated users: its best items, and samples without replacement.

    Slates are of items that may be recommended in the simulators as well as by the generator. Raises InputError if
    these are fewer than a slate needs.
    """
    size, repeats = env.spec.slate_size, saved.spec.repeats
    offered = np.arange(len(saved.ids)) if env.world.recommendable is None else np.asarray(env.world.recommendable)
    both = np.intersect1d(saved.recommendable, offered)
    dense = _offered(saved.dense, both)
    known = both if dense is None else np.setdiff1d(both, np.asarray(dense.cold))  # those of the tree
    if len(known) <= size + env.spec.history_length:
        raise InputError(
            f"env.slate_size: {len(known)} items with training rows may be recommended by the generator and in the "
            f"simulators, expected more than {size + env.spec.history_length}, a slate and a history; lower it or "
            "env.history_length."
        )
    catalogue = catalogue_of(saved.codes, saved.shape, saved.table, both, dense)

    def placed(items: Array, world: World) -> Array:
        return items if world.recommendable is None else jnp.searchsorted(world.recommendable, items)

    def best(arrays: Arrays, key: Array, env_state: Any, obs: Observation, world: World) -> Array:
        return placed(
            slates(saved.shape, *arrays, obs, saved.rows, saved.beams, repeats=repeats).items[:, :size], world
        )

    def drawn(arrays: Arrays, key: Array, env_state: Any, obs: Observation, world: World) -> Array:
        assert obs.history_items is not None
        keys = jax.random.split(key, obs.history_items.shape[0])
        return placed(samples(saved.shape, *arrays, obs, saved.rows, keys, size, repeats=repeats).items, world)

    def score(arrays: Arrays, obs: Observation, world: World) -> Array:
        return scores(saved.shape, *arrays, obs, saved.rows, saved.beams, repeats=repeats)

    arrays = (saved.params, catalogue)
    return {report.POLICY: Recommender(best, arrays, score), SAMPLED: Recommender(drawn, arrays)}
