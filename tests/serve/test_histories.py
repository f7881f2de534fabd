"""Histories that services share through a real Redis."""

import asyncio
import dataclasses
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jaxrec.checks import InputError
from jaxrec.config.serve import ServeConfig
from jaxrec.serve import histories
from tests.serve.client import OPEN, Client, started

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="redis-server is not installed (Debian: redis-server)"
)


class Server:
    """A Redis server that keeps nothing on the disk."""

    def __init__(self, folder: Path):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url, self.folder, self.process = f"redis://127.0.0.1:{self.port}/0", folder, None

    def start(self) -> None:
        words = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen([*words, "--dir", str(self.folder)], stdout=subprocess.DEVNULL)
        for _ in range(100):
            with socket.socket() as tried:
                if not tried.connect_ex(("127.0.0.1", self.port)):
                    return
            time.sleep(0.05)
        raise TimeoutError("redis-server does not listen")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    server.start()
    yield server
    server.stop()


def sharing(redis: Server, **settings) -> ServeConfig:
    return dataclasses.replace(OPEN, redis=redis.url, **settings)


async def ask(client: Client, user: str = "alice", k: int = 4) -> tuple[str, list[str]]:
    answer = await client("POST", "/recommend", {"user": user, "k": k})
    assert answer.status == 200
    return answer.body["request"], [item["id"] for item in answer.body["items"]]


async def like(client: Client, request: str, item: str, value: float = 5.0) -> None:
    event = {"request": request, "item": item, "kind": "rating", "value": value}
    answer = await client("POST", "/feedback", event)
    assert (answer.status, answer.body) == (200, {"stored": 1, "already": 0})


async def failures(client: Client) -> float:
    text = (await client("GET", "/metrics")).body
    return float(next(line for line in text.splitlines() if line.startswith("jaxrec_redis_failures_total")).split()[1])


def test_what_one_service_is_told_is_in_the_next_slate_of_another(redis: Server, tmp_path: Path) -> None:
    async def go() -> None:
        config = sharing(redis)
        async with started(tmp_path / "a", config) as a, started(tmp_path / "b", config) as b:
            request, slate = await ask(a)
            assert (await ask(b))[1] == slate
            await like(a, request, slate[0])
            await like(a, request, slate[1], 1.0)
            after = (await ask(b))[1]
            assert not {*slate[:2]} & {*after} and after == (await ask(a))[1]
            known = {"history": [{"item": slate[0], "rating": 5}, {"item": slate[1], "rating": 1}], "k": 4}
            assert [one["id"] for one in (await b("POST", "/recommend", known)).body["items"]] == after
            assert (await ask(b, "bob"))[1] == slate and await failures(a) == await failures(b) == 0
        async with started(tmp_path / "c", config) as c:  # a new one, such as a pod that takes the place of another
            assert (await ask(c))[1] == after

    asyncio.run(go())


def test_the_latest_events_of_a_user_are_kept(redis: Server, tmp_path: Path) -> None:
    async def go() -> None:
        config = sharing(redis, history_kept=2)
        async with started(tmp_path / "a", config) as a, started(tmp_path / "b", config) as b:
            request, slate = await ask(a)
            for item in slate[:3]:
                await like(a, request, item)
            known = {"history": [{"item": item, "rating": 5} for item in slate[1:3]], "k": 4}
            want = (await b("POST", "/recommend", known)).body["items"]
            assert (await ask(b))[1] == [one["id"] for one in want]

    asyncio.run(go())


def test_without_redis_nothing_is_refused_and_events_are_sent_when_it_is_back(
    redis: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(histories, "PAUSE", 0.2)

    async def go() -> None:
        config = sharing(redis)
        async with started(tmp_path / "a", config) as a, started(tmp_path / "b", config) as b:
            request, slate = await ask(a)
            redis.stop()
            await like(a, request, slate[0])
            assert slate[0] not in (await ask(a))[1]  # from its own file
            assert (await ask(b))[1] == slate and await failures(a) >= 1
            redis.start()
            async with asyncio.timeout(10):
                while slate[0] in (await ask(b))[1]:
                    await asyncio.sleep(0.1)

    asyncio.run(go())
    said = capsys.readouterr()
    assert said.err.count("serve.redis: no answer") == 2 and said.out.count("serve.redis: answers again") == 2


def test_what_a_service_knew_before_is_shared_once(redis: Server, tmp_path: Path) -> None:
    async def go() -> None:
        async with started(tmp_path / "a") as alone:
            request, slate = await ask(alone)
            await like(alone, request, slate[0])
        async with started(tmp_path / "a", sharing(redis)), started(tmp_path / "b", sharing(redis)) as b:
            assert slate[0] not in (await ask(b))[1]
        async with started(tmp_path / "a", sharing(redis)):
            pass
        found = subprocess.run(
            ["redis-cli", "-p", str(redis.port), "eval", "return redis.call('llen', redis.call('keys', '*')[1])", "0"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert found.stdout.strip() == "1"

    asyncio.run(go())


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://:secret@host", "not an address of Redis; write redis://"),
        ("redis://:secret@host:many", "not an address of Redis; write redis://"),
        ("redis://:secret@127.0.0.1:1/0", "no answer"),
    ],
)
def test_wrong_addresses_are_refused_without_their_password(url: str, reason: str, tmp_path: Path) -> None:
    async def go() -> None:
        async with started(tmp_path, dataclasses.replace(OPEN, redis=url)):
            pass

    with pytest.raises(InputError, match=f"serve.redis: {reason}") as error:
        asyncio.run(go())
    assert "secret" not in str(error.value) and "\n" not in str(error.value)
