"""`jaxrec check-data`."""

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxrec import terminal
from jaxrec.runs.check_data import check_data

WIDE = 100  # columns where no terminal says how wide it is


def run_check_data(options: argparse.Namespace) -> int:
    """Print the description of a recipe's log; returns 0 also with warnings."""
    found = check_data(options.config, options.overrides)
    if options.json:
        print(json.dumps(found, ensure_ascii=False, allow_nan=False))
        return 0
    console = terminal.console(highlight=False)
    if not console.is_terminal:
        console = terminal.console(highlight=False, width=max(console.width, WIDE))
    _lines(console, f"{found['recipe']} as it is read", found["account"])
    _examples(console, found["examples"])
    for table in found["tables"]:
        _columns(console, table)
    _lines(console, "log", _log_lines(found))
    _feedback(console, found["feedback"])
    _counts(console, found)
    _lines(console, "what stops training", found["stops"], "bold red")
    _lines(console, "warnings", found["warnings"] or ["none"], "bold yellow")
    console.print(f"\nread and checked in {found['seconds']:.1f} s")
    if found["stops"]:
        console.print("mend the log or the recipe, and check again", soft_wrap=True)
    console.print(Text.assemble("next: ", (found["next"], "bold")), soft_wrap=True)
    return 0


def _lines(console: Console, heading: str, lines: Sequence[str], style: str = "bold cyan") -> None:
    if lines:
        console.print(Text(f"\n{heading}", style=style), soft_wrap=True)
    for line in lines:
        console.print(Text(f"  {line}"), soft_wrap=True)


def _table(console: Console, heading: str, names: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> None:
    """Print rows of cells; the first `left` columns hold words, the others numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for n, name in enumerate(names):
        table.add_column(Text(name), justify="left" if n < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(Text(f"\n{heading}", style="bold cyan"))
    console.print(table)


def _examples(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    kinds = list(rows[0]["feedback"])
    context = any(row["context"] for row in rows)
    names = ["user", "item", "title", "time", *kinds, *(["context"] if context else [])]
    cells = [
        [str(row["user"]), row["item"], row["title"], str(row["time"]), *(str(row["feedback"][k]) for k in kinds)]
        + ([", ".join(row["context"])] if context else [])
        for row in rows
    ]
    _table(console, "example rows (users are numbered here)", names, cells, len(names))


def _columns(console: Console, table: Mapping[str, Any]) -> None:
    rows = [
        [c["column"], ", ".join(c["used_as"]), c["type"], _contents(c), f"{c['missing']:.1%}", f"{c['distinct']:,}"]
        for c in table["columns"]
    ]
    names = ["column", "used as", "type", "contents", "missing", "distinct"]
    _table(console, f"{table['table']}: {table['file']}, {table['rows']:,} rows", names, rows, 4)
    if table["unused"]:
        console.print(Text(f"not used: {', '.join(table['unused'])}"), soft_wrap=True)


def _contents(column: Mapping[str, Any]) -> str:
    """The values of a column that has few, or its range."""
    if "first" in column:
        return f"{column['first']} to {column['last']}"
    if "values" in column:
        return ", ".join(f"{value[:20]} ({count:,})" for value, count in column["values"].items())
    return f"{column['least']:.10g} to {column['greatest']:.10g}" if "least" in column else ""


def _log_lines(found: Mapping[str, Any]) -> list[str]:
    time, join, split, together = found["time"], found["join"], found["split"], found["moments"]
    zone = "UTC" if time["dates"] else "of an unknown unit, or the order of the rows"
    lines = [
        f"{found['rows']:,} rows of {found['users']:,} users and {found['items']:,} items",
        f"times from {time['first']} to {time['last']} ({zone})",
    ]
    count = found["untouched_items"]
    if join:
        left_out = join["of_them_in_log"] < join["items_of_table"] and not count
        advice = " (data.min_item_ratings=0 keeps the others)" if left_out else ""
        lines += [
            f"{join['of_them_in_table']:,} of {join['items_of_log']:,} items of the log are in the item table",
            f"{join['of_them_in_log']:,} of {join['items_of_table']:,} items of the item table are in the log{advice}",
        ]
    lines.append(f"{together['rows_together']:.1%} of the rows were shown together with others (same user and time)")
    if together["rows_together"]:
        sizes = ", ".join(f"{size} ({count:,} times)" for size, count in together["sizes"].items())
        lines.append(f"most frequent numbers of rows shown together: {sizes}")
    sizes = (f"{split[f'{name}_rows']:,} {name}" for name in ("train", "validation", "test"))
    if count:
        rest = "1 item without a row is" if count == 1 else f"{count:,} items without a row are"
        lines.append(f"{rest} in the catalogue (data.min_item_ratings=0)")
    return [
        *lines,
        f"rows of the split: {', '.join(sizes)}",
        f"{split['test_successes']:.1%} of the test rows are successes ('{split['success']}')",
        f"{split['recommendable_items']:,} items have enough rows to be recommended (data.min_item_ratings)",
    ]


def _feedback(console: Console, feedback: Mapping[str, Any]) -> None:
    kinds, by = list(feedback["overall"]), feedback["by"]
    total = sum(row["rows"] for row in feedback["periods"])
    periods = [*feedback["periods"], {by: "all", "rows": total, **feedback["overall"]}]
    rows = [[row[by], f"{row['rows']:,}", *(f"{row[kind]:.2%}" for kind in kinds)] for row in periods]
    heading = "feedback by tenth of the rows, in the order of time" if by == "tenth" else f"feedback by {by}"
    _table(console, heading, [by, "rows", *kinds], rows, 1)


def _counts(console: Console, found: Mapping[str, Any]) -> None:
    of = {"user": found["rows_per_user"], "item": found["rows_per_item"], "moment": found["moments"]["rows_per_moment"]}
    rows = [[who, *map(_number, counts.values())] for who, counts in of.items()]
    _table(console, "rows per user, item and moment", ["rows per", *of["user"]], rows, 1)


def _number(count: float) -> str:
    return f"{count:,.4g}" if count < 1e4 else f"{count:,.0f}"
