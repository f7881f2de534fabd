"""Write the page of an evaluation into its run."""

import datetime
from typing import Any

from jaxrec.config.schema import Config
from jaxrec.evaluation.people import has_people, meet_people
from jaxrec.evaluation.simulate import ItemFacts, Recommender
from jaxrec.runs.devices import describe_devices
from jaxrec.runs.half_written import read_rows
from jaxrec.runs.streams import stream
from jaxrec.runs.users.fitted_folder import PAGE
from jaxrec.runs.users.kind import JudgingWorld
from jaxrec.serve import SavedPolicy
from jaxrec.storage.files import write_text
from jaxrec.storage.run import RunFolder
from jaxrec.types import Env
from jaxrec.version import __version__


def people_section(
    config: Config, env: Env, last: JudgingWorld, policy: Recommender, facts: ItemFacts, saved: SavedPolicy
) -> dict[str, Any]:
    """Fields of the page about five users of the `last` world, the one that judges best; empty where none applies."""
    if not has_people(env) or len(saved.titles) != env.spec.num_items:
        return {"people": (), "people_of": ""}
    world = env.world if last.world is None else last.world
    people = meet_people(env, world, policy, facts, saved.titles, stream(config, "people"))
    return {"people": people, "people_of": last.name}


def write_page(run: RunFolder, config: Config, account: dict[str, Any], **fields: Any) -> None:
    """Write `report.html`; `fields` are the remaining ones of `PageInputs`."""
    from jaxrec.evaluation.policy_page import PageInputs, policy_page  # matplotlib is only for what draws

    files = {
        "how far to trust the simulated users": f"{run.simulators.name}/{PAGE}",
        "all figures": run.evaluation.name,
        "the recipe": run.config.name,
    }
    inputs = PageInputs(
        title=run.path.resolve().name,
        account=account,
        cutoffs=config.evaluate.cutoffs,
        metrics=read_rows(run.metrics),
        links={text: path for text, path in files.items() if (run.path / path).is_file()},
        recipe=run.config.read_text(encoding="utf-8"),
        facts=facts_of(config, account),
        **fields,
    )
    write_text(run.page, policy_page(inputs))


def facts_of(config: Config, account: dict[str, Any]) -> list[str]:
    """Lines of the footer: what was judged, with what, and when."""
    now = datetime.datetime.now(datetime.UTC)
    return [
        f"Policy of update {account['step']:,}, learner {config.learner.name}, users {config.env.name}.",
        f"Judged with {account['users']:,} simulated users, seed {account['seed']}.",
        f"jaxrec {__version__}, {describe_devices()}, {now:%Y-%m-%d %H:%M} UTC.",
    ]
