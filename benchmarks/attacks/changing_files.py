"""Label maps that are changed, cut, removed or replaced while a run reads them."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attacks.commands import Command, preload
from attacks.lab import RUN_MODULES, Lab, Outcome

COUNT = 12


def jobs(lab: Lab) -> int:
    """Number of jobs; each is one attack."""
    return max(round(COUNT * lab.scale), 1)


@contextmanager
def opened(lab: Lab) -> Iterator[None]:
    """Import what a run needs."""
    preload(*RUN_MODULES)
    yield


def attack(lab: Lab, target: None, job: int, rng: random.Random) -> Iterator[Outcome]:
    """Change the files all the time during a run; then restore them and run again: the labels are the same."""
    with lab.scratch() as folder:
        labels, out = folder / "labels", folder / "out"
        shutil.copytree(lab.labels, labels)
        paths = sorted(labels.iterdir())
        command = Command(lab.run_words(out, 1, labels), folder / "log.txt")
        while not command.has_ended():
            with suppress(FileNotFoundError, IsADirectoryError):
                _change(rng.choice(paths), paths, rng)
            time.sleep(rng.uniform(0, 0.3))
        ended = command.wait()
        problem = ended.fault()
        if not problem and ended.status not in (0, 1, 3):
            problem = f"exit status {ended.status}"
        if not problem and ended.status != 0 and not ended.messages:
            problem = f"exit status {ended.status} without a message"
        for path in paths:
            with suppress(FileNotFoundError):
                path.unlink()
            shutil.copy(lab.labels / path.name, path)
        again = lab.run(out, labels=labels)
        if not problem and again.status != 0:
            problem = f"restored, and continued with exit status {again.status}: {again.text[-300:]}"
        yield Outcome.of("label maps that change while they are read", ended, problem or lab.different(out))


def _change(path: Path, paths: list[Path], rng: random.Random) -> None:
    content = path.read_bytes()
    match rng.randrange(5):
        case 0:
            os.truncate(path, rng.randrange(len(content) or 1))
        case 1:
            path.write_bytes(rng.choice(paths).read_bytes())
        case 2:
            path.unlink()
            path.write_bytes(content)
        case 3:
            # Written slowly, in place.
            with open(path, "wb") as file:
                file.write(content[: len(content) // 2])
                file.flush()
                time.sleep(0.01)
                file.write(content[len(content) // 2 :])
        case _ if content:
            with open(path, "r+b") as file:
                file.seek(rng.randrange(len(content)))
                file.write(bytes([rng.randrange(256)]))
