"""Compare the policy of a run with simple recommenders: with simulated users and on the held-out log."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.checks import InputError
from jaxrec.config.load import Overrides, load_config
from jaxrec.config.schema import Config
from jaxrec.evaluation import recommenders, report
from jaxrec.evaluation.measures import item_facts
from jaxrec.evaluation.simulate import ItemFacts, Recommender, Simulated, make_simulations
from jaxrec.evaluation.verdict import verdict, verdict_lines
from jaxrec.progress import note, quiet, warn
from jaxrec.runs.devices import describe_devices
from jaxrec.runs.evaluate_generative import GeneratorReport, evaluate_generator
from jaxrec.runs.evaluation_page import people_section, write_page
from jaxrec.runs.finished import Run
from jaxrec.runs.held_out import answers_account, held_out_account
from jaxrec.runs.recipe import log_config
from jaxrec.runs.recommend_generative import generator_in
from jaxrec.runs.streams import stream
from jaxrec.runs.users.registry import baselines, user_kind
from jaxrec.serve import SavedPolicy, load_policy
from jaxrec.serve.new_catalogue import Deployed, deployed_in
from jaxrec.storage.files import write_json, write_text
from jaxrec.storage.lock import one_command
from jaxrec.storage.run import RunFolder
from jaxrec.types import Env, World

# Settings of `evaluate` that training does not use.
FREE = ("users", "max_steps", "cutoffs", "baselines", "ensemble", "truth")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """Results of an evaluation; `report["simulators"]` and the other entries are those of evaluation.json."""

    account: dict[str, Any]
    titles: dict[str, str]  # of the tables, by name of the simulator
    held_out_title: str
    cutoffs: tuple[int, ...]
    path: Path  # of evaluation.json
    picture: Path  # behaviour of the simulated users, step by step
    page: Path  # the report for a browser

    def __getitem__(self, name: str) -> Any:
        """Return an entry of evaluation.json."""
        return self.account[name]

    def show(self) -> None:
        """Print the tables."""
        for name, title in self.titles.items():
            report.print_simulated(title, self.account["simulators"][name])
        if "held_out" in self.account:
            self._show_log()
        print("\n".join(verdict_lines(self.account["verdict"])))

    def _show_log(self) -> None:
        section, kept = next(iter(self.account["simulators"].values())), self.account["lift_kept"]
        if (closed := section.get("gap_closed")) is not None:
            gap = f"{section['gap']:.3f}, of which the policy closes {closed:.1%}"
            print(f"gap in return from best_fixed to greedy_response: {gap}")
        if kept is not None:
            print(f"lift over most popular kept in the judging simulator: {kept:.1%}")
        if "answers" in self.account:
            report.print_answers(self.account["answers"])
        report.print_held_out_account(self.held_out_title, self.account, self.cutoffs)


def evaluate(run: Run | str | Path, overrides: Overrides = (), *, silent: bool = False) -> Report | GeneratorReport:
    """Evaluate the policy of a run, and write `evaluation.json`, a picture and `report.html` into it.

    A generator of `jaxrec pretrain` is judged in simulators of its log, which are fitted first if the run has none, and
    its run gets `simulated.json` alone.

    `run` is what `jaxrec.train` returned, or its folder. `overrides` may change `data.path` and, of the section
    `evaluate`, `users`, `max_steps`, `cutoffs`, `baselines`, `ensemble` and `truth`; other changes need a run of
    their own.
    """
    with quiet(silent), one_command():
        folder = run.path if isinstance(run, Run) else run
        if generator_in(folder) is not None:
            return evaluate_generator(Path(folder), overrides)
        return _evaluate(RunFolder.reopen(folder, "evaluate"), overrides)


def _evaluate(run: RunFolder, overrides: Overrides) -> Report:
    from jaxrec.evaluation.pictures import behaviour_picture  # matplotlib is only for what draws

    config = _load(run, overrides)
    saved = _saved_policy(run)
    note(f"evaluating {run.policy} (update {saved.step}) on {describe_devices()}")
    kind = user_kind(config.env.name)
    judging = kind.judge(config, run, saved)
    env, corpus = kind.make(judging.section, judging.worlds[0].world), judging.corpus
    facts = item_facts(kind.item_rows(env.world), None if corpus is None else corpus.counts + 1.0)
    policies = judged_policies(run, saved, env.world)
    worlds = [env.world if one.world is None else one.world for one in judging.worlds]
    own = judged_by_users(saved, policies, env)
    rivals = own | baselines(env, judging.section, config, corpus)
    results = simulate_all(config, env, worlds, rivals, facts)

    account: dict[str, Any] = {"step": saved.step, "users": config.evaluate.users, "seed": config.seed}
    labelled = list(zip(judging.worlds, results, strict=True))
    sections = {world.name: report.simulated_section(result, world.residuals) for world, result in labelled}
    account["simulators"] = sections
    behaviour = behaviour_picture({world.label: result for world, result in labelled})
    write_text(run.evaluation_picture, behaviour)
    if len(results) > 1:
        account["lift_kept"] = report.lift_kept(*(sections[world.name] for world in judging.worlds[:2]))
    split = ""
    if corpus is not None and not recommenders.names_items(saved.spec):
        note("  held-out rows are not ranked: the policy weighs behaviours that simulated users predict")
    elif corpus is not None:
        split = log_config(config).split
        account |= answers_account(config, rivals, env.world, corpus, saved.spec.history_length)
        del rivals  # the tables of the baselines are large, and those for the held-out log come next
        vectors = np.asarray(kind.item_rows(env.world))
        account |= held_out_account(config, policies, env.world, corpus, vectors, saved.spec.history_length)
    if judging.assumed:
        account["assumed"] = dict(judging.assumed)
    account["verdict"] = verdict(account)
    write_json(run.evaluation, account)
    titles = {world.name: world.title for world in judging.worlds}
    held_out_title = f"held-out log ({split}), whole catalogue; the simple recommenders use all users' training rows"
    people = people_section(config, env, judging.worlds[-1], own[report.POLICY], facts, saved)
    parts = {"titles": titles, "held_out_title": held_out_title, "behaviour": behaviour, "spec": env.spec}
    write_page(run, config, account, **parts, **people)
    return Report(
        account=account,
        titles=titles,
        held_out_title=held_out_title,
        cutoffs=config.evaluate.cutoffs,
        path=run.evaluation,
        picture=run.evaluation_picture,
        page=run.page,
    )


def _saved_policy(run: RunFolder) -> SavedPolicy:
    """The policy of the run, made again from the best checkpoint if it is missing or damaged."""
    from jaxrec.runs.train import rebuild_policy  # which compares policies with functions of this module

    try:
        return load_policy(run.path)
    except InputError as error:
        if not rebuild_policy(run):
            raise
        warn(f"{error} It was made again from the best checkpoint.")
    return load_policy(run.path)


def _load(run: RunFolder, overrides: Overrides) -> Config:
    """The run's config with overrides; raises InputError for settings that training used, which must not change."""
    trained, config = load_config(Config, run.config), load_config(Config, run.config, overrides)
    free = {name: getattr(config.evaluate, name) for name in FREE}
    allowed = dataclasses.replace(trained, evaluate=dataclasses.replace(trained.evaluate, **free))
    if allowed.data is not None and config.data is not None:
        allowed = dataclasses.replace(allowed, data=dataclasses.replace(allowed.data, path=config.data.path))
    if config != allowed:
        raise InputError(
            f"{run.config}: evaluate takes data.path, {', '.join(f'evaluate.{name}' for name in FREE)}; "
            "for other changes, train another run."
        )
    return config


