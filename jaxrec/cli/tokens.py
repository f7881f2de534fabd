"""`jaxrec tokens`."""

import argparse
import json
from typing import Any

from rich import box
from rich.table import Table

from jaxrec.cli.runtime import prepare
from jaxrec.runs.tokens import make_tokens
from jaxrec.terminal import console


def run_tokens(options: argparse.Namespace) -> int:
    """Fit codes to the catalogue of a recipe and print their quality."""
    prepare()
    made = make_tokens(options.config, options.output, options.overrides)
    if options.json:
        print(json.dumps(made.report))
        return 0
    report = made.report
    print(f"reconstruction error {report['error']:.4f} (share of the variance of the items' vectors)")
    if "error_of_kmeans" in report:
        print(f"  before the first epoch, as residual k-means: {report['error_of_kmeans']:.4f}")
    console().print(_table(report))
    collisions = report["collisions"]
    print(
        f"items that share their codes: {collisions['before_last']:,} of {report['items']:,}, after the last code "
        f"{collisions['after_last']:,}\n"
        f"done in {made.seconds:.0f} s\n"
        f"  codes  {made.path}\n"
        f"next: jaxrec pretrain {options.config} pretrain.model=generative generative.tokens={made.path}"
    )
    return 0


def _table(report: dict[str, Any]) -> Table:
    """One row per level, with the use of its codes and the pairs that share them up to it; one row for all pairs."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("level")
    known = "same_category" in report["pairs"]
    names = "codes in use", "perplexity", "largest", "pairs with the codes up to it", "cosine"
    for name in (*names, *(["same category"] if known else [])):
        table.add_column(name, justify="right")
    for n, (level, prefix) in enumerate(zip(report["levels"], report["prefixes"], strict=True), 1):
        use = f"{level['used']} ({level['used_share']:.0%})", f"{level['perplexity']:.1f}", f"{level['most_items']:,}"
        table.add_row(str(n), *use, *_pairs(prefix, known))
    table.add_row("all pairs", "", "", "", *_pairs(report["pairs"], known))
    return table


def _pairs(row: dict[str, Any], known: bool) -> tuple[str, ...]:
    figures = [row["cosine"], *([row["same_category"]] if known else [])]
    return (f"{row['pairs']:,}", *("-" if figure is None else f"{figure:.3f}" for figure in figures))
