"""Full disks: a run on a small tmpfs, or with a limit of the file size; then there is space and it is continued."""

from __future__ import annotations

import random
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from attacks.commands import Ended, preload, run_command
from attacks.lab import RUN_MODULES, Lab, Outcome
from heartmend.io.atomic import TEMPORARY_PREFIX

COUNT = 50


def jobs(lab: Lab) -> int:
    """Number of jobs; each is one attack."""
    return max(round(COUNT * lab.scale), 1)


@contextmanager
def opened(lab: Lab) -> Iterator[tuple[int, int]]:
    """Provide the size of a run and of its largest file in bytes."""
    preload(*RUN_MODULES)
    files = [p for p in lab.undisturbed.rglob("*") if p.is_file() and "review" not in p.parts]
    # A tmpfs counts pages of 4 KiB.
    yield sum(-(-p.stat().st_size // 4096) * 4096 for p in files), max(p.stat().st_size for p in files)


def attack(lab: Lab, sizes: tuple[int, int], job: int, rng: random.Random) -> Iterator[Outcome]:
    """Fill the disk at a random moment of a run; then continue it."""
    with lab.scratch() as folder:
        out = folder / "disk" / "out"
        out.parent.mkdir()
        if job % 5 != 4 and _can_mount():
            size = rng.randrange(4096, sizes[0] + (200 << 10))
            with _mounted(out.parent, size):
                yield from _attack(lab, out, f"tmpfs: {size >> 10} KiB", {})
        else:
            size = rng.randrange(1, sizes[1])
            yield from _attack(lab, out, f"limit of the file size: {size >> 10} KiB", {resource.RLIMIT_FSIZE: size})


def _attack(lab: Lab, out: Path, name: str, limits: dict[int, int]) -> Iterator[Outcome]:
    # Its log is not on the full disk.
    log = out.parent.parent / "log"
    ended = _run(lab, out, log, limits)
    problem = ended.fault()
    full = ("No space left on device", "File too large", "cannot be written", "database or disk is full")
    if not problem and ended.status == 0:
        problem = lab.different(out)
    elif not problem and ended.status != 1:
        problem = f"exit status {ended.status}, expected 1: {ended.text[-200:]}"
    elif not problem and not ended.names(*full):
        problem = f"no message names the cause: {ended.text[-300:]}"
    if not problem and (left := list(out.rglob(f"{TEMPORARY_PREFIX}*"))):
        problem = f"temporary files are left, such as {left[0].name}"
    if not limits:
        subprocess.run(["mount", "-o", "remount,size=256m", out.parent], check=True)
    again = _run(lab, out, log, {})
    if not problem and again.status != 0:
        problem = f"continued with exit status {again.status}: {again.text[-300:]}"
    yield Outcome.of(name, ended, problem or lab.different(out))


def _run(lab: Lab, out: Path, log: Path, limits: dict[int, int]) -> Ended:
    return run_command(lab.run_words(out), log, 300, limits)


@cache
def _can_mount() -> bool:
    import tempfile

    folder = tempfile.mkdtemp()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True).returncode:
        return False
    subprocess.run(["umount", folder], check=True)
    Path(folder).rmdir()
    return True


@contextmanager
def _mounted(folder: Path, size: int) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
