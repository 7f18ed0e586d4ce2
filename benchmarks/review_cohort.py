#!/usr/bin/env python3
"""Correctness of a complete review by keyboard in a headless Chromium: the release must equal the decisions.

usage: review_cohort.py OUT [--labels LABELS] [--images IMAGES] [--seed 0] [--output FOLDER]

OUT is the output folder of a finished run; the decisions are written into OUT/run/review, so give a copy. Random
decisions are made structure by structure: accept, reject or correct, some for a whole case by one key, some taken
back. After half of the cases the server is killed (SIGKILL) and started again. Then the database is compared with the
pressed keys, and every released map, voxel by voxel, with its definition. Exits with 1 if anything differs. --output
keeps the release and screenshots of the page.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from heartmend.release.export import export_release
from heartmend.release.layouts import LAYOUTS
from heartmend.run_folder.decisions import open_decisions
from heartmend.run_folder.finished import FinishedRun
from support.browser import Server, launched

KEYS = {"accept": "a", "reject": "r", "correct": "f"}
STATE = """() => { const { store } = window.page, c = store.cases.get(store.current);
  return { case: c.case, selected: store.selected, todo: c.changed_structures,
    open: c.changed_structures.filter((s) => store.structureState(c.case, s) === "open") }; }"""
SELECT_OPEN = """() => { const { store } = window.page, c = store.cases.get(store.current);
  const open = c.changed_structures.find((s) => store.structureState(c.case, s) === "open");
  if (open) window.page.select(open); }"""
NUMBER = "() => window.page.store.since"
Pressed = dict[tuple[str, str], str]


class Reviewer:
    """A simulated person at the keyboard, with a record of the pressed keys."""

    def __init__(self, seed: int) -> None:
        self.rng, self.pressed = random.Random(seed), Pressed()
        self.undone, self.seconds = 0, list[float]()

    def decide_case(self, page: Any) -> None:
        """Decide all open structures of the displayed case."""
        state = page.evaluate(STATE)
        if self.rng.random() < 0.3:
            choice, key = self.rng.choice((("accept", "A"), ("reject", "R")))
            self._press(page, key)
            self.pressed |= {(state["case"], name): choice for name in state["open"]}
            return
        for _ in state["open"]:
            name = page.evaluate(STATE)["selected"]
            choice = self.rng.choices(("accept", "reject", "correct"), (12, 6, 1))[0]
            if self.rng.random() < 0.1:
                self._press(page, KEYS["reject"])
                self._press(page, "u")
                self.undone += 1
            self._press(page, KEYS[choice])
            self.pressed[state["case"], name] = choice
            if choice == "correct":
                # The field of the note has the focus, and the selection stays.
                page.keyboard.press("Escape")
                page.evaluate(SELECT_OPEN)

    def _press(self, page: Any, key: str) -> None:
        """Press a key and wait until the page has a newer decision and shows that it is saved."""
        before = page.evaluate(NUMBER)
        page.keyboard.press(key)
        if key == "A":
            # Asked where open changes need a look; Enter accepts them all.
            page.wait_for_function(
                "(n) => window.page.store.since > n || document.getElementById('ask-accept').open", arg=before
            )
            if page.locator("#ask-accept[open]").count():
                page.keyboard.press("Enter")
        page.wait_for_function("(n) => window.page.store.since > n && !window.page.sync.isWriting", arg=before)
        page.wait_for_selector("#saved.good")

    def step(self, page: Any) -> bool:
        """Go to the next open case by its key; returns whether there is one."""
        current = page.evaluate(STATE)
        if not current["open"]:
            started = time.monotonic()
            page.keyboard.press("j")
            page.wait_for_function(
                "(id) => document.body.dataset.shown !== id || !document.getElementById('banner').hidden",
                arg=current["case"],
            )
            self.seconds.append(time.monotonic() - started)
        now = page.evaluate(STATE)
        page.wait_for_selector(f"body[data-shown='{now['case']}']")
        return bool(now["open"])


def find_differences(finished: FinishedRun, pressed: Pressed, release: Path) -> list[str]:
    """Describe what differs from the decisions: the database, the released cases, and the voxels of their maps."""
    stored = {(d.case, d.structure): d.choice for d in open_decisions(finished).current() if d.choice != "open"}
    found = [f"{key}: pressed {pressed.get(key)}, stored {stored.get(key)}" for key in stored.keys() | pressed.keys()
             if stored.get(key) != pressed.get(key)]  # fmt: skip
    for case in finished:
        choices = {name: choice for (id, name), choice in pressed.items() if id == case.id}
        released, to_correct = release / "labels" / case.labels_path.name, release / "to_correct" / case.id
        if "correct" in choices.values():
            if released.exists() or not (to_correct / f"{case.id}.seg.nrrd").is_file():
                found.append(f"{case.id}: to be corrected, but released or without a folder")
            continue
        original, repaired = finished.before(case).labels, finished.after(case).labels
        rejected = [s.id for s in finished.anatomy.structures if choices.get(s.name) == "reject"]
        expected = np.where(np.isin(original, rejected) | np.isin(repaired, rejected), original, repaired)
        labels = finished.cohort.read_other_labels(case, released).labels
        if not np.array_equal(labels, expected):
            found.append(f"{case.id}: {int((labels != expected).sum())} voxels differ from the decisions")
    return found


def main() -> None:
    """Review the run, export it, compare the release with the decisions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, help="folder of the release; temporary if not given")
    arguments, console = parser.parse_args(), Console(width=120, highlight=False)
    folder = arguments.output or Path(tempfile.mkdtemp(prefix="heartmend-review-"))
    finished = FinishedRun.open(arguments.out, arguments.labels, arguments.images)
    given = {"--labels": arguments.labels, "--images": arguments.images}
    more = [str(word) for option, value in given.items() if value for word in (option, value)]
    reviewer, wrong = Reviewer(arguments.seed), list[str]()
    with Server(arguments.out, *more) as server, launched() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(600_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith((server.url, "data:", "blob:")) else wrong.append(r.url))
        page.goto(server.url)
        page.wait_for_selector("body[data-shown]")
        count = 0
        while reviewer.step(page):
            reviewer.decide_case(page)
            count += 1
            if arguments.output:
                page.screenshot(path=arguments.output.with_name(f"{arguments.output.name}-page-{count:03d}.png"))
            console.print(f"{count} cases, {len(reviewer.pressed)} decisions", end="\r")
            if count == len(finished.cohort) // 2:
                server.kill()
                server.start()
                page.goto(server.url)
                page.wait_for_selector("body[data-shown]")
        page_counts = page.locator("#counts").text_content()
    export_release(finished, folder / "release", frozenset(LAYOUTS), workers=1)
    wrong += find_differences(finished, reviewer.pressed, folder / "release")
    chosen = ", ".join(f"{n} {choice}" for choice, n in Counter(reviewer.pressed.values()).most_common())
    console.print(
        f"{count} cases reviewed, killed once; counts on the page: {page_counts}; {chosen}; "
        f"{reviewer.undone} taken back"
    )
    console.print(f"time from the key to the next case: {statistics.median(reviewer.seconds):.2f} s (median)")
    console.print("different from the decisions: " + ("; ".join(wrong) or "nothing"))
    raise SystemExit(bool(wrong) or count < len(finished.cohort))


if __name__ == "__main__":
    main()
