"""Close the loop: serve a policy, collect feedback, train on it, and serve what was learned, round after round.

python examples/closed_loop.py OUT [--users 2000] [--rounds 3] [--slates 2] [--first-users 40] [--updates 40]

The first policy learns from a small part of a generated log: the rows of the first `--first-users` users. Then `jaxrec
serve` answers `--users` users over HTTP, and knows no history of any. Their tastes are those from which the log was
generated: each asks for a slate by user id, likes each item with its true chance, and reports all answers. After each
round the feedback log is the newer log of `jaxrec train --continue`, and the running service loads the new policy.

Slates also improve because the service learns the history of a user. So a share of the users (`--control`) stays with
the first policy (`serve.split`), whose slates read these histories too. What the others have more is what retraining
gave. With `--no-training` nobody gets another policy: the same rounds with the same seeds. The last lines check that no
request failed, that each acknowledged row is in the log once, and that the service keeps what each user was shown.
docs/serving.md has the figures.
"""

import argparse
import collections
import csv
import http.client
import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from jaxrec.cli import main as jaxrec
from jaxrec.config.data import DataConfig, GeneratedLog
from jaxrec.data.generated import Tastes, hidden_tastes, read_generated
from jaxrec.data.pseudonyms import pseudonymise, user_key
from jaxrec.evaluation.measures import mean_and_half_width

SLATE, CLIENTS = 5, 4
PATIENCE = 120.0  # s that the service may take to start, to answer, or to write its log
NUMBERS = (
    ("seed", 0, "of the log, the answers and the trainings"),
    ("users", 2000, "users of the service"),
    ("items", 600, "items of the catalogue"),
    ("topics", 12, "topics of the items"),
    ("rounds", 3, "rounds, with a training after each but the last"),
    ("slates", 2, "slates of each user in a round"),
    ("first-users", 40, "users whose rows the first policy is trained on"),
    ("updates", 40, "updates of each training"),
    ("control", 0.25, "share of the users who stay with the first policy"),
)
READY = re.compile(r"ready at http://127\.0\.0\.1:(\d+)")

# Items without rows stay in the catalogue, because a feedback log has rows of shown items only. Tastes are fitted with
# fixed settings in place of searched ones, which would take most of the time.
RECIPE = """\
seed: {seed}
data:
  source: files
  path: {path}
  item_file: {items}
  user_key_file: {key}
  text: "{{title}}. {{description}}"
  feedback: {{liked: {{column: liked}}}}
  min_item_ratings: 0
encoder: {{model: {encoder}}}
tastes: {{search: false, effects: false, steps: 100, rounds: 1, text_components: 32, draws: 4}}
env: {{name: logged, slate_size: 5, requests: 8, new_users: 0.3}}
learner:
  {{name: all_items, num_users: 128, horizon: 8, minibatches: 4, learning_rate: 0.003, anneal_updates: {updates},
    policy: {{encoder: profile, width: 64, hidden: [128]}}}}
train: {{updates: {updates}, updates_per_call: {call}, checkpoint_every: {updates}, evaluate_users: 128}}
evaluate: {{baselines: [], users: 200, judge_share: 0.1}}
"""


class Answer(NamedTuple):
    """A slate with what its user said, as the service acknowledged it."""

    round: int
    user: int
    version: str
    request: str
    items: tuple[str, ...]
    liked: tuple[int, ...]


