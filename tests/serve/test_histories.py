"""Histories that services share through a real Redis."""

import asyncio
import contextlib
import dataclasses
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jaxrec.checks import InputError
from jaxrec.config.serve import ServeConfig
from jaxrec.serve import histories
from jaxrec.serve.store import Store
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

    def start(self, *more: str) -> None:
        words = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        words += more
        self.process = subprocess.Popen([*words, "--dir", str(self.folder)], stdout=subprocess.DEVNULL)
        for _ in range(100):
            with socket.socket() as tried:
                if not tried.connect_ex(("127.0.0.1", self.port)):
                    return
            time.sleep(0.05)
        raise TimeoutError("redis-server does not listen")

    def __call__(self, *words: str) -> str:
        found = subprocess.run(["redis-cli", "-p", str(self.port), *words], capture_output=True, text=True, check=True)
        return found.stdout.strip()

    def users(self) -> list[str]:
        return [key for key in self("keys", f"{histories.PREFIX}*").split("\n") if key]

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(histories, "PATIENCE", 10.0)  # other processes may keep the cores busy
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
        assert [redis("zcard", key) for key in redis.users()] == ["1"]

    asyncio.run(go())


@pytest.mark.parametrize("how", ["an older snapshot", "a deleted key"])
def test_what_redis_lost_in_part_is_known_to_its_service_and_sent_again(
    how: str, redis: Server, tmp_path: Path
) -> None:
    async def go() -> None:
        async with started(tmp_path / "a", sharing(redis)) as a, started(tmp_path / "b", sharing(redis)) as b:
            request, slate = await ask(a)
            await like(a, request, slate[0])
            redis("save")
            await like(a, request, slate[1])
            if how == "a deleted key":
                redis("del", *redis.users())
                assert not {*slate[:2]} & {*(await ask(a))[1]}
                return
            redis.stop()
            redis.start()
            assert not {*slate[:2]} & {*(await ask(a))[1]}
            async with asyncio.timeout(15):
                while redis("zcard", *redis.users()) != "2":
                    await asyncio.sleep(0.1)
            assert not {*slate[:2]} & {*(await ask(b))[1]}

    asyncio.run(go())


def test_a_message_does_not_hide_what_redis_lost_just_before_it(redis: Server, tmp_path: Path) -> None:
    async def go() -> None:
        async with started(tmp_path, sharing(redis)) as a:
            request, slate = await ask(a)
            await like(a, request, slate[0])
            redis("flushall")
            await like(a, request, slate[1])  # before anything else has told the service
            async with asyncio.timeout(10):
                while redis("zcard", *redis.users()) != "2":
                    await asyncio.sleep(0.1)
            assert redis("hvals", histories.SENT) == "2"

    asyncio.run(go())