def judged_policies(run: RunFolder, saved: SavedPolicy, world: World) -> dict[str, Deployed]:
    """The policy of the run and, if there are such, its supervised start and the policy that it continued."""
    policies = {report.POLICY: Deployed(saved.policy, saved.params, saved.items)}
    if run.policy_before.is_dir():
        policies[report.BEFORE] = deployed_in(load_policy(run.policy_before), saved.ids, world)
    if (run.pretrain / "policy").is_dir():
        start = load_policy(run.pretrain)
        policies[report.START] = Deployed(start.policy, start.params, start.items)
    return policies


def judged_by_users(saved: SavedPolicy, policies: dict[str, Deployed], env: Env) -> dict[str, Recommender]:
    """Policies as recommenders of their best slates; `saved` is that of the run."""
    if recommenders.names_items(saved.spec):
        return learned(policies, env)
    recommender, arrays_of = recommenders.of_policy(saved.spec, saved.network, env, env.world)
    return {report.POLICY: recommender._replace(arrays=arrays_of(saved.params))}


def learned(policies: dict[str, Deployed], env: Env) -> dict[str, Recommender]:
    """Policies as recommenders of their best slates."""
    size = env.spec.slate_size
    return {name: recommenders.learned(p.policy, size, (p.params, p.items)) for name, p in policies.items()}


def simulate_all(
    config: Config, env: Env, worlds: Sequence[World], rivals: dict[str, Recommender], facts: ItemFacts
) -> list[dict[str, Simulated]]:
    """Simulate every recommender in every world, with the same users and keys."""
    run = make_simulations(env, rivals, config.evaluate.max_steps)
    return [run(world, facts, stream(config, "judge"), config.evaluate.users) for world in worlds]
