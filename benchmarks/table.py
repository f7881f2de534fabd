"""Write the lines of other benchmarks as one table, or check the return of a run.

    python benchmarks/table.py LINES.jsonl
    python benchmarks/table.py --run RUN --above 270

`benchmarks/gpu.sh` calls both.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple


class Row(NamedTuple):
    """One figure."""

    name: str
    unit: str
    median: float
    lowest: float
    highest: float


def rows_of(line: dict[str, Any]) -> Iterator[Row]:
    """Give the figures of a line of `jaxrec bench`, peaks.py, env_steps.py, ppo_updates.py or replay.py."""
    if "figures" in line:
        yield from (
            Row(*(one[key] for key in ("name", "unit", "value", "lowest", "highest"))) for one in line["figures"]
        )
    elif "user_steps_per_s" in line:
        what = f"simulator {line['env']}" if "env" in line else "PPO, interest_evolution"
        about = f"{line['users']:,} users" if "env" in line else f"{line['users']:,} users x {line['horizon']} steps"
        yield Row(f"{what}, {about}", "user steps/s", *(line[key] for key in ("user_steps_per_s", "lowest", "highest")))
    elif "ms" in line:
        name = f"replay of {line['transitions']:,}: add {line['added']:,} and sample {line['sampled']:,}"
        yield Row(name, "ms (10th to 90th percentile)", line["ms"], line["ms_10"], line["ms_90"])
    else:
        raise SystemExit(f"benchmark {line.get('benchmark')}: a line that this table does not know.")


def short(number: float) -> str:
    """Write a number with at least three digits, and all digits before the point."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def table(lines: list[dict[str, Any]]) -> str:
    """The table in Markdown, after a line that says which device and versions it is about."""
    devices = list(dict.fromkeys(line["device"] for line in lines))
    versions = {name: v for line in lines for name, v in line["versions"].items()}
    head = f"{'; '.join(devices)}. {', '.join(f'{name} {v}' for name, v in versions.items())}."
    body = [
        f"| {row.name} | {short(row.median)} | {short(row.lowest)} to {short(row.highest)} | {row.unit} |"
        for line in lines
        for row in rows_of(line)
    ]
    return "\n".join([head, "", "| what | median | lowest to highest | unit |", "|---|---|---|---|", *body])


def last_return(run: Path) -> float:
    """The last evaluated return in the measurements of a run."""
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    found = [row["evaluation_return"] for row in rows if row.get("evaluation_return") is not None]
    if not found:
        raise SystemExit(f"{run}: no update was evaluated.")
    return found[-1]


def main() -> int:
    """Print the table; or check a return, which gives 1 if it is too low."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", nargs="?", type=Path)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--above", type=float, default=0.0)
    options = parser.parse_args()
    if options.run:
        got = last_return(options.run)
        print(f"return {got:.1f}, expected above {options.above:g}")
        return int(not got > options.above)
    if options.lines is None:
        parser.error("give LINES.jsonl, or --run RUN")
    print(table([json.loads(line) for line in options.lines.read_text().splitlines()]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
