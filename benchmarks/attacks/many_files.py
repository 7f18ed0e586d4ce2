"""Ten thousand files in the folder of the label maps."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from contextlib import contextmanager

from attacks.commands import Ended, preload, run_command
from attacks.lab import Lab, Outcome

COUNT = 10_000
DISCOVERY_S, CHECK_S, PEAK_MB = 30.0, 300.0, 1500.0
"""Limits for ten thousand files: to find them, to read all of them, and the memory."""


def jobs(lab: Lab) -> int:
    """Number of jobs: files that are no volumes, and label maps."""
    return 3


@contextmanager
def opened(lab: Lab) -> Iterator[None]:
    """Import what `check` needs."""
    preload("heartmend.cli.check", "heartmend.quality.check", "heartmend.io.dataset")
    yield


def attack(lab: Lab, target: None, job: int, rng: random.Random) -> Iterator[Outcome]:
    """Fill the folder and check it."""
    import nibabel as nib
    import numpy as np

    count = max(round(COUNT * lab.scale), 50)
    with lab.scratch() as folder:
        labels = folder / "labels"
        labels.mkdir()
        values = np.zeros((8, 8, 8), np.uint8)
        values[2:6, 2:6, 2:6] = 3
        data = bytearray(nib.Nifti1Image(values, np.diag([-1.0, -1.0, 1.0, 1.0])).to_bytes())
        for n in range(count if job == 2 else 2):
            # No two are copies of each other.
            for bit in range(14):
                data[352 + bit] = 3 * (n >> bit & 1)
            (labels / f"{n:05d}.nii.gz").write_bytes(gzip.compress(bytes(data), 1, mtime=0))
        if job == 0:
            for n in range(count):
                (labels / f"{n}.txt").touch()
        if job == 1:
            for n in range(count):
                (labels / f"folder {n}").mkdir()
        words = ["check", labels, "--workers", 1, "--run-folder", folder / "out"]
        ended = run_command(words, folder / "log.txt", 2 * CHECK_S)
        name = ("other files", "folders", "label maps")[job]
        problem = _problem(ended, CHECK_S if job == 2 else DISCOVERY_S)
        yield Outcome.of(f"{name}: {count}", ended, problem)


def _problem(ended: Ended, limit_s: float) -> str:
    if fault := ended.fault():
        return fault
    if ended.status != 0:
        return f"exit status {ended.status}: {ended.text[-300:]}"
    if ended.cpu_s > limit_s:
        return f"{ended.cpu_s:.0f} s of CPU time"
    return f"{ended.peak_mb:.0f} MB" if ended.peak_mb > PEAK_MB else ""
