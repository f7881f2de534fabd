"""How long do answers of `jaxrec serve` take, at which rate, and what do batches bring?

    python benchmarks/serve.py [--items 10000] [--rates 50,300] [--seconds 10] [--only serve] [--set serve.queue=16]
    python benchmarks/serve.py --only serve --rates 1000     (overload: see `refused`)
    python benchmarks/serve.py --idle 10000                  (connections that send nothing: see `health_p99_ms`)
    python benchmarks/serve.py --only serve --users 200 [--set serve.redis=redis://127.0.0.1:6379/0]

A load generator sends POST /recommend over loopback at fixed times, whether or not earlier requests are answered (an
open loop), so a slow server cannot slow its load down. A latency counts from the time at which its request was due.
Histories are 20 random items, slates 10. The servers are `jaxrec serve`; a naive server, which calls a compiled program
for one user per request, without batches and without a log; and a numpy product of a vector and the item table with a
partial sort, without HTTP, as the floor. The policy is random: a gru of width 64 over rows of 384 numbers.

`refused` is the share of requests with status 429; latencies are those of the others. With --idle, connections are
opened and send nothing, while GET /health is asked on new ones. With --users, requests name one of so many users in
place of a history. The service has one slate of feedback of each, in its file or in Redis.

It prints one JSON line per server and rate. Server and load share the machine. benchmarks/README.md has results.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, TABLE, HISTORY, SLATE, LENGTH = 64, 384, 20, 10, 30
READY = re.compile(r"ready.* at http://127\.0\.0\.1:(\d+)")
PATIENCE = 30.0  # s after the last request was due


def make_policy_folder(folder: Path, items: int) -> Path:
    """Write a random policy of a catalogue of `items`."""
    import jax

    from jaxrec.config.data import FeedbackKind
    from jaxrec.config.policy import PolicyConfig
    from jaxrec.nets.policy import make_policy
    from jaxrec.serve import save_policy
    from jaxrec.types import EnvSpec, SlateAction, World

    action = SlateAction(size=SLATE)
    spec = EnvSpec(name="logged", action=action, num_items=items, feedback=("liked",), history_length=LENGTH)
    config = PolicyConfig(encoder="gru", width=WIDTH, hidden=(64,))
    world = World(item_table=jax.random.normal(jax.random.key(0), (items, TABLE)))
    params = make_policy(spec, config).init(jax.random.key(1), world)
    ids = [str(n) for n in range(items)]
    kinds = {"liked": FeedbackKind(column="liked")}
    save_policy(folder, params=params, world=world, spec=spec, config=config, feedback=kinds, items=(ids, ids), step=0)
    return folder


def serve_naively(folder: Path) -> None:
    """Answer each request by itself, as a first server is usually written."""
    import jax
    import jax.numpy as jnp
    import orjson
    import uvicorn
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from jaxrec.serve import load_policy
    from jaxrec.types import Observation

    saved = load_policy(folder)
    row = {item: n for n, item in enumerate(saved.ids)}

    @jax.jit
    def best(params: Any, items: Any, world: Any, history: Any) -> Any:
        feedback = jnp.ones((*history.shape, 1))
        obs = Observation(history_items=history, history_feedback=feedback)
        return jax.lax.top_k(saved.policy.apply(params, items, obs, world).logits, SLATE)

    def answer(history: list[str]) -> list[dict[str, Any]]:
        window = np.full(LENGTH, -1, np.int32)
        window[-len(history) :] = [row[item] for item in history]
        scores, places = jax.device_get(best(saved.params, saved.items, saved.world, window))
        return [{"id": saved.ids[n], "score": float(s)} for n, s in zip(places, scores, strict=True)]

    async def recommend(request: Request) -> Response:
        asked = orjson.loads(await request.body())
        items = await run_in_threadpool(answer, asked["history"])
        return Response(orjson.dumps({"items": items}), media_type="application/json")

    answer(["0"])
    config = uvicorn.Config(
        Starlette(routes=[Route("/recommend", recommend, methods=["POST"])]), port=0, log_level="error"
    )
    listening = config.bind_socket()
    print(f"ready at http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    uvicorn.Server(config).run(sockets=[listening])


async def post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: Any) -> tuple[str, bytes]:
    """Send a request on an open connection; gives the status and the body of the answer."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    found = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(re.search(rb"content-length: (\d+)", found)[1])  # type: ignore[index]
    return found[9:12].decode(), await reader.readexactly(length)


