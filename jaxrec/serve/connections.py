"""Connections on which nothing happens: how long each may wait, and how many there may be.

uvicorn counts all open connections against its limit, and above it refuses every request, `GET /health` too. It bounds
the time between two requests, but not that until the first one, nor that in which headers arrive. So a few thousand
connections that send nothing would keep everybody else out for ever. Here a connection that waits for the headers of a
request is closed after `timeout_keep_alive` seconds, and earlier if it has waited longest of too many. So is one whose
peer does not read its answers for that long.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def bounded_connections(most: int) -> type[HttpToolsProtocol]:
    """A protocol for uvicorn's setting `http`, of which at most `most` connections wait for a request."""
    waiting: dict[Any, asyncio.TimerHandle] = {}  # the one that has waited longest comes first

    class Connection(HttpToolsProtocol):
        """One connection; it waits from its beginning, or its last answer, until the headers of a request are there."""

        def connection_made(self, transport: Any) -> None:
            self._stalled: asyncio.TimerHandle | None = None
            super().connection_made(transport)
            self._wait()

        def on_headers_complete(self) -> None:
            self._stop_waiting()
            super().on_headers_complete()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
                self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            self._stop_stalling()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stop_stalling()
            self._stalled = self.loop.call_later(self.timeout_keep_alive, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stop_stalling()

        def _stop_stalling(self) -> None:
            if self._stalled is not None:
                self._stalled.cancel()
                self._stalled = None

        def _wait(self) -> None:
            self._stop_waiting()
            waiting[self] = self.loop.call_later(self.timeout_keep_alive, self._end)
            if len(waiting) > most:
                first = next(iter(waiting))
                waiting.pop(first).cancel()
                first._end()

        def _end(self) -> None:
            """Close; a peer that does not read its answers would keep a connection that is only closed."""
            if self.transport.get_write_buffer_size():
                self.transport.abort()
            else:
                self.transport.close()

        def _stop_waiting(self) -> None:
            if (timer := waiting.pop(self, None)) is not None:
                timer.cancel()

    return Connection
