"""The evaluation of a policy as a self-contained HTML page: the verdict, tables, curves and examples."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from jaxrec.evaluation.measures import MEASURES, Measures
from jaxrec.evaluation.page import Table
from jaxrec.evaluation.people import Person
from jaxrec.evaluation.pictures import learning_picture
from jaxrec.evaluation.report import (
    CORRECTED,
    POLICY,
    answers_title,
    corrected_cell,
    held_out_tables_of,
    leads_of,
    lift_line,
    picks_title,
)
from jaxrec.evaluation.templates import as_markup, rendered
from jaxrec.evaluation.verdict import NO_RIVALS
from jaxrec.types import EnvSpec

TEMPLATE = "policy_page.html.jinja"  # next to this file
ANSWERS = {True: "use it", False: "do not use it", None: "undecided"}
SHOWN = {"hit_rate": "hit rate", "ndcg": "NDCG"}  # ranking metrics and their titles
CLASSES = {True: "use", False: "not", None: "wait"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PageInputs:
    """What the page shows; parts that do not apply are empty."""

    title: str  # name of the run
    account: Mapping[str, Any]  # evaluation.json
    titles: Mapping[str, str]  # of the simulators, by name
    held_out_title: str
    cutoffs: tuple[int, ...]
    behaviour: str  # SVG
    metrics: Sequence[Mapping[str, Any]]  # rows of metrics.jsonl
    people: Sequence[Person]
    people_of: str  # name of their simulator
    spec: EnvSpec
    links: Mapping[str, str]  # text -> path relative to the page
    recipe: str  # YAML
    facts: Sequence[str]  # lines of the footer


def policy_page(given: PageInputs) -> str:
    """HTML of an evaluation."""
    account = given.account
    picks = account.get("answers", {}).get("picks")
    return rendered(
        TEMPLATE,
        given=given,
        facts=given.facts,
        account=account,
        verdict=account["verdict"],
        answer=ANSWERS[account["verdict"]["use"]],
        answer_class=CLASSES[account["verdict"]["use"]],
        questions=questions_table(account["verdict"]["questions"]),
        policy=POLICY,
        simulators={
            name: (given.titles[name], simulator_table(section), known_table(section))
            for name, section in reversed(account["simulators"].items())  # the one that decides comes first
        },
        held_out=[
            (
                f"{table.targets}, {table.users:,} users",
                held_out_table(account[table.key], given.cutoffs, account["held_out_minus"] if table.decides else {}),
            )
            for table in held_out_tables_of(account)
        ],
        errors={kind: errors_table(errors) for kind, errors in account.get("held_out_feedback", {}).items()},
        answers=answers_table(account["answers"]) if "answers" in account else None,
        answers_title=answers_title(account["answers"]) if "answers" in account else "",
        corrected=any("corrected" in section for section in account["simulators"].values()),
        picks=picks_table(picks) if picks is not None else None,
        picks_title=picks_title(picks) if picks is not None else "",
        lift_line=lift_line(picks) if picks is not None else "",
        people=[(person, slate_table(person, given.spec)) for person in given.people],
        reward=expected_name(given.spec),
        as_reward=lambda value: expected(value, given.spec),
        learning_picture=as_markup(learning_picture),
        behaviour=as_markup(lambda: given.behaviour)(),
    )


def questions_table(questions: Mapping[str, Any]) -> Table:
    """Which rivals the policy beats, by where they are compared."""
    rows = [
        [
            one["about"],
            *(", ".join(one[key]) or "none" for key in ("better", "equal", "worse")),
            f"{one['closest']}: {one['lead']:+.4g} ±{one['half_width']:.2g}",
        ]
        for one in questions.values()
    ]
    return Table(["Compared by", "Better than", "No different from", "Worse than", "Closest rival, lead"], rows)


def simulator_table(section: Mapping[str, Any], measures: Measures = MEASURES) -> Table:
    """One row per recommender, best return first: the measures, and the policy's paired lead over it."""
    corrected = section.get("corrected")
    titles = [measure.title for measure in measures.values()] + ([CORRECTED] if corrected is not None else [])
    rows = [
        [
            name,
            *("-" if row[key] is None else measure.cell.format(row[key]) for key, measure in measures.items()),
            *([corrected_cell(corrected, name)] if corrected is not None else []),
            lead(name, leads_of(section), 2),
        ]
        for name, row in sorted(section["recommenders"].items(), key=lambda row: -row[1]["return"])
    ]
    return Table(["recommender", *titles, "policy's lead"], rows)


