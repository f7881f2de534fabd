"""`jaxrec bench`."""

import argparse
import json

from rich.table import Table

from jaxrec.checks import check_range
from jaxrec.cli.runtime import prepare
from jaxrec.progress import hushed
from jaxrec.runs.bench import Sizes, bench
from jaxrec.terminal import console


def run_bench(options: argparse.Namespace) -> int:
    """Measure one device at hand, and print a table or one JSON line."""
    sizes = Sizes(calls=options.calls)
    check_range("--calls", sizes.calls, 1)
    prepare()
    if options.json:
        with hushed():
            print(json.dumps(bench(sizes)))
        return 0
    show(bench(sizes))
    return 0


def show(found: dict) -> None:
    """Print the figures with the device's name."""
    table = Table(title=found["device"], title_justify="left", box=None)
    for name in ("", "median", "lowest", "highest"):
        table.add_column(name, justify="left" if not name else "right")
    table.add_column("unit")
    for one in found["figures"]:
        numbers = (_short(one[key]) for key in ("value", "lowest", "highest"))
        table.add_row(one["name"], *numbers, one["unit"])
    console().print(table)


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
