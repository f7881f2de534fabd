"""Hostile requests to a running server: each ends in the documented status in bounded time, and others get answers."""

import contextlib
import json
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from jaxrec.serve.keys import Keys
from tests.serve.small_policy import save, small_policy
from tests.serve_kills import Server

BOUND = 20.0  # s for an answer, on a machine with other work; a body may take one second of them
KEYS: dict[str, str] = {}
SETTINGS = (
    "serve.keys=required",
    "serve.max_history=20",
    "serve.max_body_bytes=4096",
    "serve.body_seconds=1",
    "serve.max_queue_ms=0",
)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("hostile")
    state = folder / "state"
    state.mkdir()
    keys = Keys(state / "keys.json")
    KEYS["shop"], KEYS["boss"] = keys.add("shop", ["recommend", "feedback"]), keys.add("boss", ["admin"])
    server = Server(save(small_policy(), folder / "policy"), state, *SETTINGS)
    yield server.port
    assert server.end(signal.SIGTERM) == 128 + signal.SIGTERM  # it lives, and still stops in order


def request(
    path: str = "/recommend",
    body: bytes | dict | None = b"{}",
    *,
    method: str = "POST",
    key: str = "shop",
    headers: bytes = b"",
    length: str | None = None,
) -> bytes:
    """The bytes of a request; `key` names one of KEYS, or is a whole Authorization."""
    content = json.dumps(body).encode() if isinstance(body, dict) else body or b""
    sent = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n".encode("latin-1")
    if key:
        sent += f"Authorization: {f'Bearer {KEYS[key]}' if key in KEYS else key}\r\n".encode("latin-1")
    if length != "":
        sent += f"Content-Length: {len(content) if length is None else length}\r\n".encode()
    return sent + headers + b"\r\n" + content


