"""The validity report as a self-contained HTML page: verdicts, pictures, and how each figure is computed."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxrec.evaluation.templates import as_markup, rendered

WANTED_ECE, WANTED_KS = 0.03, 0.1

TEMPLATE = "page.html.jinja"  # next to this file


class Finding(NamedTuple):
    """One row of the table of verdicts."""

    question: str
    seen: str
    wanted: str
    answer: str  # yes, no, or why neither


class Table(NamedTuple):
    """The cells of a table."""

    head: list[str]
    rows: list[list[str]]  # the first cell names the row


def findings(report: dict[str, Any]) -> list[Finding]:
    """List the verdicts in the order of the page."""
    lines = []
    for name, kind in report["feedback"].items():
        if "assumed" in kind:
            lines += _ranks(name, kind)
            continue
        model, means, error = kind["auc"], kind["auc_running_means"], kind["ece"]
        better = "only one class" if model is None or means is None else _yes(model > means)
        question = f"Is '{name}' predicted better than by running means?"
        lines.append(Finding(question, f"AUC {figure(model)}", f"above {figure(means)}", better))
        question = f"Are the probabilities of '{name}' calibrated?"
        literal = _yes(error < WANTED_ECE)
        lines.append(Finding(question, f"calibration error {figure(error)}", f"below {WANTED_ECE:g}", literal))
    for name, rate in report["feedback_rates"].items():
        lines.append(_alike(f"Do users give '{name}' as often as in the log?", rate))
    lengths = report["session_lengths"]
    if "ks" in lengths:
        alike = _alike("Are visits as long as in the log?", lengths)
        lines.append(alike if lengths["users_leave"] else alike._replace(answer="no leave model"))
    days = report.get("comeback_days", {})
    if "ks" in days:
        lines.append(_alike("Do users stay away as long as in the log?", days))
        seen, wanted = f"log loss {days['nll']:.3f}", f"below {days['nll_one_chance']:.3f}"
        known = _yes(days["nll"] < days["nll_one_chance"])
        lines.append(Finding("Does the model predict who comes back sooner?", seen, wanted, known))
    return lines


def _ranks(name: str, kind: dict[str, Any]) -> list[Finding]:
    """Verdicts on a kind that is 1 in every row."""
    model, popular = kind["auc"], kind["auc_item_count"]
    better = "nothing to compare" if model is None or popular is None else _yes(model > popular)
    rate = f"mean {kind['assumed']['base_rate']:g}, as stated"
    question = f"Are the probabilities of '{name}' calibrated?"
    calibrated = Finding(question, rate, "rows without it", "assumed")
    question = f"Is '{name}' ranked better than by popularity?"
    return [Finding(question, f"AUC {figure(model)}", f"above {figure(popular)}", better), calibrated]


def _alike(question: str, compared: dict[str, Any]) -> Finding:
    distance = compared["ks"]
    chance = WANTED_KS <= distance < compared["ks_by_chance"]
    answer = "too few to tell" if chance else _yes(distance < WANTED_KS)
    return Finding(question, f"KS distance {distance:.3f}", f"below {WANTED_KS:g}", answer)


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def figure(value: float | None) -> str:
    """Format with four decimals; a dash for the AUC of test rows that are all of one class."""
    return "-" if value is None else f"{value:.4f}"


def validity_page(report: dict[str, Any], title: str, facts: Sequence[str]) -> str:
    """HTML of a validity report; `facts` are the lines of the footer: the log, the models and the versions."""
    from jaxrec.evaluation.pictures import distribution_picture, reliability_picture  # and with them matplotlib

    return rendered(
        TEMPLATE,
        report=report,
        title=title,
        facts=facts,
        findings=findings(report),
        feedback_table=_feedback_table(report["feedback"]),
        effects=report["fit"].get("effects"),
        effects_table=_effects_table(report["fit"].get("effects")),
        rare_table=_rare_table(report["rare_items"], report["feedback"]),
        reliability_picture=as_markup(reliability_picture),
        distribution_picture=as_markup(distribution_picture),
    )


def _effects_table(effects: dict[str, Any] | None) -> Table:
    """The tried short-term effects, with the interval that decided, and how fast each wears off."""
    head = ["Effect", "Feedback", "Added to the logit", "Interval", "Half is gone after", "Result"]
    if effects is None:
        return Table(head, [])
    rows = []
    for kind, tried in effects["feedback"].items():
        for name, one in tried.items():
            known = one["low"] is not None
            interval = f"{one['low']:+.3g} to {one['high']:+.3g}" if known else "-"
            keep = effects["keep"].get(name)
            half = "-" if keep is None else f"{np.log(0.5) / np.log(keep):.1f} rows"
            added = f"{one['coefficient']:+.3g}" if one["coefficient"] else "0"
            rows.append([name, kind, added, interval, half, "kept" if one["coefficient"] else "left out"])
    return Table(head, rows)


COLUMNS = {
    "base_rate": "Base rate",
    "mean_probability": "Mean probability",
    "ece": "Calibration error",
    "auc": "AUC of the model",
    "auc_running_means": "AUC of running means",
    "auc_item_mean": "AUC of the item's mean",
    "auc_item_count": "AUC of the item's count",
}


def _feedback_table(feedback: dict[str, Any]) -> Table:
    rows = [[title, *(figure(kind[column]) for kind in feedback.values())] for column, title in COLUMNS.items()]
    return Table(["", *feedback], rows)


def _rare_table(rare: dict[str, Any], feedback: dict[str, Any]) -> Table:
    titles = {"auc": "AUC of the model", "auc_without_text": "AUC without item texts"}
    rows = [[title, *(figure(rare[key][name]) for name in feedback)] for key, title in titles.items() if key in rare]
    below = f"Items with fewer than {rare['fewer_training_rows_than']} earlier rows ({rare['test_rows']:,} test rows)"
    return Table([below, *feedback], rows)
