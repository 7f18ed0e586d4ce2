"""Scripts in notes, names of cases, structures, reviewers and folders, opened in a browser."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attacks.commands import preload, run_command
from attacks.lab import RUN_MODULES, Lab, Outcome
from attacks.server import Target, get, request, send, served

PAYLOADS = (
    "<img src=x onerror=window.attacked=1>", "<svg onload=window.attacked=1>", '"><b id=attacked>x<!--',
    "'-window.attacked-'", "javascript:window.attacked=1", "</title><b id=attacked>", "${window.attacked=1}",
    "{{constructor.constructor('window.attacked=1')()}}", "</script><script>window.attacked=1</script>",
    "<iframe srcdoc='<script>parent.attacked=1</script>'>", "&lt;b id=attacked&gt;", "=cmd|' /C calc'!A0",
)  # fmt: skip
PLACES = ("note", "reviewer", "case name", "folder name", "report")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


@dataclass
class Pages:
    """A browser, a server of a run with hostile names, and its report; or the reason why there is no browser."""

    browser: Any = None
    target: Target | None = None
    report: Path | None = None
    folder_name: str = ""
    reason: str = ""


def jobs(lab: Lab) -> int:
    """Number of jobs; each is one attack."""
    return max(round(len(PAYLOADS) * len(PLACES) * lab.scale), 1)


@contextmanager
def opened(lab: Lab) -> Iterator[Pages]:
    """Repair a cohort whose file names are scripts, make its report, start server and browser."""
    if reason := _missing():
        yield Pages(reason=reason)
        return
    preload(*RUN_MODULES, "heartmend.cli.report", "heartmend.cli.review", "heartmend.review.case_cache")
    with lab.scratch() as folder, ExitStack() as stack:
        labels = folder / "labels"
        labels.mkdir()
        payloads = [p for p in PAYLOADS if "/" not in p]
        for n, path in enumerate(sorted(lab.labels.iterdir())):
            shutil.copy(path, labels / f"{payloads[n]}.nii.gz")
        out = folder / payloads[2]
        ended = lab.run(out, labels=labels)
        if ended.status != 0:
            raise SystemExit(f"a cohort with hostile names: {ended.text}")
        report = run_command(["report", out, "-o", folder / "report.html", "--workers", 1], folder / "report.txt")
        if report.status != 0:
            raise SystemExit(f"a report with hostile names: {report.text}")
        target = stack.enter_context(served(out))
        from playwright.sync_api import sync_playwright

        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=_chromium(), args=FLAGS)
        stack.callback(browser.close)
        yield Pages(browser, target, folder / "report.html", out.name)


def attack(lab: Lab, pages: Pages, job: int, rng: random.Random) -> Iterator[Outcome]:
    """Write one script where a reader of the page sees it, open the page, and look for its effect."""
    place, payload = PLACES[job % len(PLACES)], PAYLOADS[job // len(PLACES) % len(PAYLOADS)]
    if pages.reason or pages.target is None:
        yield Outcome(f"{place}: {payload}", skipped=pages.reason)
        return
    target, dialogs = pages.target, list[str]()
    run = json.loads(send(target, get(target, "/api/run"))[2])
    problem = _write(target, run, place, payload) if place in ("note", "reviewer") else ""
    page = pages.browser.new_page()
    try:
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        address = f"http://{target.host}/" if place != "report" else pages.report.as_uri()  # type: ignore[union-attr]
        page.goto(address, wait_until="load", timeout=60_000)
        page.wait_for_timeout(700)
        attacked = page.evaluate("() => !!window.attacked || !!document.querySelector('#attacked, img[src=x], iframe')")
        text = page.evaluate("() => document.documentElement.innerText")
    finally:
        page.close()
    if attacked or dialogs:
        problem = f"the script was run or its elements were made; dialogs {dialogs}"
    elif not text.strip():
        problem = "the page is empty"
    yield Outcome(f"{place}: {payload}", problem)


def _write(target: Target, run: dict[str, Any], place: str, payload: str) -> str:
    """Write a decision with the script in its note or in the name of the reviewer."""
    case = next(c for c in run["cases"] if c["changed_structures"])
    structure = case["changed_structures"][0]
    known = json.loads(send(target, get(target, "/api/decisions"))[2])["decisions"]
    follows = next((d["number"] for d in known if (d["case"], d["structure"]) == (case["case"], structure)), 0)
    entry = {
        "case": case["case"], "structure": structure, "choice": "reject", "stamp": case["stamp"], "follows": follows,
        "note": payload if place == "note" else "",
    }  # fmt: skip
    body = json.dumps({"reviewer": payload if place == "reviewer" else "Eve", "entries": [entry]}).encode()
    status, _, answer = send(
        target, request(target, "POST", "/api/decisions", {"content-type": "application/json"}, body)
    )
    return "" if status in (200, 400) else f"status {status}: {answer[:200]!r}"


def _chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def _missing() -> str:
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "Playwright is not installed: pip install '.[dev]'"
    return "" if _chromium() else "Chromium is not installed: apt-get install chromium"
