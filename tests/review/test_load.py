"""Limits of the memory of the review server."""

import asyncio
import gc
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from heartmend.errors import RunError
from heartmend.review import case_endpoints
from heartmend.review.app import create_app
from heartmend.review.case_cache import make_ready
from heartmend.review.connections import Server
from heartmend.review.load import CACHE_BYTES, LARGE_AT_ONCE, ResponseCache, in_thread
from heartmend.review.serve import listen
from heartmend.review.session import Review
from heartmend.run_folder.finished import FinishedRun
from support.browser import Server as ReviewProcess
from support.runs import finished_run

PATIENCE = 60.0


def test_a_body_is_read_once_for_all_requests_that_wait_and_one_at_a_time() -> None:
    running = reads = most = 0
    lock = threading.Lock()

    def read() -> bytes:
        nonlocal running, reads, most
        with lock:
            running, reads = running + 1, reads + 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        return b"x" * 10

    async def main() -> None:
        cache = ResponseCache(limit_bytes=25)
        found = await asyncio.gather(*(cache.get(n % 4, read) for n in range(200)))
        assert {len(body) for body in found} == {10}
        assert (reads, most) == (4, 1)
        assert cache.size_bytes == 20
        # The two newest are in the cache.
        await asyncio.gather(*(cache.get(n, read) for n in (2, 3)))
        assert reads == 4
        await cache.get(0, read)
        assert (reads, cache.size_bytes) == (5, 20)

    asyncio.run(main())


def test_a_body_larger_than_the_cache_is_not_stored() -> None:
    async def main() -> None:
        cache = ResponseCache(limit_bytes=5)
        assert await cache.get(1, lambda: b"123456") == b"123456"
        assert cache.size_bytes == 0

    asyncio.run(main())


def test_an_error_reaches_every_request_and_is_not_stored() -> None:
    def fail() -> bytes:
        raise RunError("damaged")

    async def main() -> None:
        cache = ResponseCache()
        found = await asyncio.gather(*(cache.get(1, fail) for _ in range(5)), return_exceptions=True)
        assert [str(error) for error in found] == ["damaged"] * 5
        assert await cache.get(1, lambda: b"repaired") == b"repaired"
        with pytest.raises(RunError):
            await in_thread(fail)

    asyncio.run(main())


@pytest.fixture(scope="module")
def review(tmp_path_factory: pytest.TempPathFactory) -> Review:
    finished = FinishedRun.open(finished_run(tmp_path_factory.mktemp("run"), images=True))
    assert make_ready(finished, workers=1) == {}
    return Review(finished, "Anna")


@pytest.fixture
def port(review: Review) -> Iterator[int]:
    listener, access = listen("127.0.0.1", 0)
    server = Server(create_app(review, access))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield access.port
    server.should_exit = True
    thread.join(PATIENCE)


def get(port: int, path: str) -> tuple[int, int]:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    client.request("GET", path)
    response = client.getresponse()
    size = 0
    while part := response.read(1 << 16):
        size += len(part)
    client.close()
    return response.status, size


def test_200_image_requests_at_once_read_each_ct_once_and_stay_within_the_bound(
    review: Review, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, reads = 1 << 23, []

    def read(finished: FinishedRun, case: object) -> bytes:
        reads.append(case)
        return os.urandom(1) * size

    monkeypatch.setattr(case_endpoints, "read_image", read)
    gc.collect()
    tracemalloc.start()
    try:
        with ThreadPoolExecutor(200) as clients:
            paths = [f"/api/cases/{n % 3 + 1}/image" for n in range(200)]
            found = list(clients.map(lambda path: get(port, path), paths))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == [(200, size)] * 200
    assert len(reads) == 3
    # 200 bodies are 1,600 MiB. Each of the 200 clients of this test has a part of a body too.
    assert peak < CACHE_BYTES + LARGE_AT_ONCE * size
    assert peak < 200 << 20


def test_clients_that_do_not_read_delay_no_decision(review: Review, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case_endpoints, "read_image", lambda *_: bytes(1 << 25))
    review._cache = ResponseCache()
    clients = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) for _ in range(20)]
    for client in clients:
        client.sendall(f"GET /api/cases/1/image HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n".encode())
    assert get(port, "/api/decisions")[0] == 200
    assert get(port, "/api/run")[0] == 200
    for client in clients:
        client.close()


def test_a_body_that_is_declared_too_large_is_not_read(port: int) -> None:
    for path, kind, size in (("decisions", "application/json", 1 << 21), ("decisions.csv", "text/csv", 1 << 40)):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
            head = f"POST /api/{path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: {kind}\r\n"
            client.sendall(f"{head}content-length: {size}\r\nexpect: 100-continue\r\n\r\n".encode())
            assert client.recv(1000).startswith(b"HTTP/1.1 413 ")


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_the_server_in_time_with_open_connections(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    out = finished_run(tmp_path, count=1, images=True)
    errors = tmp_path / "errors.txt"
    with errors.open("w") as file, ReviewProcess(out, errors=file) as server:
        clients = [socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) for _ in range(20)]
        host = f"host: 127.0.0.1:{server.port}\r\n"
        for client in clients[:5]:
            client.sendall(b"GET / HT")
        for client in clients[5:10]:
            head = f"POST /api/undo HTTP/1.1\r\n{host}content-type: application/json\r\ncontent-length: 99\r\n\r\n"
            client.sendall(head.encode())
        time.sleep(0.5)
        assert server.process is not None
        start = time.monotonic()
        server.process.send_signal(number)
        code = server.process.wait(PATIENCE)
        # The server needs less than 2 seconds; the rest is for the end of Python on a busy machine.
        assert time.monotonic() - start < 30
        for client in clients:
            client.close()
    assert code in (status, -number)
    assert "Traceback" not in errors.read_text()


def test_the_server_starts_without_the_libraries_of_the_models() -> None:
    code = "import sys, heartmend.review.serve; print('torch' in sys.modules, 'pyarrow' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]
