"""The printed form of `jaxrec inspect`: sections of labels and values, at most as wide as the terminal."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text

from jaxrec import terminal
from jaxrec.cli.inspect_forms import byte_size, number, shape
from jaxrec.foreign import quoted

LABEL = 19  # columns, the indentation included
Rows = list[tuple[str, str | list[str]]]  # label and value; lines break only between the parts of a list


def print_account(account: dict[str, Any]) -> None:
    """Print the sections of a description; colours only on a terminal."""
    console = terminal.console(highlight=False)
    titles = {
        "run": "run of jaxrec train",
        "policy": "saved policy",
        "generator": "saved generator",
        "tokens": "semantic ids of jaxrec tokens",
        "simulator": "simulated users",
        "simulators": "simulated users for training and judging",
        "pretrain": "pretrained policy of jaxrec pretrain",
        "tune": "encoder of jaxrec tune",
        "distill": "encoder of jaxrec distill",
        "sweep": "runs of jaxrec sweep",
    }
    console.print(Text.assemble((account["path"], "bold"), f"  {titles[account['kind']]}"), soft_wrap=True)
    for heading, rows in SECTIONS[account["kind"]](account):
        console.print(Text(f"\n{heading}", style="bold cyan"))
        for label, value in rows:
            parts = value.split(" ") if isinstance(value, str) else [f"{part}," for part in value[:-1]] + value[-1:]
            for n, line in enumerate(_lines(parts, console.width - LABEL)):
                console.print(Text(f"  {'' if n else label}".ljust(LABEL) + line), soft_wrap=True)
    if account.get("next"):
        console.print(Text.assemble("\nnext: ", (account["next"], "bold")), soft_wrap=True)


def _lines(parts: Sequence[str], width: int) -> list[str]:
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + 1 + len(part) > width:
            lines.append(part)
        else:
            lines[-1] += f" {part}"
    return lines


def _run(account: dict[str, Any]) -> Iterator[tuple[str, Rows]]:
    yield "progress", list(_progress(account))
    yield "recipe", _recipe(account["recipe"])
    if account["simulators"]:
        yield "simulators", _simulators(account["simulators"])
    if account["policy"]:
        yield f"policy of update {account['policy']['step']}", _policy(account["policy"])
    if account["checkpoints"]:
        yield "checkpoints", [(str(row["step"]), _checkpoint(row)) for row in account["checkpoints"]]
    if account["evaluation"]:
        yield f"evaluation of update {account['evaluation']['step']}", list(_evaluation(account["evaluation"]))


def _progress(account: dict[str, Any]) -> Iterator[tuple[str, str | list[str]]]:
    steps = [row["step"] for row in account["checkpoints"]]
    updates = account["updates"]
    yield "updates", f"{updates['measured']} of {updates['asked']}, saved up to {steps[-1] if steps else 0}"
    if account["missing"]:
        yield "missing", account["missing"]
    if timing := account["last_timing"]:
        spent = [f"{account['seconds_in_updates']:,.0f} s in updates", f"{account['compile_seconds']:.0f} s compiling"]
        yield "speed", [f"{timing['user_steps_per_s']:,} user steps/s", *spent]
    if metrics := account["last_metrics"]:
        values = [f"{name} {number(value)}" for name, value in metrics.items() if name != "step"]
        yield f"update {metrics['step']}", values
    yield "on disk", byte_size(account["bytes_on_disk"])


def _recipe(recipe: dict[str, Any]) -> Rows:
    reward = " + ".join(f"{weight:g} x {name}" for name, weight in recipe["reward"].items())
    steps = f"{recipe['users']} users x {recipe['horizon']} steps per update"
    rates = [f"learning rate {recipe['learning_rate']:g}", f"gamma {recipe['gamma']:g}"]
    rows: Rows = [
        ("seed", str(recipe["seed"])),
        ("users", _users(recipe)),
        *([("reward", reward)] if reward else []),
        ("learner", [recipe["learner"], steps, *rates]),
        ("network", f"{recipe['network']}, width {recipe['width']}"),
    ]
    if "encoder" in recipe:
        rows.append(("text encoder", recipe["encoder"]))
    if "source" in recipe:
        rows.append(("log", f"{recipe['source']} {recipe['data']}".strip()))
    return rows


def _users(recipe: dict[str, Any]) -> str:
    """For instance 'logged, 10 slates of 5'; the kind of action is unknown before the first policy."""
    requests, action = recipe["requests"], recipe["action"]
    count = "" if requests is None else f"{requests} "
    if action is None:
        return recipe["env"] + (f", {count}requests" if count else "")
    if action["name"] == "slate":
        return f"{recipe['env']}, {count}slates of {action['size']}"
    return f"{recipe['env']}, {count}{action['name']}s of {action['size']} numbers"


def _simulators(account: dict[str, Any]) -> Rows:
    rows: Rows = []
    if log := account["log"]:
        rows.append(("log", f"{log['rows']:,} rows of {log['users']:,} users; feedback {', '.join(log['feedback'])}"))
    for name, kind in account["validity"].items():
        rows.append((f"fit of {quoted(name)}", [f"{measure} {number(value)}" for measure, value in kind.items()]))
    for name in ("train", "judge"):
        one = account["fitted"].get(name)
        rows.append((name, "not fitted yet" if one is None else _members(one)))
    return [*rows, ("on disk", byte_size(account["bytes_on_disk"]))]


def _members(account: dict[str, Any]) -> str:
    users = "" if account["users"] is None else f", {account['users']:,} users"
    fitted = f"mean of {account['members']} fits" if account["members"] else "tastes of each user"
    return f"{fitted}{users}, {account['items']:,} items"


def _simulator(account: dict[str, Any]) -> Rows:
    return [("users", _members(account)), *_items(account)]


def _policy(account: dict[str, Any]) -> Rows:
    hidden = " ".join(str(size) for size in account["network"]["hidden"])
    network = f"{account['network']['encoder']}, width {account['network']['width']}, hidden {hidden}"
    reads = f"a history of {account['history_length']} items" if account["history_length"] else "the user's interests"
    rows: Rows = [
        (f"{account['action']['name']}s", f"of {account['action']['size']}, from {reads}"),
        ("network", network),
        *_items(account),
    ]
    return [*rows, *_parameters(account)]


def _parameters(account: dict[str, Any]) -> Rows:
    widest = max(len(name) for name in account["arrays"])
    count = f"{account['parameters']:,} numbers in {len(account['arrays'])} arrays"
    shapes = [("", [f"{name:<{widest}}  {shape(x)}"]) for name, x in account["arrays"].items()]
    return [("parameters", count), *shapes]


def _generator(account: dict[str, Any]) -> Rows:
    network = account["network"]
    sizes = f"{network['layers']} layers of width {network['width']}, {network['heads']} heads"
    return [
        ("network", [network["kind"], sizes]),
        ("reads", f"a history of {account['rows']} items"),
        ("codes", f"{' x '.join(str(size) for size in network['sizes'])}, found with {account['beams']} beams"),
        ("items", f"{account['items']:,}, of which {account['recommendable']:,} are recommendable"),
        *_parameters(account),
        ("on disk", byte_size(account["bytes_on_disk"])),
    ]


def _tokens(account: dict[str, Any]) -> Rows:
    used = [f"{level['used']} of {size}" for level, size in zip(account["levels"], account["sizes"], strict=False)]
    shared = account["collisions"]
    return [
        ("items", f"{account['items']:,}"),
        ("codes", f"{' x '.join(str(size) for size in account['sizes'])}, by {account['method']}"),
        ("in use", used),
        ("error", f"{account['error']:.4f} of the variance of the items' vectors"),
        ("shared codes", f"{shared['before_last']:,} items, after the last code {shared['after_last']:,}"),
        ("on disk", byte_size(account["bytes_on_disk"])),
    ]


def _items(account: dict[str, Any]) -> Rows:
    table = account["item_table"]
    return [
        ("items", f"{account['items']:,}, of which {account['recommendable']:,} are recommendable"),
        ("item table", f"{shape(table)}, {byte_size(table['bytes'])}"),
        *_features(account),
        ("on disk", byte_size(account["bytes_on_disk"])),
    ]


def _features(account: dict[str, Any]) -> Rows:
    widths = account.get("item_features")
    return [("item features", f"{', '.join(f'{name} {n}' for name, n in widths.items())} columns")] if widths else []


def _checkpoint(row: dict[str, Any]) -> list[str]:
    score = "not evaluated" if row["return"] is None else f"return {row['return']:.3f}"
    parts = [f"{name} {byte_size(size)}" for name, size in row["bytes_in_memory"].items() if size >= 1024]
    room = [f"replay of {row['replay']['transitions']:,} transitions"] if row["replay"] else []
    return [score + (" (best)" if row["best"] else ""), f"{byte_size(row['bytes_on_disk'])} on disk", *parts, *room]


def _evaluation(account: dict[str, Any]) -> Iterator[tuple[str, str | list[str]]]:
    for simulator, recommenders in account["simulators"].items():
        best_first = sorted(recommenders.items(), key=lambda row: -row[1]["return"])
        yield f"in {simulator}", [f"{name} {row['return']:.2f} ± {row['return_95']:.2f}" for name, row in best_first]
    if account["gap_closed"] is not None:
        yield "gap closed", f"{account['gap_closed']:.1%} of the gap from best_fixed to greedy_response"
    if account["lift_kept"] is not None:
        yield "lift kept", f"{account['lift_kept']:.1%} of the lift over most_popular, with the judging users"
    if account["held_out"]:
        chosen = (row for row in account["held_out"].items() if row[0].startswith(("hit_rate", "ndcg")))
        yield "held-out log", [f"{name} {value:.4f}" for name, value in chosen]


def _pretraining(account: dict[str, Any]) -> Iterator[tuple[str, Rows]]:
    yield "progress", _fitting(account)
    if account["policy"]:
        saved = account["policy"]
        rows = _generator(saved) if saved["kind"] == "generator" else _policy(saved)
        yield f"{saved['kind']} of step {saved['step']}", rows
    for kind, metrics in (account["account"] or {}).items():
        if isinstance(metrics, dict):
            rows = [(who, [f"{n} {row[n]:.4f}" for n in _ranking(row)]) for who, row in metrics.items()]
            yield f"test rows, {kind}", rows  # type: ignore[misc]


def _encoder(account: dict[str, Any]) -> Iterator[tuple[str, Rows]]:
    yield "progress", _fitting(account)
    if result := account["account"]:
        yield "encoder alone, test rows", list(RESULTS[account["kind"]](result))


def _fitting(account: dict[str, Any]) -> Rows:
    """How far a supervised training is, and its scores."""
    steps, best = account["steps"], max((row["score"] for row in account["scores"]), default=None)
    judged = [f"{r['step']}: {r['score']:.4f}{' (best)' * (r['score'] == best)}" for r in account["scores"]]
    rows: Rows = [("steps", f"{steps['measured']} of {steps['asked']}"), ("source", account["source"])]
    if judged:
        rows.append((account["score"].replace("validation_", "valid. "), judged))
    if metrics := account["last_metrics"]:
        rows.append((f"step {metrics['step']}", [f"{k} {number(v)}" for k, v in metrics.items() if k != "step"]))
    return [*rows, ("on disk", byte_size(account["bytes_on_disk"]))]


def _tuned(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    before, after, size = result["test"]["before"], result["test"]["after"], result["parameters"]
    yield "parameters", f"{size['trained']:,} of {size['all']:,} were tuned"
    for name in _ranking(before):
        yield name, f"{before[name]:.4f} -> {after[name]:.4f}"


def _distilled(result: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    for who in ("teacher", "student_before", "student"):
        row = result[who]
        sizes = [f"{row['parameters']:,} parameters", f"{row['layers']} layers", f"agreement {row['agreement']:.4f}"]
        yield who.replace("_", " "), [*sizes, *(f"{name} {row['test'][name]:.4f}" for name in _ranking(row["test"]))]


def _sweep(account: dict[str, Any]) -> Iterator[tuple[str, Rows]]:
    runs = account["runs"]
    ended = sum(done >= account["updates"] for done in runs["updates"].values())
    rows: Rows = [
        *((name.rpartition(".")[2], [str(value) for value in values]) for name, values in account["grid"].items()),
        ("seeds", [str(seed) for seed in account["seeds"]]),
        ("runs", f"{ended} of {runs['asked']} reached update {account['updates']}, {runs['begun']} were begun"),
        *([("diverged", account["diverged"])] if account["diverged"] else []),
        ("on disk", byte_size(account["bytes_on_disk"])),
    ]
    yield "progress", rows
    if account["settings"]:
        yield "evaluated returns, best of each run", [_setting(one) for one in account["settings"]]


def _setting(one: dict[str, Any]) -> tuple[str, str]:
    name = ", ".join(f"{name.rpartition('.')[2]}={value}" for name, value in one["values"].items()) or "the recipe"
    mean, half = one["best"]["mean"], one["best"]["half_width"]
    interval = "" if half is None else f" ± {half:.2f}"
    return "", f"{name}: {'all diverged' if mean is None else f'{mean:.2f}{interval}'}, {one['seeds']} seeds"


def _ranking(test: dict[str, float]) -> list[str]:
    return [name for name in test if name.startswith("ndcg")]


SECTIONS = {
    "run": _run,
    "policy": lambda account: iter([(f"update {account['step']} in {account['env']}", _policy(account))]),
    "generator": lambda account: iter([(f"step {account['step']}", _generator(account))]),
    "tokens": lambda account: iter([("items and codes", _tokens(account))]),
    "simulator": lambda account: iter([("users and items", _simulator(account))]),
    "simulators": lambda account: iter([("simulators", _simulators(account))]),
    "pretrain": _pretraining,
    "tune": _encoder,
    "distill": _encoder,
    "sweep": _sweep,
}
RESULTS = {"tune": _tuned, "distill": _distilled}
