"""Connections of the review server. Their number, and the time that each step of a request may take, are limited."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 21\r\n"
    b"connection: close\r\n\r\nToo many connections."
)
_SWEEP_TICKS = 3
_DISCARD = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of the connections of a server.

    Attributes:
        connections: largest number of open connections. One more ends the connection that is idle for the longest
            time; it gets status 503 if there is none.
        request_seconds: time for the header of a request, from the start of the connection or the end of the request
            before; and for its body, besides the time that follows from `body_bytes_per_second`.
        body_bytes_per_second: lowest rate at which a body has to arrive.
        rest_seconds: time in which the rest of a body is discarded after the response was sent.
        stalled_seconds: time in which a client has to read the next part of a response.
        stop_seconds: time in which requests can end when the server stops.
        header_bytes: largest size of the header of a request.
    """

    connections: int = 256
    request_seconds: float = 8.0
    body_bytes_per_second: int = 1 << 16
    rest_seconds: float = 2.0
    stalled_seconds: float = 10.0
    stop_seconds: float = 1.0
    header_bytes: int = 1 << 15


class Connection(H11Protocol):
    """HTTP connection with deadlines.

    Attributes:
        is_ended: whether it was closed by `end`.
    """

    def __init__(self, *args: Any, limits: ConnectionLimits, **kwargs: Any) -> None:
        """Create a connection.

        Args:
            *args: arguments of `H11Protocol`.
            limits: limits of the connections.
            **kwargs: arguments of `H11Protocol`.
        """
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._since = self._now()
        self._body_bytes = 0
        self._stalled_since: float | None = None
        self.is_ended = False

    @property
    def is_in_request(self) -> bool:
        """Whether the header of a request has arrived and its response is not complete."""
        # uvicorn declares the cycle without the None that it has before the first request.
        return bool(self.cycle) and not self.cycle.response_complete

    @property
    def has_unsent(self) -> bool:
        """Whether a part of a response is not sent yet."""
        return self.transport.get_write_buffer_size() > 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time of the first request; end another connection if there are too many.

        Args:
            transport: the transport of the new connection.
        """
        super().connection_made(transport)
        self._since = self._now()
        others = [c for c in self.connections if isinstance(c, Connection) and c is not self and not c.is_ended]
        if len(others) < self._limits.connections:
            return
        idle = [c for c in others if not c.is_in_request and not c.has_unsent]
        if idle:
            min(idle, key=lambda c: c._since).end()
        else:
            self.transport.write(_BUSY)
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Process data; a new header starts the time of its body.

        Args:
            data: the received bytes.
        """
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._since, self._body_bytes = self._now(), 0
        self._body_bytes += len(data)

    def on_response_complete(self) -> None:
        """Start the time of the next request."""
        self._since, self._body_bytes = self._now(), 0
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Note since when the client does not read."""
        self._stalled_since = self._now()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that the client reads again."""
        self._stalled_since = None
        super().resume_writing()

    def is_late(self) -> bool:
        """Check whether the client missed its deadline. Time in which the server works or waits does not count.

        Returns:
            True if the connection is to be ended.
        """
        limits, now = self._limits, self._now()
        if self._stalled_since is not None:
            return now - self._stalled_since > limits.stalled_seconds
        waited = now - self._since
        if not self.is_in_request:
            is_rest = self.conn.their_state is h11.SEND_BODY
            return waited > (limits.rest_seconds if is_rest else limits.request_seconds)
        if not self.cycle.more_body or self.flow.read_paused or self.cycle.waiting_for_100_continue:
            self._since, self._body_bytes = now, 0
            return False
        return waited > limits.request_seconds + self._body_bytes / limits.body_bytes_per_second

    def end(self) -> None:
        """Close the connection at once, also if the client does not read the rest of a response."""
        self.is_ended = True
        if self.has_unsent:
            # Otherwise the system keeps what is in its own buffer for minutes.
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD)
        self.transport.abort()

    def shutdown(self) -> None:
        """Close the connection after its response, because the server stops; at once if a request is incomplete."""
        if self.is_in_request and self.cycle.more_body:
            self.end()
            return
        with suppress(h11.LocalProtocolError):
            super().shutdown()

    @staticmethod
    def _now() -> float:
        return time.monotonic()


class Server(uvicorn.Server):
    """Server that ends late connections, and stops within a limited time."""

    def __init__(self, app: ASGIApp, limits: ConnectionLimits | None = None) -> None:
        """Configure a server. Requests are not logged, because their addresses can contain the token.

        Args:
            app: the web application.
            limits: limits of the connections.
        """
        self.limits = limits or ConnectionLimits()
        config = uvicorn.Config(
            app, http=partial(Connection, limits=self.limits),  # type: ignore[arg-type]  # it is called like the class
            ws="none", lifespan="off", loop="asyncio", log_level="error", access_log=False, server_header=False,
            proxy_headers=False, backlog=256, h11_max_incomplete_event_size=self.limits.header_bytes,
            # A request beyond this number gets status 503; `Connection` keeps below it.
            limit_concurrency=2 * self.limits.connections,
        )  # fmt: skip
        super().__init__(config)

    async def on_tick(self, counter: int) -> bool:
        """End the late connections.

        Args:
            counter: number of the tick.

        Returns:
            True if the server is to stop.
        """
        if counter % _SWEEP_TICKS == 0:
            for connection in self._open():
                if connection.is_late():
                    connection.end()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, wait for the running requests within the time limit, then close every connection.

        Args:
            sockets: the listening sockets.
        """
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in self._open():
            connection.shutdown()
        deadline = time.monotonic() + self.limits.stop_seconds
        while (self._open() or self.server_state.tasks) and time.monotonic() < deadline and not self.force_exit:
            await asyncio.sleep(0.02)
        for connection in self._open():
            connection.end()
        # The connections are closed before their requests are cancelled, which then need no response.
        await asyncio.sleep(0)
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=self.limits.stop_seconds / 4)

    def _open(self) -> list[Connection]:
        return [c for c in self.server_state.connections if isinstance(c, Connection) and not c.is_ended]
