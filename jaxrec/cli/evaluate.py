"""`jaxrec evaluate` and `jaxrec recommend`."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Any

from jaxrec.bounded import parse_json
from jaxrec.checks import InputError
from jaxrec.cli.runtime import prepare
from jaxrec.data.log import counted
from jaxrec.runs.evaluate import evaluate
from jaxrec.runs.evaluate_generative import GeneratorReport
from jaxrec.runs.recommend import recommend
from jaxrec.serve import Recommendation
from jaxrec.serve.reasons import LANGUAGE_MODEL, Reason
from jaxrec.terminal import console


def run_evaluate(options: argparse.Namespace) -> int:
    """Print the tables and write `evaluation.json` and `report.html` into the run."""
    prepare()
    report = evaluate(options.run, options.overrides)
    report.show()
    if isinstance(report, GeneratorReport):
        print(f"figures of the simulators written to {report.path}")
        return 0
    print(f"report written to {report.path}, picture of user behaviour to {report.picture}")
    print(f"to read in a browser: {report.page}")
    return 0


def run_recommend(options: argparse.Namespace) -> int:
    """Print ids, titles and scores of the k best items."""
    history = options.history if options.history_json is None else _from_json(options.history_json)
    found = recommend(
        options.run,
        options.k,
        history=history,
        user=options.user,
        data=options.data,
        explain=options.explain,
        words=options.words,
    )
    if found.skipped:
        items = counted(found.skipped, "item")
        print(f"skipped {items} of the user's history that the policy does not know", file=sys.stderr)
    if options.json:
        print(slate_json(found.slate, found.reasons or ()))
    else:
        title = f"{len(found.slate)} recommendations from {options.run} (step {found.step})"
        print_slate(found.slate, title, found.reasons or ())
        if options.words is not None:
            written = sum(reason.sentence_by == LANGUAGE_MODEL for reason in found.reasons or ())
            print(f"sentences by {options.words}: {written}, by the template: {len(found.slate) - written}")
    return 0


def _from_json(text: str) -> list[Any]:
    """Read a list of ids and of objects like {"item": "318", "rating": 4.5}."""
    try:
        history = parse_json(text)
    except ValueError as error:
        raise InputError(f'--history-json: no JSON ({error}); expected a list such as ["318"].') from None
    if not isinstance(history, list) or not all(isinstance(entry, str | int | dict) for entry in history):
        raise InputError(
            '--history-json: expected a list of ids and of objects, as in [318, {"item": "7", "rating": 4}].'
        )
    return history


def slate_json(slate: Sequence[Recommendation], reasons: Sequence[Reason] = ()) -> str:
    """A slate as a JSON list, with the reasons if there are any."""
    rows = [dataclasses.asdict(item) for item in slate]
    for row, reason in zip(rows, reasons, strict=False):
        row["reason"] = dataclasses.asdict(reason)
    return json.dumps(rows, ensure_ascii=False)


def print_slate(slate: Sequence[Recommendation], title: str, reasons: Sequence[Reason] = ()) -> None:
    """Print a slate as a table, best first, with the reasons if there are any."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title))
    table.add_column("rank", justify="right")
    table.add_column("id")
    table.add_column("title and reason" if reasons else "title", overflow="fold")
    table.add_column("score", justify="right")
    for rank, item in enumerate(slate, 1):
        reason = f"\n[dim]{escape(reasons[rank - 1].sentence)}[/dim]" if reasons else ""
        table.add_row(str(rank), escape(item.id), escape(item.title) + reason, f"{item.score:.3f}")
    console().print(table)