def write_data(out: Path, sizes: GeneratedLog, first_users: int, seed: int) -> Tastes:
    """Write OUT/first/log.csv, the rows of the first users, and OUT/items.csv, all items; gives the true tastes."""
    data = read_generated(DataConfig(generated=sizes, text="{title}. {description}"), seed)
    (out / "first").mkdir(parents=True, exist_ok=True)
    log, ids, fields = data.log, data.catalogue.ids, data.catalogue.fields
    with (out / "first" / "log.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user", "item", "time", "liked"])
        for row in np.flatnonzero(np.array([int(name) for name in data.users])[log.user] < first_users):
            user, item = data.users[log.user[row]], ids[log.item[row]]
            rows.writerow([f"u{user}", item, int(log.time[row]), int(log.feedback[row, 0])])
    with (out / "items.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["item", "title", "description"])
        table.writerows(zip(ids, fields["title"], fields["description"], strict=True))
    return hidden_tastes(sizes, seed)


def run_command(*words: str) -> None:
    """Run a command of jaxrec in this process; ends the program if it fails."""
    print("jaxrec", *words, flush=True)
    if status := jaxrec(list(words)):
        raise SystemExit(status)


@contextmanager
def served(run: Path, *words: str) -> Iterator[int]:
    """Serve a run in a process of its own; gives the port. The process ends with SIGTERM, and writes its log."""
    command = [sys.executable, "-m", "jaxrec.cli", "serve", str(run), "serve.keys=none", "--port", "0", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = next((int(found[1]) for line in process.stdout if (found := READY.search(line))), None)
        if port is None:
            raise SystemExit(f"the service ended with status {process.wait()} before it was ready")
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


def ask(connection: http.client.HTTPConnection, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """POST a body; raises RuntimeError for any status but 200."""
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    if response.status != 200:
        raise RuntimeError(f"{path}: status {response.status}, {answer}")
    return answer


def visit(
    connection: http.client.HTTPConnection, tastes: Tastes, number: int, user: int, draw: np.random.Generator
) -> Answer:
    """One user asks for a slate, and reports an answer to each of its items by its true chance."""
    slate = ask(connection, "/recommend", {"user": f"u{user}", "k": SLATE})
    items = tuple(item["id"] for item in slate["items"])
    chances = tastes.like_probability(user)
    liked = tuple(int(draw.random() < chances[int(item) - 1]) for item in items)
    events = [
        {"item": item, "kind": "liked", "value": value, "time": time.time()}
        for item, value in zip(items, liked, strict=True)
    ]
    stored = ask(connection, "/feedback", {"request": slate["request"], "events": events})
    if stored != {"stored": len(items), "already": 0}:
        raise RuntimeError(f"/feedback: {stored} for {len(items)} new events")
    return Answer(number, user, slate["version"], slate["request"], items, liked)


def play(port: int, tastes: Tastes, number: int, slates: int, seed: int) -> tuple[list[Answer], list[str]]:
    """Let every user visit the service `slates` times, a few users at once; gives their answers and what failed."""

    def client(first: int) -> tuple[list[Answer], list[str]]:
        answers, faults = [], []
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
            for user in range(first, len(tastes.interest), CLIENTS):
                draw = np.random.default_rng((seed, number, user))
                for _ in range(slates):
                    try:
                        answers.append(visit(connection, tastes, number, user, draw))
                    except (OSError, http.client.HTTPException, RuntimeError) as error:
                        connection.close()  # what is left of a broken answer must not be read as the next one
                        faults.append(f"user {user}: {error}")
        return answers, faults

    with ThreadPoolExecutor(CLIENTS) as pool:
        found = list(pool.map(client, range(CLIENTS)))
    return [one for answers, _ in found for one in answers], [one for _, faults in found for one in faults]


def mean_and_half(answers: list[Answer]) -> tuple[float, float]:
    """Likes per shown item, and half of its 95% interval over users (normal approximation)."""
    liked, shown = collections.Counter(), collections.Counter()
    for answer in answers:
        liked[answer.user] += sum(answer.liked)
        shown[answer.user] += len(answer.liked)
    return mean_and_half_width(np.array([liked[user] / shown[user] for user in shown]))


def logged_rows(state: Path) -> collections.Counter:
    """How often each (request, item, answer) is in the parts of the feedback log."""
    names = ["serve_request", "item", "liked"]
    parts = [pq.read_table(part, columns=names) for part in sorted((state / "log").glob("feedback-*.parquet"))]
    return collections.Counter(tuple(row.values()) for part in parts for row in part.to_pylist())


def wait_for_log(state: Path, rows: int) -> None:
    """Wait until the log has so many rows; raises SystemExit if they do not come."""
    until = time.monotonic() + PATIENCE
    while (found := sum(logged_rows(state).values())) < rows:
        if time.monotonic() > until:
            raise SystemExit(f"{state / 'log'}: {found} of {rows} acknowledged rows after {PATIENCE:g} s")
        time.sleep(0.5)


def check_state(state: Path, answers: list[Answer], secret: bytes) -> dict[str, int]:
    """Compare the log and the histories of a stopped service with what it acknowledged; gives counts of faults."""
    sent = collections.Counter(
        (a.request, item, float(value)) for a in answers for item, value in zip(a.items, a.liked, strict=True)
    )
    logged = logged_rows(state)
    shown = collections.defaultdict(set)
    for answer in answers:
        shown[pseudonymise([f"u{answer.user}"], secret)[0]] |= set(zip(answer.items, answer.liked, strict=True))
    kept = collections.defaultdict(set)
    with closing(sqlite3.connect(state / "service.sqlite")) as store:
        for user, item, value in store.execute("SELECT user, item, value FROM history"):
            kept[user].add((item, int(value)))
    return {
        "rows missing from the log": sum((sent - logged).values()),
        "rows of the log too many": sum((logged - sent).values()),
        "users whose history is not what they were shown": sum(kept[user] != shown[user] for user in kept | shown),
    }


def put_in_place(link: Path, run: Path) -> None:
    """Point the link that is served to another run, in one step."""
    new = link.with_name(f".{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(run.name)
    new.replace(link)


def train_next(out: Path, number: int, state: Path, settings: list[str]) -> Path:
    """Continue the policy of a round on the feedback log so far; gives the new run."""
    run, log = out / f"round-{number + 1}", ["data.log_file=feedback-*.parquet", "data.columns.request=serve_request"]
    before = ["--continue", str(out / f"round-{number}"), f"data.path={state / 'log'}", *log, "data.pseudonyms=true"]
    run_command("train", str(out / "recipe.yaml"), *before, "--run", str(run), *settings)
    return run


def rounds_of(out: Path, tastes: Tastes, options: argparse.Namespace) -> tuple[list[Answer], list[str]]:
    """Serve, collect and train, round after round."""
    answers, faults, link = [], [], out / "served"
    put_in_place(link, out / "round-0")
    state = out / "served-serve"
    split = [f"serve.split={out / 'round-0'}", f"serve.split_share={options.control}"] if options.control else []
    with served(link, "serve.part_seconds=1", *split) as port:
        for number in range(options.rounds):
            begun = time.monotonic()
            found, failed = play(port, tastes, number, options.slates, options.seed)
            seconds = time.monotonic() - begun
            answers, faults = answers + found, faults + failed
            print(f"round {number}: {len(found):,} slates in {seconds:.0f} s, {len(failed)} failed", flush=True)
            if number + 1 < options.rounds and not options.no_training:
                wait_for_log(state, sum(len(answer.items) for answer in answers))
                put_in_place(link, train_next(out, number, state, options.set))
                with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10 * PATIENCE)) as connection:
                    print("reload:", ask(connection, "/reload", {}), flush=True)
    return answers, faults


def show(answers: list[Answer]) -> bool:
    """Print likes per shown item of each round, of the newest policy and of the first one next to it (control).

    Gives whether the last round of the newest policy is better than its first round and than the control, by disjoint
    intervals: users whose history grows get better slates from any policy.
    """
    first, newest, beaten = answers[0].version, [], False
    print("round   newest policy          the first policy (control)")
    for number in range(max(answer.round for answer in answers) + 1):
        here = [answer for answer in answers if answer.round == number]
        trained = [answer for answer in here if answer.version != first]
        newest.append(mean_and_half(trained or here))
        line = f"{number:5}   {newest[-1][0]:.3f} +- {newest[-1][1]:.3f}"
        if 0 < len(trained) < len(here):
            control = mean_and_half([answer for answer in here if answer.version == first])
            beaten = _above(newest[-1], control)
            line += f"        {control[0]:.3f} +- {control[1]:.3f}"
        print(line)
    return beaten and _above(newest[-1], newest[0])


def _above(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether an interval (middle, half of its width) lies above another one."""
    return one[0] - one[1] > other[0] + other[1]


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="new folder for the data, the runs and the state of the service")
    for name, default, meaning in NUMBERS:
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"{meaning} (default: {default})")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the recipe, for every training")
    parser.add_argument("--no-training", action="store_true", help="serve the first policy in every round")
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    """Run the loop, and print rates and checks.

    The status is 1 if a check fails, or if the last policy is not better than the first, as `show` decides.
    """
    options = parse(words)
    out = options.out.resolve()
    sizes = GeneratedLog(users=options.users, items=options.items, topics=options.topics, interactions=30)
    tastes = write_data(out, sizes, options.first_users, options.seed)
    names = {"path": out / "first", "items": out / "items.csv", "key": out / "user.key", "encoder": options.encoder}
    quoted = {name: json.dumps(str(path)) for name, path in names.items()}
    numbers = {"seed": options.seed, "updates": options.updates, "call": min(options.updates, 10)}
    (out / "recipe.yaml").write_text(RECIPE.format(**quoted, **numbers))
    run_command("train", str(out / "recipe.yaml"), "--run", str(out / "round-0"), *options.set)
    answers, faults = rounds_of(out, tastes, options)
    better = show(answers)
    key = user_key(DataConfig(source="files", user_key_file=str(out / "user.key")))
    counts = {"failed requests": len(faults), **check_state(out / "served-serve", answers, key.secret)}
    print(*(f"{what}: {count}" for what, count in counts.items()), *faults[:5], sep="\n")
    if not better:
        print("the last policy is not clearly better than the first round and than the first policy")
    return 0 if better and not any(counts.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
