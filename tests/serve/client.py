"""A client of the service without a socket: requests are messages of ASGI."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from jaxrec.config.data import Columns
from jaxrec.config.serve import ServeConfig
from jaxrec.serve.app import make_app
from jaxrec.serve.arms import Load
from jaxrec.serve.keys import Keys
from jaxrec.serve.service import Service, Serving
from jaxrec.serve.tokens import Tokens
from tests.serve.small_policy import small_policy

SECRET = b"of tests only, and long enough to pass"
OPEN = ServeConfig(keys="none", max_k=16, max_history=20, max_body_bytes=2048, body_seconds=0.5, batch_size=4)


class Answered(NamedTuple):
    status: int
    body: Any
    headers: dict[str, str]


class Client:
    """Calls an application directly."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        key: str = "",
        stall: bool = False,
        host: str = "localhost:8000",
        kind: str = "application/json",
        query: str = "",
    ) -> Answered:
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        sent: list[dict] = []
        messages = [{"type": "http.request", "body": content, "more_body": stall}]

        async def receive() -> dict:
            if messages:
                return messages.pop()
            return await asyncio.Event().wait()  # type: ignore[return-value]

        async def send(message: dict) -> None:
            sent.append(message)

        headers = [(b"authorization", f"Bearer {key}".encode())] if key else []
        headers += [(b"host", host.encode()), (b"content-type", kind.encode())]
        scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "headers": headers}
        scope |= {
            "query_string": query.encode(),
            "http_version": "1.1",
            "scheme": "http",
            "server": ("x", 1),
            "root_path": "",
        }
        await self.app(scope, receive, send)
        text = b"".join(m.get("body", b"") for m in sent[1:])
        found = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
        json_ = found["content-type"] == "application/json"
        return Answered(sent[0]["status"], json.loads(text) if json_ else text.decode(), found)


@contextlib.asynccontextmanager
async def started(
    tmp_path: Path,
    config: ServeConfig = OPEN,
    load: Load | None = None,
    seconds: dict[str, Any] | None = None,
    **policy: Any,
) -> AsyncIterator[Client]:
    """A client of a service that is ready; `seconds` are fields of Serving about further policies."""
    saved = small_policy(**policy)
    serving = Serving(load or (lambda: (saved, "7-test")), Columns(), SECRET, **(seconds or {}))
    service = Service(serving, config, tmp_path / "state")
    tokens = None if config.jwt == "none" else Tokens(config)
    client = Client(make_app(service, Keys(tmp_path / "keys.json", tokens)))
    assert (await client("GET", "/ready")).status == 503
    assert (await client("GET", "/health")).status == 200
    try:
        await service.start()
        yield client
    finally:
        await service.stop()


def run(
    tmp_path: Path,
    test: Callable[[Client], Awaitable[None]],
    config: ServeConfig = OPEN,
    load: Load | None = None,
    seconds: dict[str, Any] | None = None,
    **policy: Any,
) -> None:
    """Run `test` with a client of a service that is `started`."""

    async def go() -> None:
        async with started(tmp_path, config, load, seconds, **policy) as client:
            await test(client)

    asyncio.run(go())