async def fill(port: int, users: int) -> None:
    """Give feedback on a slate of each user."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for n in range(users):
        _, answer = await post(reader, writer, "/recommend", {"user": f"user {n}", "k": SLATE})
        slate = json.loads(answer)
        events = [{"item": item["id"], "kind": "liked", "value": 1} for item in slate["items"]]
        status, answer = await post(reader, writer, "/feedback", {"request": slate["request"], "events": events})
        if status != "200":
            raise SystemExit(f"feedback: status {status}, {answer.decode()}")
    writer.close()


async def send(port: int, rate: float, seconds: float, items: int, users: int = 0) -> dict[str, Any]:
    """Send requests at fixed times; gives latencies in milliseconds and counts of other statuses than 200.

    With `users`, requests name them, in place of histories. The load average is that of the machine in the minute
    before the end.
    """
    free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    latencies: list[float] = []
    others: Counter[str] = Counter()
    draw = random.Random(0)
    asked = (
        {"user": f"user {draw.randrange(users)}"}
        if users
        else {"history": [str(n) for n in draw.sample(range(items), HISTORY)]}
        for _ in range(500)
    )
    bodies = [json.dumps(one | {"k": SLATE}).encode() for one in asked]

    async def one(due: float, body: bytes) -> None:
        try:
            reader, writer = free.pop() if free else await asyncio.open_connection("127.0.0.1", port)
            status, _ = await post(reader, writer, "/recommend", body)
        except (OSError, asyncio.IncompleteReadError) as error:
            others[type(error).__name__] += 1
            return
        free.append((reader, writer))
        if status == "200":
            latencies.append((time.perf_counter() - due) * 1e3)
        else:
            others[status] += 1

    begun, tasks = time.perf_counter(), []
    for n in range(round(rate * seconds)):
        due = begun + n / rate
        if (left := due - time.perf_counter()) > 0:
            await asyncio.sleep(left)
        tasks.append(asyncio.create_task(one(due, bodies[n % len(bodies)])))
    _, late = await asyncio.wait(tasks, timeout=PATIENCE)
    others["no answer"] += len(late)
    taken, load = time.perf_counter() - begun, os.getloadavg()[0]
    for _, writer in free:
        writer.close()
    return {
        "requests": len(tasks),
        **{f"p{p}_ms": round(float(np.percentile(latencies, p)), 2) for p in (50, 95, 99) if latencies},
        "per_second": round(len(latencies) / taken, 1),
        "refused": round(others["429"] / len(tasks), 4),
        "other_statuses": {name: count for name, count in others.items() if count},
        "load_average": round(load, 1),
    }


async def stay_idle(port: int, count: int, seconds: float) -> dict[str, Any]:
    """Hold `count` connections that send nothing, and ask GET /health on new ones, ten times a second.

    A latency counts from before the connection is opened. `closed` are idle connections that the server closed.
    """
    opened = asyncio.Event()
    statuses: Counter[str] = Counter()
    latencies: list[float] = []

    async def ask() -> None:
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                statuses[(await reader.read())[9:12].decode() or "closed"] += 1
                writer.close()
        except (OSError, TimeoutError) as error:
            statuses[type(error).__name__] += 1
        latencies.append((time.perf_counter() - begun) * 1e3)

    async def asking() -> None:
        until = time.perf_counter() + seconds
        while not opened.is_set() or time.perf_counter() < until:
            await ask()
            await asyncio.sleep(0.1)

    task = asyncio.create_task(asking())
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    opened.set()
    await task
    quantiles = {f"health_p{p}_ms": round(float(np.percentile(latencies, p)), 2) for p in (50, 99, 100)}
    closed = sum(reader.at_eof() for reader, _ in held)
    for _, writer in held:
        writer.close()
    load = round(os.getloadavg()[0], 1)
    return {"idle": count, "closed": closed, **quantiles, "health": dict(statuses), "load_average": load}


def allow_files(count: int) -> None:
    """Raise the limit of open files of this process to `count`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != hard < count:
        raise SystemExit(f"--idle: the system allows {hard} open files, {count} are needed")
    if resource.RLIM_INFINITY != soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