def lead(name: str, leads: Mapping[str, Sequence[float]], decimals: int) -> str:
    """Format the policy's lead over a recommender with half its 95% interval, and say where a rival is not beaten."""
    if name not in leads:
        return "-"
    mean, half = leads[name]
    said = "" if mean > half or name in NO_RIVALS else ", worse" if mean < -half else ", no different"
    return f"{mean:+.{decimals}f} ±{half:.{decimals}f}{said}"


def known_table(section: Mapping[str, Any]) -> Table | None:
    """Returns by the rows that were known of a user, best policy first; None if users have no history."""
    groups = section["by_known_rows"]
    if POLICY not in groups:
        return None
    order = sorted(groups, key=lambda name: -section["recommenders"][name]["return"])
    head = [f"{name} rows ({group['users']:,} users)" for name, group in groups[POLICY].items()]
    rows = [[name, *(f"{g['return']:.2f} ±{g['half_width']:.2f}" for g in groups[name].values())] for name in order]
    return Table(["recommender", *head], rows)


def held_out_table(
    metrics: Mapping[str, Mapping[str, float]], cutoffs: Sequence[int], leads: Mapping[str, Sequence[float]]
) -> Table:
    """One row per recommender, highest NDCG first, and the policy's paired lead in NDCG@10 if `leads` has it."""
    names = {f"{kind}@{k}": f"{title}@{k}" for k in cutoffs for kind, title in SHOWN.items()}
    order = sorted(metrics, key=lambda name: -metrics[name][f"ndcg@{cutoffs[-1]}"])
    extra = {name: [lead(name, leads, 4)] if leads else [] for name in order}
    rows = [[name, *(f"{metrics[name][key]:.4f}" for key in names), *extra[name]] for name in order]
    return Table(["recommender", *names.values(), *(["policy's lead, NDCG@10"] if leads else [])], rows)


def answers_table(section: Mapping[str, Any]) -> Table:
    """AUC within users of each recommender, best first, and the policy's paired lead over it."""
    rows = [
        [name, f"{value:.4f}", lead(name, section["policy_minus"], 4)]
        for name, value in sorted(section["auc"].items(), key=lambda row: -row[1])
    ]
    return Table(["recommender", "AUC within users", "policy's lead"], rows)


def picks_table(section: Mapping[str, Any]) -> Table:
    """Mean rewards of what recommenders picked among real answers, best first, real and as promised."""
    promised = section.get("promised", {})
    rows = [
        [
            name,
            f"{value:.4f}",
            f"{promised[name]:.4f}" if name in promised else "-",
            lead(name, section["policy_minus"], 4),
        ]
        for name, value in sorted(section["reward"].items(), key=lambda row: -row[1])
    ]
    return Table(["recommender", "real", "promised", "policy's lead"], rows)


def errors_table(errors: Mapping[str, Mapping[str, float]]) -> Table:
    """Errors of recommenders that predict feedback."""
    rows = [[name, f"{row['mae']:.3f}", f"{row['rmse']:.3f}"] for name, row in errors.items()]
    return Table(["recommender", "mean absolute error", "root mean squared error"], rows)


def slate_table(person: Person, spec: EnvSpec) -> Table:
    """The slate in its order, what the user will probably do, and why."""
    rows = [
        [
            shown.title,
            expected(shown.expected, spec),
            f"{shown.nearest} ({shown.similarity:.2f})" if shown.nearest else "nothing liked yet",
        ]
        for shown in person.slate
    ]
    return Table(["recommended", expected_name(spec), "most similar liked item (cosine of texts)"], rows)


def _only_kind(spec: EnvSpec) -> str | None:
    """The kind of feedback whose probability is the reward, if it is one alone."""
    weighted = [name for name, weight in zip(spec.feedback, spec.reward_weights, strict=False) if weight]
    return weighted[0] if len(weighted) == 1 and sum(spec.reward_weights) == 1 else None


def expected_name(spec: EnvSpec) -> str:
    """The name of the expected reward of an item."""
    kind = _only_kind(spec)
    return "expected reward" if kind is None else f"chance of '{kind}'"


def expected(value: float, spec: EnvSpec) -> str:
    """Format an expected reward."""
    return f"{value:.2f}" if _only_kind(spec) is None else f"{value:.0%}"
