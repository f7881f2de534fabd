"""The evaluation report of a policy: a dictionary for `evaluation.json` and tables for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.table import Table

from jaxrec.evaluation.corrected import Residuals, corrected_lead, corrected_return
from jaxrec.evaluation.measures import MEASURES, Measures, by_known_rows
from jaxrec.evaluation.simulate import Simulated
from jaxrec.terminal import console

POLICY, POPULAR, FIXED, GREEDY = "policy", "most_popular", "best_fixed", "greedy_response"
POSTERIOR = "posterior_mean"  # what the fitted tastes themselves expect of a person
TRUE_TASTES = "true_tastes"  # what the people who wrote the log like most, where that is known
START = "supervised_start"  # the policy that learning started from, fitted to the log alone
CORRECTED = "corrected"  # title of returns that real answers correct
BEFORE = "policy_before"  # the policy that a continued run started from
SHORT = {"hit_rate": "HR", "recall": "R", "precision": "P", "ndcg": "N"}


def simulated_section(results: dict[str, Simulated], residuals: Residuals | None = None) -> dict[str, Any]:
    """Summaries by recommender, the policy's paired lead over each (mean and half width of its 95% interval), and
    the share of the gap from the best fixed ranking to greedy that the policy closes.

    With the `residuals` of the simulator, also the corrected returns and leads (`jaxrec.evaluation.corrected`).
    Oracles know what it holds back, so theirs are not corrected.
    """
    policy = results[POLICY]
    section: dict[str, Any] = {
        "recommenders": {name: result.summary() for name, result in results.items()},
        "by_known_rows": {name: by_known_rows(result) for name, result in results.items() if result.known.any()},
        "policy_minus": {name: policy.minus(result) for name, result in results.items() if name != POLICY},
    }
    if FIXED in results and GREEDY in results:
        gap = results[GREEDY].mean - results[FIXED].mean
        section["gap"] = gap
        section["gap_closed"] = (results[POLICY].mean - results[FIXED].mean) / gap if gap > 0 else None
    if residuals is not None:
        known = {name: result for name, result in results.items() if name != GREEDY}
        section["corrected"] = {name: corrected_return(result, residuals) for name, result in known.items()}
        section["corrected_minus"] = {
            name: corrected_lead(policy, result, residuals) for name, result in known.items() if name != POLICY
        }
    return section


def lift_kept(train: Mapping[str, Any], judge: Mapping[str, Any]) -> float | None:
    """Lift over most popular in the judging simulator as a share of the lift in the training simulator.

    Both are sections of evaluation.json; corrected leads count where there are any.
    """
    lift = train["policy_minus"][POPULAR][0]
    return leads_of(judge)[POPULAR][0] / lift if lift > 0 else None


def leads_of(section: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """The policy's leads in a simulator, corrected where that is possible."""
    return section.get("corrected_minus", section["policy_minus"])


def print_simulated(title: str, section: dict[str, Any], measures: Measures = MEASURES) -> None:
    """Print one row per recommender, best return first, and one column per measure."""
    corrected = section.get("corrected")
    extra = () if corrected is None else (CORRECTED,)
    table = _table(title, (*(measure.title for measure in measures.values()), *extra))
    for name, row in sorted(section["recommenders"].items(), key=lambda row: -row[1]["return"]):
        cells = [_cell(row[key], measure.cell) for key, measure in measures.items()]
        cells += [corrected_cell(corrected, name)] if corrected is not None else []
        table.add_row(name, *cells, style="bold" if name == POLICY else None)
    _console().print(table)
    leads = (f"{name} {lead:+.2f} ±{half:.2f}" for name, (lead, half) in leads_of(section).items())
    if section["policy_minus"]:
        how = "" if corrected is None else ", corrected"
        _console().print(f"policy minus each recommender, per user{how}: {', '.join(leads)}\n", highlight=False)


def corrected_cell(corrected: Mapping[str, Sequence[float]], name: str) -> str:
    """The corrected return of a recommender with half its 95% interval; a dash for oracles."""
    return "{:.2f} ±{:.2f}".format(*corrected[name]) if name in corrected else "-"


def answers_title(section: dict[str, Any]) -> str:
    """What the table of real answers is about."""
    return (
        f"order of {section['rows']:,} real answers of {section['users']:,} people not used in training, after the "
        "first half of their rows"
    )


