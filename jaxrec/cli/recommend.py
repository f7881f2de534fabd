"""`jaxrec recommend`: a slate for a history, as a table or as JSON."""

import dataclasses
import json

from jaxrec.serve import load_policy


def recommend(path: str, history: str, k: int, as_json: bool) -> int:
    """Print ids, titles and scores of the k best items."""
    policy = load_policy(path)
    slate = policy.recommend([entry for entry in history.split(",") if entry.strip()], k)
    if as_json:
        print(json.dumps([dataclasses.asdict(item) for item in slate], ensure_ascii=False))
        return 0
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(f"{len(slate)} recommendations from {path} (step {policy.step})"))
    table.add_column("rank", justify="right")
    table.add_column("id")
    table.add_column("title", overflow="fold")
    table.add_column("score", justify="right")
    for rank, item in enumerate(slate, 1):
        table.add_row(str(rank), escape(item.id), escape(item.title), f"{item.score:.3f}")
    Console().print(table)
    return 0
