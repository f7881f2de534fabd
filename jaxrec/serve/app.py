"""The service over HTTP: routes, keys, limits and errors; each fault is one line of JSON."""

import asyncio
import contextlib
import functools
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from jaxrec.checks import InputError
from jaxrec.foreign import quoted
from jaxrec.serve.batching import Closed, Full
from jaxrec.serve.keys import Keys, RateLimit, is_loopback
from jaxrec.serve.openapi import openapi
from jaxrec.serve.page import page, read_search
from jaxrec.serve.service import Service
from jaxrec.serve.slates import NotFinite
from jaxrec.serve.stored import NotShown, UnknownRequest

LOGGER = logging.getLogger("jaxrec.serve")
Answer = Callable[[Request], Awaitable[Response]]


class Refused(Exception):
    """A status and why."""

    def __init__(self, status: int, reason: str, headers: dict[str, str] | None = None):
        """`headers` of the answer."""
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers


def make_app(
    service: Service,
    keys: Keys,
    ready: Callable[[], None] = lambda: None,
    failed: Callable[[Exception], None] = lambda error: None,
) -> Starlette:
    """Build the application; `ready` is called when everything is compiled, `failed` if that cannot be done."""
    routes = Routes(service, keys)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        starting = asyncio.create_task(_start(service, ready, failed))
        try:
            yield
        finally:
            await starting
            await service.stop()

    table: list[tuple[str, str, str, Answer]] = [
        ("/recommend", "POST", "recommend", routes.recommend),
        ("/feedback", "POST", "feedback", routes.feedback),
        ("/reload", "POST", "admin", routes.reload),
        ("/search", "GET", "recommend", routes.search),
        ("/page.json", "GET", "recommend", routes.page_settings),
        ("/items/{id:path}", "GET", "recommend", routes.item),
        ("/metrics", "GET", "admin", routes.metrics),
        ("/health", "GET", "", routes.health),
        ("/ready", "GET", "", routes.ready),
        ("/openapi.json", "GET", "", routes.document),
        ("/", "GET", "", routes.page),
    ]
    if not service.config.page:
        table = [one for one in table if one[0] not in ("/", "/page.json")]
    return Starlette(
        routes=[
            Route(path, functools.partial(routes.guarded, path.partition("{")[0], scope, answer), methods=[method])
            for path, method, scope, answer in table
        ],
        exception_handlers={HTTPException: _of_routing},
        lifespan=lifespan,
    )


async def _start(service: Service, ready: Callable[[], None], failed: Callable[[Exception], None]) -> None:
    try:
        await service.start()
    except Exception as error:
        failed(error)
    else:
        ready()


