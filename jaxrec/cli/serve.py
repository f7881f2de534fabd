"""`jaxrec serve`, `jaxrec serve-report` and `jaxrec export`."""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxrec.checks import InputError
from jaxrec.cli.runtime import prepare
from jaxrec.progress import note
from jaxrec.serve.keys import SCOPES
from jaxrec.terminal import console


def run_serve(options: argparse.Namespace) -> int:
    """Serve until a signal, whose status it gives; with --new-key, make a key only."""
    from jaxrec.runs.serve import new_key, plan_of, serve

    given = {name: getattr(options, name) for name in ("host", "port", "state")}
    flags = [f"serve.{name}={_as_yaml(name, value)}" for name, value in given.items() if value is not None]
    plan = plan_of(options.run, [*options.overrides, *flags])
    if options.new_key is None:
        if options.scopes is not None:
            raise InputError("--scopes: only used with --new-key; add --new-key NAME.")
        prepare()
        number = serve(options.run, plan)
        note("stopped", aside=True)
        return 128 + number if number else 0
    scopes = SCOPES[:2] if options.scopes is None else [one.strip() for one in options.scopes.split(",")]
    print(new_key(plan, options.new_key, scopes))
    note(f"the key above is stored as a hash only; it may {', '.join(scopes)}", aside=True)
    return 0


def _as_yaml(name: str, value: str) -> str:
    """Write an option as the value of an override: numbers as they are, names as text, whatever they look like."""
    return value if name == "port" else json.dumps(value)


def run_serve_report(options: argparse.Namespace) -> int:
    """Print how the policies of a service compare."""
    from jaxrec.runs.serve import plan_of
    from jaxrec.runs.serve_report import serve_report

    flags = [] if options.state is None else [f"serve.state={json.dumps(options.state)}"]
    prepare()
    report = serve_report(options.run, plan_of(options.run, [*options.overrides, *flags]))
    if options.json:
        lists = {name: [_finite(row._asdict()) for row in getattr(report, name)] for name in report._fields[:3]}
        print(json.dumps({**lists, "verdict": report.verdict}))
        return 0
    _print_table(
        "reward per request, with 95% intervals over users",
        ("version", "requests", "users", "reward"),
        [(arm.version, arm.requests, arm.users, _pm(arm.reward, arm.half_width)) for arm in report.arms],
    )
    if report.differences:
        rows = [
            (one.version, _pm(one.reward, one.half_width), one.paired_users, _pm(one.paired, one.paired_half_width))
            for one in report.differences
        ]
        title = f"reward per request, minus that of {report.arms[0].version}"
        _print_table(title, ("version", "difference", "users of both", "difference within them"), rows)
    if report.watched:
        rows = [(one.version, one.requests, f"{one.overlap:.3f}", _pm(one.rewarded)) for one in report.watched]
        header = ("version", "requests", "overlap of slates", "share of the positive reward")
        _print_table("shadow policies", header, rows)
    print(report.verdict)
    return 0


def _pm(value: float, half_width: float = math.nan) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.4f}" + ("" if math.isnan(half_width) else f" ± {half_width:.4f}")


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """Null instead of NaN, which JSON lacks."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}


def _print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title))
    for name in header:
        table.add_column(name, justify="left" if name == "version" else "right")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    console().print(table)


def run_export(options: argparse.Namespace) -> int:
    """Write the scores of a policy as StableHLO."""
    from jaxrec.serve import load_policy
    from jaxrec.serve.export import export_policy

    prepare()
    found = export_policy(load_policy(options.run), Path(options.output))
    platforms, loader = ", ".join(found.platforms), found.folder / "load.py"
    note(f"{found.folder}: scores of {found.num_items:,} items for {platforms}; `python {loader} ID ID` tries it")
    return 0
