"""`jaxrec rank-with-lm`."""

import argparse
import json

from rich import box
from rich.table import Table

from jaxrec.cli.evaluate import print_slate, slate_json
from jaxrec.cli.runtime import prepare
from jaxrec.language.rank import Prompting
from jaxrec.progress import quiet
from jaxrec.runs.rank_with_lm import LANGUAGE_MODEL, LmReport, LmSettings, as_json, rank_for_history, rank_held_out
from jaxrec.terminal import console


def run_rank(options: argparse.Namespace) -> int:
    """Print HR@1 and MRR on held-out rows, or the best candidates for a history."""
    prepare()
    settings = LmSettings(
        users=options.users,
        candidates=options.candidates,
        history_length=options.history_length,
        prompting=Prompting(template=options.prompt.replace("\\n", "\n"), chat=options.chat, prior=options.prior),
        dtype=options.dtype,
        seed=options.seed,
    )
    with quiet(options.json):
        if options.history is not None:
            slate = rank_for_history(
                options.model, options.config, options.history, options.k, options.overrides, settings
            )
            if options.json:
                print(slate_json(slate))
            else:
                print_slate(slate, f"{len(slate)} of {settings.candidates} candidates, best first by {options.model}")
            return 0
        report = rank_held_out(options.model, options.config, options.overrides, settings)
    print(json.dumps(as_json(report))) if options.json else _show(report)
    return 0


def _show(report: LmReport) -> None:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("recommender", "HR@1", "MRR", "language model's lead in MRR"):
        table.add_column(name, justify="left" if name == "recommender" else "right")
    for name, row in report.table.items():
        lead = "" if name == LANGUAGE_MODEL else _cell(report.lead[name], sign=True)
        table.add_row(name.replace("_", " "), _cell(row["hr@1"]), _cell(row["mrr"]), lead)
    console().print(table)
    print(
        f"{report.users} held-out users, {report.candidates} candidates each: the next liked item and others drawn by "
        f"popularity; ± is half a 95% interval\n"
        f"the language model took {report.seconds:.1f} s, {report.seconds / report.users:.2f} s per user"
    )


def _cell(value: tuple[float, float], sign: bool = False) -> str:
    mean, half = value
    return f"{mean:+.3f} ± {half:.3f}" if sign else f"{mean:.3f} ± {half:.3f}"
