"""`jaxrec serve` and `jaxrec export`."""

import argparse
import json
from pathlib import Path

from jaxrec.checks import InputError
from jaxrec.cli.runtime import prepare
from jaxrec.progress import note
from jaxrec.serve.keys import SCOPES


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


def run_export(options: argparse.Namespace) -> int:
    """Write the scores of a policy as StableHLO."""
    from jaxrec.serve import load_policy
    from jaxrec.serve.export import export_policy

    prepare()
    found = export_policy(load_policy(options.run), Path(options.output))
    platforms, loader = ", ".join(found.platforms), found.folder / "load.py"
    note(f"{found.folder}: scores of {found.num_items:,} items for {platforms}; `python {loader} ID ID` tries it")
    return 0
