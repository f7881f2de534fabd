"""A headless Chromium for tests of pages, over the WebDriver protocol of its driver."""

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element in answers of a driver (W3C WebDriver, 12)
WAIT = 60.0  # s


class Browser:
    """One window."""

    def __init__(self, url: str):
        """Open a window through the driver at `url`."""
        self._url, self._session = url, ""
        arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1100,900",
        ]
        options = {"args": arguments, "binary": _found("chromium", "chromium-browser", "google-chrome")}
        capabilities = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
        self._session = f"/session/{self._do('POST', '/session', {'capabilities': capabilities})['sessionId']}"

    def open(self, url: str) -> None:
        self._do("POST", "/url", {"url": url})

    def find(self, css: str) -> list[str]:
        found = self._do("POST", "/elements", {"using": "css selector", "value": css})
        return [one[ELEMENT] for one in found]

    def texts(self, css: str) -> list[str]:
        """Texts of elements as they are shown, all of one moment."""
        return self.run(f"return [...document.querySelectorAll({json.dumps(css)})].map(one => one.innerText)")

    def type(self, keys: str) -> None:
        """Press keys, wherever the focus is."""
        acts = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._do("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": acts}]})

    def run(self, script: str) -> Any:
        return self._do("POST", "/execute/sync", {"script": script, "args": []})

    def command(self, name: str, **parameters: Any) -> Any:
        """A command of the DevTools protocol."""
        return self._do("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def messages(self) -> list[str]:
        """What the page, or the browser about it, wrote to the console since the last call."""
        return [one["message"] for one in self._do("POST", "/se/log", {"type": "browser"})]

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._do("GET", "/screenshot")))

    def until(self, holds: Callable[[], Any]) -> Any:
        """What `holds` gives as soon as that is true."""
        end = time.monotonic() + WAIT
        while not (value := holds()):
            assert time.monotonic() < end, "the page did not change as expected"
            time.sleep(0.05)
        return value

    def close(self) -> None:
        self._do("DELETE", "")

    def _do(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + self._session + path, data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=WAIT) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser; skips the test where none is installed."""
    driver = _found("chromedriver")
    if not driver or not _found("chromium", "chromium-browser", "google-chrome"):
        pytest.skip("no Chromium with its driver is installed (Debian: chromium, chromium-driver)")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {"HOME": str(profile)}
    with subprocess.Popen(
        [driver, f"--port={port}"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _wait_for(port)
            window = Browser(f"http://127.0.0.1:{port}")
            try:
                yield window
            finally:
                window.close()
        finally:
            process.terminate()


def _found(*names: str) -> str | None:
    return next((path for name in names if (path := shutil.which(name))), None)


def _wait_for(port: int) -> None:
    end = time.monotonic() + WAIT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
            return
        except OSError:
            assert time.monotonic() < end, "the driver does not start"
            time.sleep(0.05)