class Routes:
    """The answers to requests."""

    def __init__(self, service: Service, keys: Keys):
        """`keys` is asked only where the settings require keys."""
        self._service, self._keys, self._config = service, keys, service.config
        self._limit = RateLimit(self._config.requests_per_second, self._config.burst)

    async def guarded(self, name: str, scope: str, answer: Answer, request: Request) -> Response:
        """Answer a request, count it, and turn what is wrong into a status and one line."""
        begun = time.perf_counter()
        try:
            if scope:
                self._check_key(request, scope)
            response = await answer(request)
        except Refused as error:
            response = _error(error.status, error.reason, error.headers)
        except NotFinite as error:
            LOGGER.error("%s: %s", name, error)
            response = _error(500, str(error))
        except InputError as error:
            response = _error(400, str(error))
        except UnknownRequest:
            response = _error(404, "request: no slate of this id is remembered; ask for a new one.")
        except NotShown as error:
            response = _error(400, f"item: {quoted(str(error))} was not in the slate of this request.")
        except Full:
            response = _error(429, "the queue is full; try again later.", {"Retry-After": "1"})
        except Closed:
            response = _error(503, "the service is stopping.", {"Retry-After": "5"})
        except ClientDisconnect:
            response = _error(400, "the client closed the connection.")
        except OSError as error:
            LOGGER.error("%s: %s", name, error)
            response = _error(503, "the request cannot be stored at the moment; nothing of it was.")
        except Exception:
            LOGGER.exception("%s: unexpected error", name)
            response = _error(500, "internal error; the traceback is in the server's log.")
        self._service.monitor.answered(name, response.status_code, time.perf_counter() - begun)
        return response

    async def recommend(self, request: Request) -> Response:
        """POST /recommend."""
        self._check_ready()
        self._service.check_room()
        body = await self._body(request)
        return _json(await self._service.recommend(body))

    async def feedback(self, request: Request) -> Response:
        """POST /feedback."""
        body = await self._body(request)
        self._check_ready()
        return _json(await self._service.feedback(body))

    async def reload(self, request: Request) -> Response:
        """POST /reload."""
        await self._body(request)
        self._check_ready()
        try:
            return _json(await self._service.reload())
        except (InputError, OSError) as error:
            raise Refused(409, f"the old policy stays: {error}") from None

    async def item(self, request: Request) -> Response:
        """GET /items/{id}."""
        found = self._service.item(request.path_params["id"])
        if found is None:
            raise Refused(404, f"the catalogue has no item {quoted(request.path_params['id'])}.")
        return _json(found)

    async def search(self, request: Request) -> Response:
        """GET /search?title=TEXT."""
        return _json(await self._service.search(read_search(request.query_params.get("title", ""))))

    async def page(self, request: Request) -> Response:
        """GET /."""
        content, headers = page()
        return Response(content, headers=headers, media_type="text/html")

    async def page_settings(self, request: Request) -> Response:
        """GET /page.json."""
        return _json(self._service.page_settings())

    async def metrics(self, request: Request) -> Response:
        """GET /metrics."""
        return Response(self._service.monitor.text(), media_type=self._service.monitor.content_type)

    async def health(self, request: Request) -> Response:
        """GET /health."""
        return _json({"status": "alive"})

    async def ready(self, request: Request) -> Response:
        """GET /ready."""
        self._check_ready()
        return _json({"status": "ready"})

    async def document(self, request: Request) -> Response:
        """GET /openapi.json."""
        return _json(openapi(self._config))

    def _check_ready(self) -> None:
        if not self._service.ready:
            raise Refused(503, "not ready: the policy is being compiled, or the service is stopping.")

    def _check_key(self, request: Request, scope: str) -> None:
        """Raise Refused unless the request has a key that is good for `scope` and within its rate."""
        if self._config.keys == "none":
            _check_no_page(request)
            return
        word, _, key = request.headers.get("authorization", "").partition(" ")
        found = self._keys.find(key.strip()) if word.lower() == "bearer" else None
        if found is None:
            known = "API key" if self._config.jwt == "none" else "API key or valid token"
            reason = f"no known {known}; send the header Authorization: Bearer KEY."
            raise Refused(401, reason, {"WWW-Authenticate": "Bearer"})
        if not found.may(scope):
            raise Refused(403, f"this API key or token lacks the scope {scope}.")
        if wait := self._limit.wait(found.name):
            reason = "this API key or token exceeded its request rate; try again later."
            raise Refused(429, reason, {"Retry-After": str(math.ceil(wait))})

    async def _body(self, request: Request) -> bytes:
        """Read the body; raises Refused if it is too long or takes too long."""
        most, parts, size = self._config.max_body_bytes, [], 0
        too_long = Refused(413, f"body: more than {most:,} bytes.", {"Connection": "close"})
        announced = request.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced[:20]) > most:
            raise too_long
        try:
            async with asyncio.timeout(self._config.body_seconds):
                async for part in request.stream():
                    size += len(part)
                    if size > most:
                        raise too_long
                    parts.append(part)
        except TimeoutError:
            reason = f"body: did not arrive within {self._config.body_seconds:g} s."
            raise Refused(408, reason, {"Connection": "close"}) from None
        return b"".join(parts)


def _check_no_page(request: Request) -> None:
    """Raise Refused for what a web page in a browser of this machine can send, where no key protects the service.

    A page of another host reaches a loopback address by a name that resolves to it (DNS rebinding), which is then the
    Host; and a form or script of another origin may send any POST but one of JSON, for which browsers ask first.
    """
    host = request.headers.get("host")
    if host is not None and not is_loopback(urlsplit(f"//{host}").hostname or ""):
        raise Refused(403, "without API keys the service answers this machine only; use the host localhost.")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method == "POST" and kind != "application/json":
        raise Refused(415, "without API keys a POST needs the header Content-Type: application/json.")


async def _of_routing(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    reasons = {404: "no such path; GET /openapi.json lists them.", 405: "this path does not accept this method."}
    return _error(status, reasons.get(status, "refused."))


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), status, headers, media_type="application/json")


def _error(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    return _json({"error": reason}, status, headers)
