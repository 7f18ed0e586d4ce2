"""Headless Chromium for tests of the review page; the tests are skipped where there is none."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from heartmend.review.app import create_app
from heartmend.review.case_cache import make_ready
from heartmend.review.connections import Server as WebServer
from heartmend.review.serve import listen
from heartmend.review.session import Review
from heartmend.run_folder.finished import FinishedRun

FLAGS = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip


def chromium() -> str:
    """Return the path of Chromium; skip the test where there is none."""
    pytest.importorskip("playwright", reason="playwright drives the browser: pip install playwright")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    return found


@contextmanager
def launched() -> Iterator[Any]:
    """Start a browser with an empty profile."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def served(out: Path, refit: tuple[str, ...] = ()) -> Iterator[str]:
    """Serve the review of a run in a thread of this process; yields its address."""
    finished = FinishedRun.open(out)
    assert make_ready(finished, workers=1) == {}
    listener, access = listen("127.0.0.1", 0)
    server = WebServer(create_app(Review(finished, "Anna", refit_command=refit), access))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield access.url
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        listener.close()


class Server:
    """Process of `heartmend review` that can be killed and started again on the same port."""

    def __init__(self, out: Path, *more: str, errors: IO[str] | None = None) -> None:
        self.out, self.more, self.errors, self.port = out, more, errors, 0
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start the process and wait until it prints its address."""
        command = [sys.executable, "-m", "heartmend", "review", str(self.out), "--no-browser", "--port", str(self.port)]
        command += ["--by", "Anna", "--workers", "1", *self.more]  # of two --workers the last one is used
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=os.environ | {"COLUMNS": "200"}
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(r"cases? at http://127\.0\.0\.1:(\d+)/", line):
                self.port = int(found[1])
                return
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        """Kill the process, as a power failure would."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process.stdout.close()  # type: ignore[union-attr]
