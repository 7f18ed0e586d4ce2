"""Folders whose names have blanks, quotes, non-ASCII letters, options or control characters."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attacks.commands import preload, run_command
from attacks.lab import RUN_MODULES, Lab, Outcome

NAMES: tuple[bytes, ...] = (
    b"two words", "Zoë Müller".encode(), "心臓の形".encode(), "сердце".encode(), "🫀".encode(), b"it's \"quoted\"",
    b"$(touch x); `id`", b"a,b=c", b"[red]bold[/]", b"{case}%s%n", b"--output", b" blank ", "a\u0301 e\u0308".encode(),
    "\u202egnp".encode(), b"a\nb", b"a\x1b[31mb", b"\xff\xfe", b"x" * 200, b"CON", b"*?[a-z]",
)  # fmt: skip


def jobs(lab: Lab) -> int:
    """Number of jobs; each is one attack."""
    return max(round(len(NAMES) * lab.scale), 1)


@contextmanager
def opened(lab: Lab) -> Iterator[None]:
    """Import what a run needs."""
    preload(*RUN_MODULES, "heartmend.cli.export", "heartmend.cli.check")
    yield


def attack(lab: Lab, target: None, job: int, rng: random.Random) -> Iterator[Outcome]:
    """Run, and export, with input and output in such a folder: the same bytes, or an error in one line."""
    name = os.fsdecode(NAMES[job % len(NAMES)])
    with lab.scratch() as parent:
        folder = parent / name
        shutil.copytree(lab.labels, folder / "labels")
        # Relative to the folder of the names, so that a name that starts with "-" is given as a user would.
        inside = Path(name)
        labels, out = f"./{inside}/labels", f"./{inside}/out"
        words = ["run", labels, "-o", out, "--config", lab.settings, "--device", "cpu", "--workers", 1]
        ended = run_command(words, parent / "log.txt", 300, cwd=parent)
        if ended.status == 0:
            problem = ended.fault() or lab.different(folder / "out")
            words = ["export", out, "-o", f"./{inside}/export", "--undecided", "accept", "--workers", 1]
            exported = run_command(words, parent / "export.txt", 120, cwd=parent)
            problem = problem or exported.fault()
            if not problem and exported.status not in (0, 3):
                problem = f"export: exit status {exported.status}: {exported.text[-300:]}"
        else:
            problem = ended.not_refused(peak_mb=1000.0)
        if "\x1b[31m" in ended.text:
            problem = "a control sequence is printed"
        yield Outcome.of(f"folder name: {ascii(name)[:40]}", ended, problem)