def ask(port: int, data: bytes) -> tuple[int, bytes]:
    """Send bytes, and give the status and the body of the answer; status 0 is a closed connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=BOUND) as connection:
        with contextlib.suppress(ConnectionError):  # the server may refuse before it read everything
            connection.sendall(data)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while part := connection.recv(65536):
                answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return (int(head.split()[1]) if head else 0), body


def deep(levels: int) -> bytes:
    return b'{"history": ' + b"[" * levels + b"]" * levels + b"}"


def slate(**fields: object) -> dict:
    return {"path": "/recommend", "body": fields}


def event(**fields: object) -> dict:
    return {"path": "/feedback", "body": {"request": "0" * 32, "item": "1", "kind": "rating", "value": 1, **fields}}


GZIP = b"Content-Encoding: gzip\r\n"
# What is sent, as arguments of `request`, or bytes as they are; and the status. Names say what is hostile.
CASES: dict[str, tuple[dict | bytes, int]] = {
    "no body": ({"body": None}, 400),
    "an array": ({"body": b"[1, 2]"}, 400),
    "a number": ({"body": b"1"}, 400),
    "a text": ({"body": b'"a"'}, 400),
    "null": ({"body": b"null"}, 400),
    "half of an object": ({"body": b'{"k": '}, 400),
    "two objects": ({"body": b"{}{}"}, 400),
    "a comma too many": ({"body": b'{"k": 1,}'}, 400),
    "NaN": ({"body": b'{"k": NaN}'}, 400),
    "Infinity": ({"body": b'{"context": [Infinity]}'}, 400),
    "bytes that are no UTF-8": ({"body": b'{"user": "\xff\xfe"}'}, 400),
    "half of a surrogate pair": ({"body": b'{"user": "\\ud800"}'}, 400),
    "a pickle": ({"body": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94."}, 400),
    "a gzip bomb's first bytes": (
        {"body": b"\x1f\x8b\x08" + b"\0" * 90, "headers": b"Content-Encoding: gzip\r\n"},
        400,
    ),
    "1,900 levels of lists": ({"body": deep(1900)}, 400),
    "100 levels of lists": ({"body": deep(100)}, 400),
    "an unknown field": (slate(histori=[]), 400),
    "a field of Python": (slate(__class__="x"), 400),
    "user and history": (slate(user="a", history=[]), 400),
    "a user that is a list": (slate(user=["a"]), 400),
    "a user of 513 characters": (slate(user="x" * 513), 400),
    "k of 0": (slate(k=0), 400),
    "k below 0": (slate(k=-1), 400),
    "k of a billion": (slate(k=10**9), 400),
    "k of 300 digits": ({"body": b'{"k": ' + b"9" * 300 + b"}"}, 400),
    "k with a fraction": (slate(k=1.5), 400),
    "k that is true": (slate(k=True), 400),
    "k that is a text": (slate(k="5"), 400),
    "a history that is a text": (slate(history="1,2"), 400),
    "a history of null": (slate(history=[None]), 400),
    "a history of lists": (slate(history=[["1"]]), 400),
    "a history of 21 items": (slate(history=["1"] * 21), 400),
    "a history with a value of another type": (slate(history=[{"item": "1", "rating": {}}]), 400),
    "a history with a rating that is no number": (slate(history=[{"item": "1", "rating": "high"}]), 400),
    "a history with an unknown kind": (slate(history=[{"item": "1", "__proto__": 1}]), 400),
    "an id of colons": (slate(history=[":" * 512]), 200),  # no item of the catalogue: ignored
    "unknown ids": (slate(history=["nobody", "'; DROP TABLE shown; --", "../../etc/passwd"]), 200),
    "an id with a null": (slate(history=["1\0"]), 200),
    "include of an excluded item alone": (slate(exclude=[str(n) for n in range(20)], include=["1"]), 200),
    "reasons of an empty slate": (slate(exclude=["1"], include=["1"], explain=True), 200),
    "a context that the policy does not read": (slate(context=[1e300]), 400),
    "explain that is a text": (slate(explain="yes"), 400),
    "feedback on an unknown request": (event(), 404),
    "feedback on a request that is SQL": (event(request="' OR 1=1 --"), 404),
    "feedback on a request that is a list": (event(request=[]), 400),
    "feedback of an unknown kind": (event(kind="__init__"), 400),
    "feedback of NaN": (
        {"path": "/feedback", "body": b'{"request": "a", "item": "1", "kind": "rating", "value": NaN}'},
        400,
    ),
    "feedback of the year 33658": (event(time=1e12), 400),
    "feedback from before 1970": (event(time=-1), 400),
    "feedback with events of two kinds": (event(events=[]), 400),
    "feedback with a thousand and one events": (
        {"path": "/feedback", "body": {"request": "a", "events": [1] * 1001}},
        400,
    ),
    "a body of a megabyte": ({"body": b"x" * 10**6}, 413),
    "a body announced with 100 GB": ({"body": b"{}", "length": "107374182400"}, 413),
    "a body that never ends": ({"body": b"{", "length": "100"}, 408),
    "chunks that never end": (b"chunked", 408),
    "chunks of a megabyte": (b"chunks", 413),
    "a length that is no number": ({"length": "many"}, 400),
    "a length below 0": ({"length": "-1"}, 400),
    "two lengths": ({"headers": b"Content-Length: 99\r\n"}, 400),
    "a length and chunks": ({"headers": b"Transfer-Encoding: chunked\r\n"}, 400),
    "no key": ({"key": ""}, 401),
    "a key that is made up": ({"key": "Bearer jr_" + "A" * 43}, 401),
    "a key without its last letter": (b"short key", 401),
    "the hash of nothing": ({"key": "Bearer "}, 401),
    "a key in Basic": ({"key": "Basic YWRtaW46YWRtaW4="}, 401),
    "a key that is no ASCII": ({"key": "Bearer \xff\xfe"}, 401),
    "a token without a signature": ({"key": "Bearer eyJhbGciOiJub25lIn0.eyJzY29wZSI6ImFkbWluIn0."}, 401),
    "a key of 60,000 letters": ({"key": "Bearer " + "A" * 60_000}, 401),
    "metrics without the scope": ({"path": "/metrics", "method": "GET"}, 403),
    "a reload without the scope": ({"path": "/reload"}, 403),
    "a traversal in an id": ({"path": "/items/../../../../etc/passwd", "method": "GET"}, 404),
    "a traversal that is escaped": ({"path": "/items/%2e%2e%2f%2e%2e%2fkeys.json", "method": "GET"}, 404),
    "an id with a null in the path": ({"path": "/items/%00", "method": "GET"}, 404),
    "a file of the state": ({"path": "/keys.json", "method": "GET"}, 404),
    "a path of 60,000 letters": ({"path": "/" + "a" * 60_000, "method": "GET"}, 404),
    "a search for nothing": ({"path": "/search?title=", "method": "GET"}, 400),
    "a search of 10,000 letters": ({"path": "/search?title=" + "a" * 10_000, "method": "GET"}, 400),
    "a search for bytes that are no UTF-8": ({"path": "/search?title=%ff%fe", "method": "GET"}, 200),
    "another method": ({"path": "/recommend", "method": "DELETE"}, 405),
    "TRACE": ({"path": "/health", "method": "TRACE", "body": b""}, 405),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200 + b"\r\n\r\n", 400),
    "a line feed in a header": ({"headers": b"X-A: 1\nX B 2\r\n"}, 400),
    "a header without a name": ({"headers": b": x\r\n"}, 400),
    "the admin's scope in a header": ({"path": "/reload", "headers": b"X-Scopes: admin\r\n"}, 403),
    "a forwarded host, which is ignored": ({"headers": b"X-Forwarded-Host: evil.example\r\n", "body": b"{}"}, 200),
}


def written(sent: dict | bytes) -> bytes:
    chunked = {"headers": b"Transfer-Encoding: chunked\r\n", "length": ""}
    if sent == b"chunked":
        return request(body=b'5\r\n{"k":\r\n', **chunked)
    if sent == b"chunks":
        return request(body=b"40000\r\n" + b"x" * 0x40000 + b"\r\n0\r\n\r\n", **chunked)
    if sent == b"short key":
        return request(key=f"Bearer {KEYS['shop'][:-1]}")
    return sent if isinstance(sent, bytes) else request(**sent)


@pytest.mark.parametrize("name", CASES)
def test_it_ends_with_the_documented_status(name: str, port: int) -> None:
    sent, status = CASES[name]
    begun = time.monotonic()
    found, body = ask(port, written(sent))
    assert found == status and time.monotonic() - begun < BOUND, (found, body[:300])
    assert b"Traceback" not in body and b".py" not in body and b"site-packages" not in body
    if status != 200 and body.startswith(b"{"):
        assert set(json.loads(body)) == {"error"}
    assert ask(port, request(body={"k": 3}))[0] == 200  # somebody else


def test_connections_that_send_nothing_or_byte_by_byte_do_not_stop_others(port: int) -> None:
    with contextlib.ExitStack() as stack:
        open_ = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=BOUND)) for _ in range(300)]
        data = request(body={"k": 3})
        for place in range(5):
            for connection in open_[:100]:
                connection.sendall(data[place : place + 1])
            begun = time.monotonic()
            assert ask(port, data)[0] == 200 and time.monotonic() - begun < BOUND
    assert ask(port, request(body={"k": 3}))[0] == 200


def test_clients_that_leave_at_once_do_not_stop_others(port: int) -> None:
    for _ in range(100):
        with socket.create_connection(("127.0.0.1", port), timeout=BOUND) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closes with a reset
            connection.sendall(request(body={"k": 3, "explain": True}))
    assert ask(port, request(body={"k": 3}))[0] == 200