@contextlib.contextmanager
def started(words: list[str]) -> Iterator[tuple[int, float]]:
    """Start a server; gives its port and how many seconds the start took."""
    begun = time.perf_counter()
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = next(int(found[1]) for line in server.stdout if (found := READY.search(line)))
        yield port, round(time.perf_counter() - begun, 1)
    finally:
        server.terminate()
        server.wait(60)


def measure(
    name: str, words: list[str], rates: list[float], seconds: float, items: int, users: int
) -> list[dict[str, Any]]:
    """Start a server, warm it with a second of load, and measure it at each rate."""
    with started(words) as (port, start):
        if users:
            asyncio.run(fill(port, users))
        asyncio.run(send(port, 20.0, 1.0, items, users))
        return [
            {"server": name, "rate": rate, "start_s": start, **asyncio.run(send(port, rate, seconds, items, users))}
            for rate in rates
        ]


def floor(items: int) -> dict[str, Any]:
    """The time of the product and the sort alone."""
    table = np.random.default_rng(0).normal(size=(items, WIDTH)).astype(np.float32)
    query, times = table[0].copy(), []
    for _ in range(300):
        begun = time.perf_counter()
        scores = table @ query
        best = np.argpartition(-scores, SLATE)[:SLATE]
        _ = best[np.argsort(-scores[best])]
        times.append((time.perf_counter() - begun) * 1e3)
    quantiles = {f"p{p}_ms": round(float(np.percentile(times, p)), 3) for p in (50, 95, 99)}
    return {"server": "numpy, no HTTP", **quantiles, "per_second": round(1e3 / statistics.mean(times), 1)}


def main() -> None:
    """Measure all columns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--rates", default="50,300", help="requests per second, A,B")
    parser.add_argument("--seconds", type=float, default=10.0, help="at each rate, at most 120")
    parser.add_argument("--only", choices=("serve", "naive", "numpy"), help="one server in place of all")
    parser.add_argument("--set", action="append", default=[], help="a setting of jaxrec serve, such as serve.queue=16")
    parser.add_argument("--idle", type=int, default=0, help="hold so many idle connections to jaxrec serve instead")
    parser.add_argument("--users", type=int, default=0, help="whom requests name in place of a history; --only serve")
    parser.add_argument("--naive", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.naive:
        serve_naively(Path(options.naive))
        return
    if options.users and options.only != "serve":
        parser.error("--users: the naive server knows no users; add --only serve")
    rates, seconds = [float(rate) for rate in options.rates.split(",")], min(options.seconds, 120.0)
    users = (
        {"users": options.users, "redis": any("serve.redis=" in one for one in options.set)} if options.users else {}
    )
    about = {"items": options.items, **users, "jax": version("jax"), "cores": os.cpu_count()}
    os.environ.setdefault("JAXREC_USER_KEY", "of a benchmark: its users are random numbers")
    with tempfile.TemporaryDirectory(prefix="jaxrec-bench-serve-") as name:
        folder = make_policy_folder(Path(name) / "policy", options.items)
        served = [sys.executable, "-m", "jaxrec.cli", "serve", str(folder), "serve.keys=none", "--port", "0"]
        naive = [sys.executable, __file__, "--naive", str(folder)]
        servers = {"serve": ("jaxrec serve", served + options.set), "naive": ("naive", naive)}
        if options.idle:
            allow_files(options.idle + 500)
            with started(served + options.set) as (port, _):
                row = asyncio.run(stay_idle(port, options.idle, seconds))
            print(json.dumps({"benchmark": "serve", "server": "jaxrec serve", **row, **about}), flush=True)
            return
        for label, words in (one for name, one in servers.items() if options.only in (None, name)):
            for row in measure(label, words, rates, seconds, options.items, options.users):
                print(json.dumps({"benchmark": "serve", **row, **about}), flush=True)
    if options.only in (None, "numpy"):
        print(json.dumps({"benchmark": "serve", **floor(options.items), **about}))


if __name__ == "__main__":
    main()
