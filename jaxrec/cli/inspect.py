"""`jaxrec inspect`, which imports no JAX."""

import argparse
import json
from pathlib import Path

from jaxrec.cli.inspect_view import print_account
from jaxrec.runs.inspect import describe


def run_inspect(options: argparse.Namespace) -> int:
    """Print the description of a run, a policy, simulators or an encoder."""
    account = describe(Path(options.path))
    if options.json:
        print(json.dumps(account, ensure_ascii=False, allow_nan=False))
    else:
        print_account(account)
    return 0
