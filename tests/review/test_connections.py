"""Limits of the connections of the review server, with real sockets."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from heartmend.review.connections import ConnectionLimits, Server
from heartmend.review.serve import listen

# Short times, so that the tests are short; and long waits, so that a busy machine passes them.
QUICK = ConnectionLimits(
    connections=50, request_seconds=1.0, body_bytes_per_second=1000, rest_seconds=0.5, stalled_seconds=1.0,
    stop_seconds=0.5, header_bytes=4096,
)  # fmt: skip
PATIENCE = 30.0
LARGE = b"x" * (1 << 25)


async def small(request: Request) -> Response:
    return PlainTextResponse("small")


async def large(request: Request) -> Response:
    return Response(LARGE)


async def length(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def unread(request: Request) -> Response:
    return PlainTextResponse("unread", 413)


APP = Starlette(
    routes=[
        Route("/", small), Route("/large", large), Route("/length", length, methods=["POST"]),
        Route("/unread", unread, methods=["POST"]),
    ]
)  # fmt: skip


@contextmanager
def running(limits: ConnectionLimits) -> Iterator[tuple[Server, int]]:
    listener, access = listen("127.0.0.1", 0)
    server = Server(APP, limits)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield server, access.port
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(QUICK) as (_, found):
        yield found


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def seconds_until_end(client: socket.socket) -> float:
    """Wait until the server closes a connection."""
    start = time.monotonic()
    try:
        while client.recv(1 << 16):
            pass
    except ConnectionError:
        pass
    return time.monotonic() - start


def test_a_connection_without_a_request_ends(port: int) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(port)) for _ in range(20)]
        for client in clients:
            seconds_until_end(client)


@pytest.mark.parametrize(
    "start",
    [
        b"", b"G", b"GET / HTTP/1.1\r\nhost: x\r\n", b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HT",
        b"POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n",
        b"POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST /unread HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n",
    ],
)  # fmt: skip
def test_a_request_that_arrives_slowly_ends(port: int, start: bytes) -> None:
    with connected(port) as client:
        client.sendall(start)
        client.settimeout(0.1)
        since = time.monotonic()
        while time.monotonic() - since < PATIENCE:
            try:
                client.sendall(b"a")
                if not client.recv(1 << 16):
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        assert time.monotonic() - since < PATIENCE


def test_a_client_that_does_not_read_ends(port: int) -> None:
    for more in (b"", b"connection: close\r\n"):
        with connected(port) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n" + more + b"\r\n")
            time.sleep(3 * QUICK.stalled_seconds)
            received, part = 0, b"x"
            with pytest.raises(ConnectionError):
                while part:
                    part = client.recv(1 << 16)
                    received += len(part)
                raise ConnectionResetError
            assert received < len(LARGE)


def test_a_steady_body_and_several_requests_on_a_connection_are_served(port: int) -> None:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    body = b"y" * 200_000
    for _ in range(3):
        client.request("POST", "/length", body)
        assert client.getresponse().read() == b"200000"
    client.request("GET", "/large")
    assert client.getresponse().read() == LARGE
    client.close()


def test_a_header_that_is_too_large_is_an_error(port: int) -> None:
    with connected(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nmore: " + b"x" * 300_000)
        assert client.recv(100).startswith(b"HTTP/1.1 4")


def test_one_more_connection_than_allowed_ends_the_one_that_is_idle_for_the_longest_time() -> None:
    limits = ConnectionLimits(connections=20)
    with running(limits) as (server, port), ExitStack() as stack:
        clients = [stack.enter_context(connected(port)) for _ in range(200)]
        wait_until(lambda: server.server_state.connections and len(server.server_state.connections) <= 20)
        page = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        page.request("GET", "/")
        assert page.getresponse().read() == b"small"
        page.close()
        for client in clients[:170]:
            assert seconds_until_end(client) < PATIENCE
        assert len(server.server_state.connections) <= 20


def test_one_more_connection_gets_status_503_if_all_are_in_a_request() -> None:
    with running(ConnectionLimits(connections=3)) as (server, port), ExitStack() as stack:
        for _ in range(3):
            client = stack.enter_context(connected(port))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
            assert client.recv(4) == b"HTTP"
        with connected(port) as more:
            assert more.recv(1000).startswith(b"HTTP/1.1 503 ")
        assert len(server.server_state.connections) <= 4


def test_the_server_stops_in_time_with_open_connections() -> None:
    with ExitStack() as stack:
        with running(QUICK) as (server, port):
            clients = [stack.enter_context(connected(port)) for _ in range(40)]
            for client in clients[:10]:
                client.sendall(b"GET / HTTP/1.1\r\n")
            for client in clients[10:20]:
                client.sendall(b"POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n")
            for client in clients[20:30]:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
            wait_until(lambda: len(server.server_state.tasks) >= 15)
            start = time.monotonic()
        # The limit is 0.5 seconds; the rest is for a busy machine.
        assert time.monotonic() - start < 10


def wait_until(condition: object) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)
