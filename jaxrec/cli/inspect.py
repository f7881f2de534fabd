"""`jaxrec inspect`, which imports no JAX."""

import argparse
import json
from pathlib import Path

from jaxrec.checks import InputError
from jaxrec.cli.inspect_view import print_account
from jaxrec.data.log import counted
from jaxrec.progress import warn
from jaxrec.runs.inspect import describe


def run_inspect(options: argparse.Namespace) -> int:
    """Print the description of a run, a policy, simulators or an encoder; fails if a part of it is damaged."""
    account = describe(Path(options.path))
    if options.json:
        print(json.dumps(account, ensure_ascii=False, allow_nan=False))
    else:
        print_account(account)
    for line in account["damaged"]:
        warn(line)
    if account["damaged"]:
        damaged = counted(len(account["damaged"]), "damaged part")
        raise InputError(f"{options.path}: {damaged}; the warnings above say which.")
    return 0
