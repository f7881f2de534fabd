"""Kill a server under feedback load, and look for every acknowledged row in its log.

    python -m tests.serve_kills --kills 50 --seed 0

Serves a random policy, sends slates and feedback from several threads, kills the process (SIGKILL) at a random moment,
and starts it again. Feedback that got no answer is sent again after the next start, as a careful client does. At the
end the server gets SIGTERM, and the Parquet parts are read: each acknowledged row must be there exactly once.

Prints one line of JSON with the counts; the status is 1 if a row is missing or there twice.
"""

import argparse
import collections
import contextlib
import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.serve.small_policy import save, small_policy

READY = re.compile(r"ready at http://127\.0\.0\.1:(\d+); loaded and compiled in ([\d.]+) s")
CLIENTS = 4
SETTINGS = ("serve.keys=none", "serve.port=0", "serve.part_rows=40", "serve.part_seconds=1.5", "serve.max_k=16")
Row = tuple[str, str, int]  # request, item, time


class Server:
    """A process that serves a policy folder."""

    def __init__(self, policy: Path, state: Path, *more: str):
        """Start it with `more` settings, and wait until it is ready."""
        words = [sys.executable, "-m", "jaxrec.cli", "serve", str(policy), *SETTINGS, *more, "--state", str(state)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := READY.search(line):
                self.seconds, self.port = float(found[2]), int(found[1])
                return
        raise SystemExit(f"the server ended with status {self.process.wait()} before it was ready")

    def end(self, number: int) -> int:
        """Send a signal and give the status."""
        self.process.send_signal(number)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(60)


class Client(threading.Thread):
    """Asks for slates and reports feedback until its server goes."""

    def __init__(self, port: int, draw: random.Random, pending: list[Row]):
        """`pending` rows were sent before and got no answer."""
        super().__init__(daemon=True)
        self.port, self.draw, self.pending = port, draw, pending
        self.acknowledged: list[Row] = []
        self.faults: list[str] = []

    def run(self) -> None:
        """Send until the connection breaks."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            while True:
                if not self.pending:
                    user = f"user {self.draw.randrange(40)}"
                    slate = self.ask(connection, "/recommend", {"user": user, "k": 5})
                    for item in self.draw.sample(slate["items"], min(2, len(slate["items"]))):
                        self.pending.append((slate["request"], item["id"], self.draw.randrange(10**9)))
                    continue
                request, item, when = self.pending[-1]
                event = {"request": request, "item": item, "kind": "rating", "value": 3, "time": when}
                answer = self.ask(connection, "/feedback", event)
                row = self.pending.pop()
                if answer.get("stored", 0) + answer.get("already", 0) == 1:
                    self.acknowledged.append(row)

    def ask(self, connection: http.client.HTTPConnection, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send one request; raises OSError or HTTPException if there is no answer."""
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200:
            self.faults.append(f"{path}: {response.status} {answer}")
        return answer if response.status == 200 or path == "/feedback" else {"request": "", "items": []}


def kill_often(folder: Path, kills: int, seed: int, longest: float = 4.0) -> dict[str, Any]:
    """Kill a server `kills` times, each at most `longest` seconds after its clients began."""
    policy, state = save(small_policy(300), folder / "policy"), folder / "state"
    draw, acknowledged = random.Random(seed), []
    pending: list[list[Row]] = [[] for _ in range(CLIENTS)]
    faults: list[str] = []
    starts = []
    for number in range(kills + 1):
        server = Server(policy, state)
        starts.append(server.seconds)
        clients = [Client(server.port, random.Random(draw.random()), rows) for rows in pending]
        for client in clients:
            client.start()
        time.sleep(draw.uniform(0.1, longest))
        status = server.end(signal.SIGKILL if number < kills else signal.SIGTERM)
        for client in clients:
            client.join(30)
            acknowledged += client.acknowledged
            faults += client.faults
    rows = [row for path in (state / "log").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    counts = collections.Counter((row["serve_request"], row["item"], row["time"]) for row in rows)
    return {
        "kills": kills,
        "acknowledged": len(acknowledged),
        "missing": sum(counts[row] == 0 for row in set(acknowledged)),
        "twice": sum(count > 1 for count in counts.values()),
        "rows": len(rows),
        "parts": len(list((state / "log").glob("*.parquet"))),
        "unacknowledged_rows": len(set(counts) - set(acknowledged)),
        "refused": dict(collections.Counter(fault.partition("{")[0] for fault in faults)),
        "last_status": status,
        "ready_seconds": [min(starts), max(starts)],
    }


def main() -> int:
    """Read the options, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ.setdefault("JAXREC_USER_KEY", "of tests only: nobody is hidden by it")
    with tempfile.TemporaryDirectory(prefix="jaxrec-serve-kills-") as folder:
        counts = kill_often(Path(folder), options.kills, options.seed)
    print(json.dumps(counts))
    return int(counts["missing"] > 0 or counts["twice"] > 0)


if __name__ == "__main__":
    sys.exit(main())
