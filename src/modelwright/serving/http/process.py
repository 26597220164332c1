"""The process of a server: connections, signals, and an end that leaves nobody without an answer."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import socket
import sys
import time
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from modelwright.core.errors import InputError
from modelwright.serving.http.app import Service
from modelwright.serving.http.guard import LARGEST_HEADERS

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # glibc's malloc.h
LARGE_BUFFER = 1 << 18
"""Bytes of a buffer that is large."""
BACKLOG = 1024
"""Connections that wait to be accepted."""
SWITCH_SECONDS = 0.0005
"""How long a thread may keep others waiting: at Python's 5 ms, the event loop would hold the engine up between two tokens."""


def steady_heap() -> None:
    """Tell glibc, where that is the C library, to give large buffers back at once and to keep few heaps, so that memory doesn't grow by fragments."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(_M_MMAP_THRESHOLD, LARGE_BUFFER)
    mallopt(_M_TRIM_THRESHOLD, 16 * LARGE_BUFFER)
    mallopt(_M_ARENA_MAX, 2)


def protocol(header_seconds: float, taking_seconds: float) -> type[H11Protocol]:
    """A connection that ends when the headers of a request are not there in time, however they trickle in, or its answer is not taken in time."""

    class Timed(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None
        _stalled: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            # To be told of whatever the client doesn't take at once.
            transport.set_write_buffer_limits(high=0)
            self._expect()

        def data_received(self, data: bytes) -> None:
            if self._deadline is None and (self.cycle is None or self.cycle.response_complete):
                self._expect()
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._arrived()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stalled = self.loop.call_later(taking_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            self._taken()
            super().resume_writing()

        def connection_lost(self, exc: Exception | None) -> None:
            self._arrived()
            self._taken()
            super().connection_lost(exc)

        def _expect(self) -> None:
            self._deadline = self.loop.call_later(header_seconds, self.transport.close)

        def _arrived(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _taken(self) -> None:
            if self._stalled is not None:
                self._stalled.cancel()
                self._stalled = None

    return Timed


class Server(uvicorn.Server):
    """Serves until it is told to stop: then new requests get 503, those in progress end within the grace time, and the second signal ends all.

    Args:
        service: what is served.
        bound: a socket that listens, as `bind` gives it.
    """

    def __init__(self, service: Service, bound: socket.socket) -> None:
        limits = service.limits
        super().__init__(
            uvicorn.Config(
                service.asgi,
                http=protocol(limits.header_seconds, limits.request_seconds),
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_level="critical",
                access_log=False,
                server_header=False,
                date_header=True,
                proxy_headers=False,
                limit_concurrency=limits.connections,
                backlog=BACKLOG,
                timeout_keep_alive=round(limits.idle_seconds),
                timeout_graceful_shutdown=1,
                h11_max_incomplete_event_size=2 * LARGEST_HEADERS,
            )
        )
        self._service, self._bound = service, bound
        self._until: float | None = None

    def handle_exit(self, sig: int, frame: Any) -> None:
        """A signal: the first one lets what is going on end, the second doesn't."""
        if self._until is not None:
            self.should_exit = self.force_exit = True
            return
        self.stop()

    def stop(self) -> None:
        """Take nothing more, and end when all is answered or the grace time is over."""
        self._until = time.monotonic() + self._service.limits.grace_seconds
        self._service.drain()

    async def on_tick(self, counter: int) -> bool:
        """Every tenth of a second: whether to end."""
        if self._until is not None and (self._service.idle or time.monotonic() >= self._until):
            self.should_exit = True
        return await super().on_tick(counter)

    def run_until_stopped(self) -> None:
        """Serve; returns when stopped."""
        before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)
        # What h11 and asyncio say of broken connections is no news.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        try:
            self.run(sockets=[self._bound])
        finally:
            sys.setswitchinterval(before)
            self._service.close()


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens at `host` and `port`; 0 takes any free one.

    Raises:
        InputError: it is taken, or not this machine's.
    """
    name, bound = host.strip("[]"), None
    try:
        family, kind, protocol_number, _, address = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        bound = socket.socket(family, kind, protocol_number)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        # From now on nobody is refused: who comes before the server is ready waits.
        bound.listen(BACKLOG)
    except (OSError, UnicodeError) as error:
        if bound is not None:
            bound.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"can't listen there ({reason})", where=f"{host}:{port}", remedy="Choose another --port, or --host") from None
    return bound