def picks_title(section: dict[str, Any]) -> str:
    """What the table of picks is about."""
    return (
        f"mean real reward of the {section['items']} items that each recommender ranks highest among those answers, of "
        f"the {section['users']:,} people with enough of them"
    )


def lift_line(picks: Mapping[str, Any]) -> str:
    """How much of the promised lift is real; empty if nothing was promised."""
    if "lift_real" not in picks:
        return ""
    return (
        f"share of the promised lift over random picks that is real: {picks['lift_real']:.0%} "
        f"±{picks['lift_real_95']:.0%}"
    )


def print_answers(section: dict[str, Any]) -> None:
    """Print how well recommenders order the real answers, and what they picked, best first."""
    table = _table(answers_title(section), ("AUC within users", "policy's lead"))
    for name, value in sorted(section["auc"].items(), key=lambda row: -row[1]):
        table.add_row(
            name, f"{value:.4f}", _lead(section["policy_minus"], name, 4), style="bold" if name == POLICY else None
        )
    _console().print(table)
    if (picks := section.get("picks")) is None:
        return
    promised = picks.get("promised", {})
    table = _table(picks_title(picks), ("real", "promised", "policy's lead"))
    for name, value in sorted(picks["reward"].items(), key=lambda row: -row[1]):
        cells = f"{value:.4f}", _cell(promised.get(name), "{:.4f}"), _lead(picks["policy_minus"], name, 4)
        table.add_row(name, *cells, style="bold" if name == POLICY else None)
    _console().print(table)
    if line := lift_line(picks):
        _console().print(f"{line}\n", highlight=False)


def _lead(leads: Mapping[str, Sequence[float]], name: str, decimals: int) -> str:
    return "{:+.{n}f} ±{:.{n}f}".format(*leads[name], n=decimals) if name in leads else ""


class HeldOutTable(NamedTuple):
    """A ranking table of evaluation.json."""

    key: str  # of the entry
    targets: str  # which test rows recommenders should find
    users: int  # number of users with such rows
    decides: bool  # whether the paired leads belong to it


def held_out_tables_of(account: Mapping[str, Any]) -> list[HeldOutTable]:
    """The ranking tables, that of the positive rows first; none without a log."""

    def table(key: str, targets: str, decides: bool) -> HeldOutTable:
        return HeldOutTable(key, targets, int(next(iter(account[key].values()))["users"]), decides)

    if "held_out" not in account:
        return []
    liked = account.get("held_out_liked")
    if liked is None or liked == account["held_out"]:
        return [table("held_out", "every test row", True)]
    kind = f"'{account['target']}'"
    with_it = table("held_out_liked", f"test rows with {kind}", True)
    return [with_it, table("held_out", f"every test row, also those without {kind}", False)]


def print_held_out_account(title: str, account: dict[str, Any], cutoffs: tuple[int, ...]) -> None:
    """Print the tables of positive and of all test rows, unless these are the same, and the errors of predictions."""
    for table in held_out_tables_of(account):
        print_held_out(f"{title}; targets: {table.targets}, {table.users:,} users", account[table.key], cutoffs)
    for kind, errors in account.get("held_out_feedback", {}).items():
        rows = (f"{name} MAE {row['mae']:.3f}, RMSE {row['rmse']:.3f}" for name, row in errors.items())
        _console().print(f"predicted '{kind}' of the held-out rows: {'; '.join(rows)}", highlight=False)


def print_held_out(title: str, metrics: dict[str, dict[str, float]], cutoffs: tuple[int, ...]) -> None:
    """Print one row per recommender and one column per metric and cutoff.

    With one target per user, recall is the hit rate and precision the hit rate over k, so they are not printed.
    """
    single = all(row[f"hit_rate@{k}"] == row[f"recall@{k}"] for row in metrics.values() for k in cutoffs)
    kinds = {"hit_rate": "HR", "ndcg": "N"} if single else SHORT
    names = {f"{kind}@{k}": f"{short}@{k}" for k in cutoffs for kind, short in kinds.items()}
    table = _table(title, tuple(names.values()))
    for recommender, row in metrics.items():
        cells = (f"{row[name]:.4f}" for name in names)
        table.add_row(recommender, *cells, style="bold" if recommender == POLICY else None)
    _console().print(table)


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", padding=(0, 1, 0, 0))
    table.add_column("recommender", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _console() -> Any:
    """As wide as the terminal, or wide enough for every table if the output is a file."""
    found = console()
    return found if found.is_terminal else console(width=120)
