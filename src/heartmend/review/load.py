"""Limits of the memory of the review server: a cache of responses, and the number of requests that run at once.

The memory of the server stays below the size of the cache, and `LARGE_AT_ONCE` responses, one CT while it is read, and
the one case that is corrected by hand, whatever is requested.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import nullcontext, suppress
from functools import partial
from typing import TypeVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CACHE_BYTES = 1 << 27
LARGE_AT_ONCE, SMALL_AT_ONCE = 6, 8
"""A browser opens six connections to a server."""
PART_BYTES = 1 << 16
_T = TypeVar("_T")


async def in_thread(work: Callable[[], _T]) -> _T:
    """Run a function in a thread that does not delay the end of the process.

    Args:
        work: the function.

    Returns:
        Its result; its error is raised.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def finish(set_outcome: Callable[[], None]) -> None:
        if not future.done():
            set_outcome()

    def run() -> None:
        try:
            set_outcome = partial(future.set_result, work())
        except BaseException as error:  # noqa: BLE001  # raised where the result is awaited
            set_outcome = partial(future.set_exception, error)
        # The loop is closed if the server stopped in the meantime.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(finish, set_outcome)

    threading.Thread(target=run, daemon=True).start()
    return await future


class ResponseCache:
    """Cache of response bodies with a limited size. The oldest ones are removed first.

    Each body is read once, however many requests wait for it, and one body at a time. Bodies that are computed do not
    delay those that are read from files.
    """

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        """Create an empty cache.

        Args:
            limit_bytes: largest size of all bodies together.
        """
        self.limit_bytes, self.size_bytes = limit_bytes, 0
        self._bodies: OrderedDict[Hashable, bytes] = OrderedDict()
        self._reading: dict[Hashable, asyncio.Task[bytes]] = {}
        self._one_file, self._one_result = asyncio.Semaphore(1), asyncio.Semaphore(1)

    async def get(self, key: Hashable, read: Callable[[], bytes], is_computed: bool = False) -> bytes:
        """Return a body; read it if it is not in the cache.

        Args:
            key: key of the body.
            read: reads the body, in a thread. Its error is raised for every request that waits for it.
            is_computed: whether that takes seconds, because it is computed.

        Returns:
            The body.
        """
        if key in self._bodies:
            self._bodies.move_to_end(key)
            return self._bodies[key]
        task = self._reading.get(key)
        if task is None:
            task = self._reading[key] = asyncio.create_task(self._read(key, read, is_computed))
            task.add_done_callback(lambda _: self._reading.pop(key, None))
        # The other requests wait for the same body if this one is cancelled.
        return await asyncio.shield(task)

    async def _read(self, key: Hashable, read: Callable[[], bytes], is_computed: bool) -> bytes:
        async with self._one_result if is_computed else self._one_file:
            body = await in_thread(read)
        self.size_bytes += len(body)
        self._bodies[key] = body
        while self.size_bytes > self.limit_bytes:
            _, removed = self._bodies.popitem(last=False)
            self.size_bytes -= len(removed)
        return body


class Load:
    """Middleware that limits the number of requests that run at once, and sends large responses in parts.

    Other requests wait. A part is sent when the client has read the part before, so a slow client needs no memory.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application.

        Args:
            app: the application.
        """
        self.app = app
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._small = asyncio.Semaphore(SMALL_AT_ONCE)
        self._writes = asyncio.Semaphore(SMALL_AT_ONCE)
        self._imports = asyncio.Semaphore(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process a request once fewer than the limit are running.

        Args:
            scope: the request, as of ASGI.
            receive: receives its body.
            send: sends the response.
        """

        async def send_parts(message: Message) -> None:
            body = message.get("body", b"")
            if message["type"] != "http.response.body" or len(body) <= PART_BYTES:
                await send(message)
                return
            for start in range(0, len(body), PART_BYTES):
                more = message.get("more_body", False) or start + PART_BYTES < len(body)
                await send({**message, "body": body[start : start + PART_BYTES], "more_body": more})

        async with self._slots(scope) or nullcontext():
            await self.app(scope, receive, send_parts)

    def _slots(self, scope: Scope) -> asyncio.Semaphore | None:
        if scope["type"] != "http" or not scope["path"].startswith("/api/"):
            return None
        if scope["method"] not in ("GET", "HEAD"):
            return self._imports if scope["path"].endswith(".csv") else self._writes
        return (
            self._large
            if scope["path"].endswith(("/image", "/maps", "/surfaces", "/uncertainty", "/views"))
            else self._small
        )


class QuietStop:
    """Middleware that ends a request without an error when the server stops."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application.

        Args:
            app: the application.
        """
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process a request; its cancellation is no error.

        Args:
            scope: the request, as of ASGI.
            receive: receives its body.
            send: sends the response.
        """
        with suppress(asyncio.CancelledError):
            await self.app(scope, receive, send)
