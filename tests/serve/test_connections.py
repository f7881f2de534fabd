"""Connections that send nothing, over real sockets."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from jaxrec.serve.connections import bounded_connections

HALF = b"GET / HTTP/1.1\r\nHost: x\r\n"
MOST = 4
LARGE = b"x" * 2**26


async def app(scope: Any, receive: Any, send: Any) -> None:
    """An answer, at /slow after a second, at /large with more than a socket holds."""
    if scope["path"] == "/slow":
        await asyncio.sleep(1.0)
    body = LARGE if scope["path"] == "/large" else b"ok"
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def serving(seconds: int, most: int = MOST) -> Iterator[int]:
    """A server whose connections may wait for `seconds`; gives its port."""
    listening = socket.create_server(("127.0.0.1", 0))
    settings = uvicorn.Config(
        app, http=bounded_connections(most), lifespan="off", log_level="error", timeout_keep_alive=seconds
    )
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


def connected(stack: contextlib.ExitStack, port: int) -> socket.socket:
    return stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))


def answered(connection: socket.socket, request: bytes = HALF + b"\r\n") -> bool:
    connection.sendall(request)
    return received(connection, 1)


def received(connection: socket.socket, answers: int) -> bool:
    """Read so many answers; False if others come, or the connection is closed."""
    found = b""
    while found.count(b"\r\n\r\nok") < answers:
        more = connection.recv(1000)
        if not more:
            return False
        found += more
    return found.count(b"HTTP/1.1 200") == answers


def is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0.3)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def test_the_connections_that_waited_longest_make_room_and_requests_are_answered() -> None:
    with serving(60) as port, contextlib.ExitStack() as stack:
        slow = connected(stack, port)
        slow.sendall(HALF.replace(b"/ ", b"/slow ") + b"\r\n")  # a request in progress does not wait
        idle = []
        for _ in range(MOST + 3):
            idle.append(connected(stack, port))
            time.sleep(0.02)  # so that the server meets them in this order
        assert answered(connected(stack, port))
        assert [is_closed(one) for one in idle] == [True] * 4 + [False] * 3  # the newest one is the fourth that waits
        assert received(slow, 1)
        assert answered(slow) and answered(slow)  # and so again and again


def test_headers_have_to_arrive_in_time_however_slowly_they_are_sent() -> None:
    with serving(1) as port, contextlib.ExitStack() as stack:
        silent, dripping, asking = (connected(stack, port) for _ in range(3))
        dripping.sendall(HALF)
        begun = time.monotonic()
        while time.monotonic() - begun < 0.7:
            assert answered(asking)  # whoever asks again and again is never closed
            dripping.sendall(b"X-Y: z\r\n")
            time.sleep(0.1)
        while time.monotonic() - begun < 10 and not (is_closed(silent) and is_closed(dripping)):
            with contextlib.suppress(OSError):
                dripping.sendall(b"X-Y: z\r\n")
        assert is_closed(silent) and is_closed(dripping)
        assert answered(connected(stack, port))


@pytest.mark.parametrize("most", [1, 2])
def test_requests_one_after_another_on_one_connection_are_all_answered(most: int) -> None:
    with serving(60, most) as port, contextlib.ExitStack() as stack:
        one = connected(stack, port)
        assert all(answered(one) for _ in range(5))
        one.sendall((HALF + b"\r\n") * 3)  # at once
        assert received(one, 3)
        assert answered(one)


def test_a_client_that_does_not_read_its_answer_is_left() -> None:
    with serving(1) as port, contextlib.ExitStack() as stack:
        lazy = connected(stack, port)
        lazy.sendall(HALF.replace(b"GET /", b"GET /large") + b"\r\n")
        time.sleep(2.5)
        found = 0
        with contextlib.suppress(ConnectionResetError):
            while more := lazy.recv(2**20):
                found += len(more)
        assert found < len(LARGE)
        assert answered(connected(stack, port))