def test_a_redis_that_takes_no_more_is_still_read(
    redis: Server, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(histories, "PAUSE", 0.2)

    async def go() -> None:
        async with started(tmp_path / "a", sharing(redis)) as a, started(tmp_path / "b", sharing(redis)) as b:
            request, slate = await ask(a)
            await like(a, request, slate[0])
            redis("config", "set", "maxmemory", "1")
            await like(a, request, slate[1])
            for _ in range(10):
                assert not {*slate[:2]} & {*(await ask(a))[1]}
                assert slate[0] not in (await ask(b))[1]
                await asyncio.sleep(0.15)
            assert await failures(b) == 0
            redis("config", "set", "maxmemory", "0")
            async with asyncio.timeout(15):
                while slate[1] in (await ask(b))[1]:
                    await asyncio.sleep(0.1)

    asyncio.run(go())
    said = capsys.readouterr()
    assert said.err.count("warning") == 1 and "feedback was refused" in said.err and "maxmemory" in said.err
    assert said.out.count("takes feedback again") == 1


def test_connections_that_the_server_closed_are_no_outage(redis: Server, tmp_path: Path) -> None:
    async def go() -> None:
        async with started(tmp_path, sharing(redis, queue=1000, max_queue_ms=0)) as a:
            for _ in range(3):
                await asyncio.gather(*(ask(a, f"user {n}") for n in range(50)))
                redis("client", "kill", "type", "normal")
            await asyncio.gather(*(ask(a, f"user {n}") for n in range(50)))
            assert await failures(a) == 0

    asyncio.run(go())


@pytest.mark.parametrize("fault", [TypeError("odd"), UnicodeDecodeError("utf-8", b"x", 0, 1, "odd")])
def test_no_fault_of_the_client_reaches_requests_or_ends_upkeep(
    fault: Exception, redis: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from redis.asyncio.client import Pipeline

    async def fails(*_, **__):
        raise fault

    async def go() -> None:
        config = sharing(redis, part_rows=1)
        async with started(tmp_path, config) as a:
            request, slate = await ask(a)
            monkeypatch.setattr(Pipeline, "execute", fails)
            for item in slate:
                await like(a, request, item)
            assert not {*slate} & {*(await ask(a))[1]}
            async with asyncio.timeout(10):
                while not [*(tmp_path / "state" / "log").glob("*.parquet")]:
                    await asyncio.sleep(0.1)

    asyncio.run(go())


def test_services_that_keep_nothing_leave_redis_alone(redis: Server, tmp_path: Path) -> None:
    async def go() -> None:
        async with started(tmp_path / "a", sharing(redis)) as a:
            request, slate = await ask(a)
            await like(a, request, slate[0])
        async with started(tmp_path / "a", sharing(redis, history_kept=0)):
            pass
        assert redis("zcard", *redis.users()) == "1"

    asyncio.run(go())


def test_a_slow_redis_delays_requests_by_no_more_than_its_patience(
    redis: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wait: float) -> None:
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(65536):
                await asyncio.sleep(wait)
                writer.write(part)
        writer.close()

    async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", redis.port)
        await asyncio.gather(slow(reader, there[1], 0.05), slow(there[0], writer, 0.0))

    async def go() -> None:
        store = Store(tmp_path / "s", kept=4, remember_seconds=3600.0)
        async with await asyncio.start_server(between, "127.0.0.1", 0) as proxy:
            port, missed = proxy.sockets[0].getsockname()[1], []
            monkeypatch.setattr(histories, "PATIENCE", 1.0)
            shared = histories.Histories(
                store, histories.client_of(f"redis://127.0.0.1:{port}/0"), 4, lambda: missed.append(1)
            )
            await shared.start()

            async def timed(n: int) -> float:
                begun = time.monotonic()
                await shared.read(f"user {n}")
                return time.monotonic() - begun

            taken = await asyncio.gather(*(timed(n) for n in range(2000)))  # 32 at a time would take 3 s
            assert max(taken) < 2.0 and 50 < len(missed) < 2000
            await shared.close()
        store.close_writer()
        store.close()

    asyncio.run(go())


def test_a_server_that_hangs_does_not_keep_the_service_from_ending(tmp_path: Path) -> None:
    async def go() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"rediss://127.0.0.1:{silent.getsockname()[1]}/0"
            async with started(tmp_path, dataclasses.replace(OPEN, redis=url)) as a:
                request, slate = await ask(a)
                await like(a, request, slate[0])

    begun = time.monotonic()
    asyncio.run(go())
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("kept", [0, 1])
def test_no_more_than_what_is_kept_is_there(kept: int, redis: Server, tmp_path: Path) -> None:
    async def go() -> None:
        async with started(tmp_path, sharing(redis, history_kept=kept)) as a:
            request, slate = await ask(a)
            for item in slate[:3]:
                await like(a, request, item)
            assert [redis("zcard", key) for key in redis.users()] == ["1"] * kept
            known = {"history": [{"item": slate[2], "rating": 5}] * kept, "k": 4}
            want = (await a("POST", "/recommend", known)).body["items"]
            assert (await ask(a))[1] == [one["id"] for one in want]

    asyncio.run(go())


def test_many_requests_at_once_are_answered_from_redis(redis: Server, tmp_path: Path) -> None:
    async def go() -> None:
        config = sharing(redis, queue=1000, max_queue_ms=0)
        async with started(tmp_path, config) as a:
            shown = await asyncio.gather(*(ask(a, f"user {n}") for n in range(200)))
            await asyncio.gather(*(like(a, request, slate[0]) for request, slate in shown))
            again = await asyncio.gather(*(ask(a, f"user {n}") for n in range(200)))
            assert all(slate[0] not in after for (_, slate), (_, after) in zip(shown, again, strict=True))
            assert len(redis.users()) == 200 and await failures(a) == 0

    asyncio.run(go())


def test_what_redis_lost_is_sent_again(redis: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histories, "MOST", 3)  # events in a message

    async def go() -> None:
        config = sharing(redis)
        async with started(tmp_path / "a", config) as a, started(tmp_path / "b", config) as b:
            shown = [await ask(a, f"user {n}", 1) for n in range(10)]
            for request, slate in shown:
                await like(a, request, slate[0])
            redis("flushall")
            for n, (_, slate) in enumerate(shown):
                assert slate != (await ask(a, f"user {n}", 1))[1]  # from its own file
            async with asyncio.timeout(10):
                while len(redis.users()) < 10:
                    await asyncio.sleep(0.1)
            for n, (_, slate) in enumerate(shown):
                assert slate != (await ask(b, f"user {n}", 1))[1]
            assert await failures(a) == await failures(b) == 0

    asyncio.run(go())


def test_what_happened_while_redis_was_not_used_is_sent_later(redis: Server, tmp_path: Path) -> None:
    async def go() -> None:
        async with started(tmp_path / "a", sharing(redis)) as a:
            first, before = await ask(a)
            await like(a, first, before[0])
        async with started(tmp_path / "a") as a:
            await like(a, first, before[1])
        async with started(tmp_path / "a", sharing(redis)), started(tmp_path / "b", sharing(redis)) as b:
            assert not {*before[:2]} & {*(await ask(b))[1]}

    asyncio.run(go())


def test_old_events_of_one_service_do_not_push_out_newer_ones_of_another(redis: Server, tmp_path: Path) -> None:
    async def go() -> None:
        config = sharing(redis, history_kept=1)
        async with started(tmp_path / "a", dataclasses.replace(config, redis="")) as a:
            request, slate = await ask(a)
            await like(a, request, slate[0])
        async with started(tmp_path / "b", config) as b:
            request, _ = await ask(b)
            await like(b, request, slate[1])
            async with started(tmp_path / "a", config) as a:
                known = {"history": [{"item": slate[1], "rating": 5}], "k": 4}
                want = [item["id"] for item in (await a("POST", "/recommend", known)).body["items"]]
                assert (await ask(a))[1] == (await ask(b))[1] == want

    asyncio.run(go())


@pytest.mark.parametrize("write", [("set", "x"), ("zadd", "1", "no json"), ("zadd", "1", "[1, 2]"), ("rpush", "[]")])
def test_a_key_of_others_concerns_its_user_alone(write: tuple[str, ...], redis: Server, tmp_path: Path) -> None:
    async def go() -> None:
        async with started(tmp_path / "a", sharing(redis)) as a, started(tmp_path / "b", sharing(redis)) as b:
            (request, slate), (other, others) = await ask(a), await ask(a, "bob")
            await like(a, request, slate[0])
            (key,) = redis.users()
            redis("del", key)
            redis(write[0], key, *write[1:])
            assert slate[0] not in (await ask(a))[1] and await failures(a) == 1
            await like(a, request, slate[1])
            assert not {*slate[:2]} & {*(await ask(a))[1]}
            await like(a, other, others[0])
            assert others[0] not in (await ask(b, "bob"))[1] and await failures(b) == 0

    asyncio.run(go())


def test_a_service_starts_without_redis_and_finds_it_later(
    redis: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(histories, "PAUSE", 0.2)
    redis.stop()

    async def go() -> None:
        async with started(tmp_path, sharing(redis)) as a:
            assert "serve.redis: no answer" in capsys.readouterr().err
            request, slate = await ask(a)
            await like(a, request, slate[0])
            redis.start()
            async with asyncio.timeout(10):
                while not redis.users():
                    await asyncio.sleep(0.1)

    asyncio.run(go())


def test_a_redis_that_hangs_keeps_a_request_for_a_moment(
    redis: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(histories, "PATIENCE", 0.25)
    monkeypatch.setattr(histories, "CATCH_UP", 0.5)

    async def go() -> None:
        async with started(tmp_path, sharing(redis)) as a:
            request, slate = await ask(a)
            assert redis.process is not None
            redis.process.send_signal(signal.SIGSTOP)
            begun = time.monotonic()
            await asyncio.gather(*(like(a, request, item) for item in slate))
            assert not {*slate} & {*(await ask(a))[1]}
            assert time.monotonic() - begun < 5 and await failures(a) >= 1
            redis.process.send_signal(signal.SIGCONT)

    asyncio.run(go())


def test_a_wrong_password_is_refused_when_the_service_starts(
    redis: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.stop()
    redis.start("--requirepass", "right")

    async def go() -> None:
        async with started(tmp_path, sharing(redis)) as a:
            request, slate = await ask(a)
            await like(a, request, slate[0])
            assert await failures(a) == 0

    monkeypatch.setenv(histories.PASSWORD, "wrong")
    with pytest.raises(InputError, match=r"serve.redis: refused \(.*\); set the password in JAXREC_REDIS_PASSWORD"):
        asyncio.run(go())
    monkeypatch.setenv(histories.PASSWORD, "right")
    asyncio.run(go())


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        *((f"redis://:secret@host/0?{one}", "not an address") for one in ("protocol=9", "protocol=x", "db=x")),
        ("rediss://:secret@host/0?ssl_cert_reqs=foo", "not an address"),
        ("redis://:secret@host/five", "not an address"),
        ("http://:secret@host", "not an address of Redis; write redis://"),
        ("redis://:secret@host:many", "not an address of Redis; write redis://"),
        ("redis://:secret@127.0.0.1:1/0?colour=red", "not an address of Redis; write redis://"),
    ],
)
def test_wrong_addresses_are_refused_without_their_password(url: str, reason: str, tmp_path: Path) -> None:
    async def go() -> None:
        async with started(tmp_path, dataclasses.replace(OPEN, redis=url)):
            pass

    with pytest.raises(InputError, match=f"serve.redis: {reason}") as error:
        asyncio.run(go())
    assert "secret" not in str(error.value) and "\n" not in str(error.value)
