#!/usr/bin/env python3
"""A run reviewed to its end by keyboard in a headless Chromium, and the release held against what was decided.

usage: review_cohort.py OUT [--labels LABELS] [--images IMAGES] [--seed 0] [--to FOLDER]

OUT is a finished run; what is decided goes into OUT/run/review, so give a copy. Structure by structure, a decision
drawn by chance: accept, keep or flag, with some cases decided by one key and some decisions taken back. After half of
the cases the server is killed (SIGKILL) and started again. Then the data base is held against what was pressed, and
every released map, voxel by voxel, against its definition. Exits with 1 when anything is not as decided. --to keeps the
release and pictures of the page.
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
from heartmend.io.label_maps import read_labels
from heartmend.release.export import export_release
from heartmend.release.layout import LAYOUTS
from heartmend.run_folder.decisions import Decisions
from heartmend.run_folder.finished import FinishedRun
from support.browser import Server, launched

KEYS = {"accept": "a", "keep": "k", "manual": "f"}
STATE = """() => { const { store } = window.page, c = store.cases.get(store.current);
  return { case: c.case, selected: store.selected, todo: c.to_decide,
    open: c.to_decide.filter((s) => store.decision(c.case, s).choice === "open") }; }"""
NUMBER = "() => window.page.store.since"
Pressed = dict[tuple[str, str], str]


class Reviewer:
    """A person at the keyboard, who remembers what was pressed."""

    def __init__(self, seed: int) -> None:
        self.chance, self.pressed = random.Random(seed), Pressed()
        self.undone, self.seconds = 0, list[float]()

    def decide_case(self, page: Any) -> None:
        """Decide all that is open in the case that is shown."""
        state = page.evaluate(STATE)
        if self.chance.random() < 0.3:
            choice, key = self.chance.choice((("accept", "A"), ("keep", "K")))
            self._press(page, key)
            self.pressed |= {(state["case"], name): choice for name in state["open"]}
            return
        for _ in state["open"]:
            name = page.evaluate(STATE)["selected"]
            choice = self.chance.choices(("accept", "keep", "manual"), (12, 6, 1))[0]
            if self.chance.random() < 0.1:
                self._press(page, KEYS["keep"])
                self._press(page, "u")
                self.undone += 1
            self._press(page, KEYS[choice])
            self.pressed[state["case"], name] = choice

    def _press(self, page: Any, key: str) -> None:
        """Press and wait until the page has a newer decision and says that it is saved."""
        before = page.evaluate(NUMBER)
        page.keyboard.press(key)
        page.wait_for_function("(n) => window.page.store.since > n && !window.page.sync.isWriting", arg=before)
        page.wait_for_selector("#saved.good")

    def step(self, page: Any) -> bool:
        """To the next case that is open, by its key; whether there is one."""
        current = page.evaluate(STATE)
        if not current["open"]:
            began = time.monotonic()
            page.keyboard.press("j")
            page.wait_for_function(
                "(id) => document.body.dataset.shown !== id || !document.getElementById('banner').hidden",
                arg=current["case"],
            )
            self.seconds.append(time.monotonic() - began)
        now = page.evaluate(STATE)
        page.wait_for_selector(f"body[data-shown='{now['case']}']")
        return bool(now["open"])


def unlike(subject: FinishedRun, pressed: Pressed, release: Path) -> list[str]:
    """What is not as decided, in words: the data base, who is released, and every voxel of the released maps."""
    base = Decisions(subject.run.out / "run" / "review" / "decisions.sqlite")
    frozen = {(d.case, d.structure): d.choice for d in base.current() if d.choice != "open"}
    found = [f"{key}: pressed {pressed.get(key)}, kept {frozen.get(key)}" for key in frozen.keys() | pressed.keys()
             if frozen.get(key) != pressed.get(key)]  # fmt: skip
    for case in subject:
        choices = {name: choice for (id, name), choice in pressed.items() if id == case.id}
        own, waits = release / "labels" / case.labels_path.name, release / "manual" / case.id
        if "manual" in choices.values():
            if own.exists() or not (waits / f"{case.id}.seg.nrrd").is_file():
                found.append(f"{case.id}: flagged, but released or without a folder")
            continue
        came, mended = subject.before(case).labels, subject.after(case).labels
        kept = [s.id for s in subject.anatomy.structures if choices.get(s.name) == "keep"]
        wanted = np.where(np.isin(came, kept) | np.isin(mended, kept), came, mended)
        got = read_labels(own, subject.anatomy, subject.cohort.unknown_labels, subject.cohort.file_ids).labels
        if not np.array_equal(got, wanted):
            found.append(f"{case.id}: {int((got != wanted).sum())} voxels are not as decided")
    return found


def main() -> None:
    """Review, kill, go on, export, compare."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("out", type=Path)
    ask.add_argument("--labels", type=Path)
    ask.add_argument("--images", type=Path)
    ask.add_argument("--seed", type=int, default=0)
    ask.add_argument("--to", type=Path)
    asked, screen = ask.parse_args(), Console(width=120, highlight=False)
    folder = asked.to or Path(tempfile.mkdtemp(prefix="heartmend-review-"))
    subject = FinishedRun.open(asked.out, asked.labels, asked.images)
    given = {"--labels": asked.labels, "--images": asked.images}
    more = [str(word) for option, value in given.items() if value for word in (option, value)]
    reviewer, wrong = Reviewer(asked.seed), list[str]()
    with Server(asked.out, *more) as server, launched() as browser:
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
            if asked.to:
                page.screenshot(path=asked.to.with_name(f"{asked.to.name}-page-{count:03d}.png"))
            screen.print(f"{count} cases, {len(reviewer.pressed)} decisions", end="\r")
            if count == len(subject.cohort) // 2:
                server.kill()
                server.start()
                page.goto(server.url)
                page.wait_for_selector("body[data-shown]")
        told = page.locator("#counts").text_content()
    export_release(subject, folder / "release", frozenset(LAYOUTS), workers=1)
    wrong += unlike(subject, reviewer.pressed, folder / "release")
    chosen = ", ".join(f"{n} {choice}" for choice, n in Counter(reviewer.pressed.values()).most_common())
    screen.print(f"{count} cases reviewed, killed once; the page says: {told}; {chosen}; {reviewer.undone} taken back")
    screen.print(f"from the key to the next case: {statistics.median(reviewer.seconds):.2f} s (median)")
    screen.print("not as decided: " + ("; ".join(wrong) or "nothing"))
    raise SystemExit(bool(wrong) or count < len(subject.cohort))


if __name__ == "__main__":
    main()
