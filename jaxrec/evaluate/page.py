"""The validity report as one page that needs nothing else: a verdict, pictures, and how each figure is computed."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, NamedTuple

from jaxrec.evaluate.pictures import distribution_picture, reliability_picture

WANTED_ECE, WANTED_KS = 0.03, 0.1

STYLE = """\
:root { color-scheme: only light; }
body { max-width: 46rem; margin: 0 auto; padding: 1rem; background: #fff; color: #1a1a1a;
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
div { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { padding: .35rem .6rem .35rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #d4d4d4; }
td.n { font-variant-numeric: tabular-nums; white-space: nowrap; } td.no { font-weight: 700; color: #9a3412; }
figure { margin: 1rem 0; break-inside: avoid; } svg { width: 100%; max-width: 32rem; height: auto; }
figcaption, footer { font-size: .9rem; color: #404040; } dt { font-weight: 600; margin-top: .8rem; } dd { margin: 0; }
@media (max-width: 30rem) { body { padding: .7rem; } table { font-size: .8rem; } td.n { white-space: normal; } }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; } svg { max-width: 11cm; } h2 { break-after: avoid; }
}
"""


class Finding(NamedTuple):
    """One line of the verdict."""

    question: str
    seen: str
    wanted: str
    answer: str  # yes, no, or why neither


def findings(report: dict[str, Any]) -> list[Finding]:
    """What a reader needs first, in the order of the page."""
    lines = []
    for name, kind in report["feedback"].items():
        model, means, error = kind["auc"], kind["auc_running_means"], kind["ece"]
        better = "one kind of rows" if model is None or means is None else _yes(model > means)
        question = f"Is '{name}' predicted better than by running means?"
        lines.append(Finding(question, f"AUC {figure(model)}", f"above {figure(means)}", better))
        question = f"Can probabilities of '{name}' be taken literally?"
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
        lines.append(Finding("Is it told who comes back sooner?", seen, wanted, known))
    return lines


def _alike(question: str, compared: dict[str, Any]) -> Finding:
    distance = compared["ks"]
    chance = WANTED_KS <= distance < compared["ks_by_chance"]
    answer = "too few to tell" if chance else _yes(distance < WANTED_KS)
    return Finding(question, f"KS distance {distance:.3f}", f"below {WANTED_KS:g}", answer)


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def figure(value: float | None) -> str:
    """Four decimals; a dash where the test rows are all of one kind and there is no AUC."""
    return "-" if value is None else f"{value:.4f}"


def validity_page(report: dict[str, Any], title: str, facts: Sequence[str]) -> str:
    """HTML of a validity report; `facts` stand at the end: what was fitted to what, when, with which versions."""
    share, rows = report["test_share"], report["test_rows"]
    parts = [
        f"<h1>How far to believe {escape(title)}</h1>",
        f"<p>Simulated users are a model fitted to a log. For this report the model was fitted to the earlier "
        f"{1 - share:.0%} of the log in time and compared with the latest {share:.0%}, {rows:,} rows that it had "
        "not seen.</p>",
        _table(("", "Seen", "Wanted", "Verdict"), findings(report)),
        *_pictures(report),
        "<h2>All figures</h2>",
        _feedback_table(report["feedback"]),
        _rare_table(report["rare_items"], report["feedback"]),
        "<h2>How each figure is computed</h2>",
        _explanations(report),
        f"<footer><p>{'<br>'.join(map(escape, facts))}</p></footer>",
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}: validity</title><style>{STYLE}</style>"
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _pictures(report: dict[str, Any]) -> list[str]:
    return [*_predictions(report), *_behaviour(report), *_comebacks(report.get("comeback_days", {}))]


def _predictions(report: dict[str, Any]) -> list[str]:
    parts = ["<h2>Predicted and observed</h2>"]
    for name, kind in report["feedback"].items():
        caption = (
            f"'{name}': rows with the same predicted probability should have it about that often, on the grey line. "
            "Points over few rows scatter."
        )
        parts.append(_figure(reliability_picture(name, kind["reliability"]), caption))
    return parts


def _behaviour(report: dict[str, Any]) -> list[str]:
    parts = ["<h2>Simulated and logged users</h2>"]
    for name, rate in report["feedback_rates"].items():
        caption = (
            f"Share of '{name}' of each of {rate['users']:,} users over the same {rate['rows']:,} rows: "
            f"on average {rate['simulated_mean']:.3f} simulated, {rate['logged_mean']:.3f} logged."
        )
        parts.append(_figure(distribution_picture(f"share of '{name}' of a user", rate), caption))
    lengths = report["session_lengths"]
    if "ks" not in lengths:
        return [*parts, f"<p>Visit lengths are not compared: {escape(lengths['left_out'])}.</p>"]
    leave = "" if lengths["users_leave"] else " This recipe has no leave model, so every visit lasts that long."
    caption = (
        f"Items of a visit, {lengths['sessions']:,} visits: on average {lengths['simulated_mean']:.1f} simulated, "
        f"{lengths['logged_mean']:.1f} logged. A simulated visit has at most {lengths['most_items']} items; "
        f"{lengths['logged_share_longer']:.0%} of the log's are longer. Cut at that length, the KS distance is "
        f"{lengths['ks_cut_alike']:.3f}.{leave}"
    )
    return [*parts, _figure(distribution_picture("items of a visit", lengths, wide=True), caption)]


def _comebacks(days: dict[str, Any]) -> list[str]:
    if "left_out" in days:
        return [f"<p>Days until users come back are not compared: {escape(days['left_out'])}.</p>"]
    if not days:
        return []
    caption = (
        f"Days until users came back after {days['comebacks']:,} later sessions, at most ten: on average "
        f"{days['simulated_mean']:.2f} simulated, {days['logged_mean']:.2f} logged."
    )
    return [_figure(distribution_picture("days until the next session", days), caption)]


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


COLUMNS = {
    "base_rate": "Base rate",
    "mean_probability": "Mean probability",
    "ece": "Calibration error",
    "auc": "AUC of the model",
    "auc_running_means": "AUC of running means",
    "auc_item_mean": "AUC of the item's mean",
    "auc_item_count": "AUC of the item's count",
}


def _feedback_table(feedback: dict[str, Any]) -> str:
    rows = ((title, *(figure(kind[column]) for kind in feedback.values())) for column, title in COLUMNS.items())
    return _table(("", *feedback), rows)


def _rare_table(rare: dict[str, Any], feedback: dict[str, Any]) -> str:
    titles = {"auc": "AUC of the model", "auc_without_text": "AUC without item texts"}
    rows = ((title, *(figure(rare[key][name]) for name in feedback)) for key, title in titles.items() if key in rare)
    below = f"Items with fewer than {rare['fewer_training_rows_than']} earlier rows: {rare['test_rows']:,} later rows"
    return _table((below, *feedback), rows)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    def cell(text: str, column: int) -> str:
        kind = "" if column == 0 else ' class="no"' if text == "no" else ' class="n"'
        return f"<td{kind}>{escape(text)}</td>"

    heads = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join("<tr>" + "".join(cell(t, n) for n, t in enumerate(row)) + "</tr>" for row in rows)
    return f"<div><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"


def _explanations(report: dict[str, Any]) -> str:
    answers = {
        "AUC": "The chance that a later row with the feedback gets a higher probability than one without it, ties "
        "counted half; .5 is a coin. Each row is predicted from all earlier rows of its user, later ones included, "
        "and from items as the earlier rows left them.",
        "Running means": "The sum of the user's and the item's mean feedback over everything before the row, each "
        "drawn to the log's mean by five rows. It needs no model and is hard to beat, since it follows both in time.",
        "The item's mean and count": "The mean feedback and the number of the item's earlier rows, the same for every "
        "user. The model has to be better than both to say anything about persons.",
        "Calibration error": "Later rows are sorted into fifteen bins of equal width by their predicted probability. "
        "The error is the mean gap between the predicted and the observed share, weighted by the rows of the bins.",
        "Feedback of simulated users": "Each user's later items are shown once more, in order, in slates of the "
        "environment, beginning from the user's real history; only the answers are simulated. The shares of each user "
        "over exactly the same rows make the two distributions.",
        "Length of a visit": "In the log, a visit is a user's rows without a pause of more than 30 minutes. Simulated "
        "visits begin at the same rows, show the user's next items (then items of other users' later rows), and count "
        "what was shown until the user left or the visit was cut.",
        "KS distance": "The largest gap between two distribution functions, from 0 (the same) to 1 (apart). "
        "Where two samples of this size from one distribution would exceed it in one case of twenty, there are too "
        "few to tell.",
    }
    if "comeback_days" in report:
        answers["Days until users come back"] = (
            "A model of comeback days is fitted to the earlier sessions and draws those after the later ones. The "
            "log loss is the mean negative log-likelihood of the later days; one chance for everybody, from the "
            "earlier mean, is what it has to beat to know anything about persons."
        )
    if "auc_without_text" in report["rare_items"]:
        answers["Without item texts"] = (
            "The model is fitted once more with the same seed and no text vectors, and both are judged on the rare "
            "items. The difference is what texts add where ratings say little; with one seed small ones mean nothing."
        )
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in answers.items()) + "</dl>"
