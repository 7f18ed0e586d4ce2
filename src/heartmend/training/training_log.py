"""What is kept of a fit while it runs: a log for people and TensorBoard, checkpoints, the best model so far."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from heartmend.compute.ranks import Ranks
from heartmend.errors import RunError
from heartmend.io.atomic import read_json, write_json, write_text
from heartmend.training.checkpoint import Checkpoints, load_fit, read_metadata, save_model
from heartmend.training.loop import Fit, Step

BEST_FILE = "best.safetensors"
LAST_FILES = ("last.safetensors", "last.json")
"""A fit's checkpoint, and what it is one of."""
Progress = Callable[[Step, float | None], None]
"""ReportProgress now and then where the fit stands, and the whole-volume Dice when it was last measured."""
log = logging.getLogger(__name__)


class TrainingLog:
    """Looks on while a fit runs. Of several processes the leader writes; all take part in what is gathered."""

    def __init__(
        self, folder: Path, seconds: float, heads: Sequence[str], validate: Callable[[Fit], dict[str, list[float]]],
        progress: Progress | None, begun: Fit,
    ) -> None:  # fmt: skip
        """seconds: between two checkpoints; validate: Dice (head,) of some cases by id; begun: the fit as it begins."""
        self._folder, self._heads, self._progress, self._validate = folder, heads, progress, validate
        self._leads = begun.ranks.is_main
        self._checkpoints = Checkpoints(folder / LAST_FILES[0], seconds)
        self._logged = time.monotonic()
        self._step, self._phase = begun.number, begun.position.phase
        best = folder / BEST_FILE
        self._best = begun.ranks.agreed(float(read_metadata(best).get("dice", -1.0)) if best.is_file() else -1.0)
        self._whole: float | None = None

    def __enter__(self) -> TrainingLog:
        if not self._leads:
            return self
        path = self._folder / "log.csv"
        columns = ["step", "phase", "loss", "training_dice", "whole_volume_dice", "peak_memory_mb"]
        # What a killed fit did after its last checkpoint is done, and told, once more.
        write_text(path, _log_up_to(self._step, path, [*columns, *(f"dice_{name}" for name in self._heads), "seconds"]))
        self._file = path.open("a", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._board = SummaryWriter(str(self._folder / "tensorboard"), purge_step=self._step)
        return self

    def __exit__(self, *error: object) -> None:
        if self._leads:
            self._file.close()
            self._board.close()

    def stepped(self, step: Step) -> None:
        """Tell what a step came to."""
        if not self._leads:
            return
        dice = step.dice.tolist()
        mean = float(np.mean(dice))
        whole = "" if self._whole is None else round(self._whole, 5)
        row = [step.number, step.phase + 1, round(step.loss, 6), round(mean, 5), whole, step.peak_memory_bytes >> 20]
        now = time.monotonic()
        self._rows.writerow([*row, *(round(d, 5) for d in dice), round(now - self._logged, 2)])
        self._logged = now
        self._file.flush()
        self._board.add_scalar("loss", step.loss, step.number)
        self._board.add_scalar("dice/training", mean, step.number)
        if self._progress is not None:
            self._progress(step, self._whole)

    def reached(self, fit: Fit) -> None:
        """Save the fit when it is time; at the end of a phase look at whole volumes too."""
        ended = fit.position.phase != self._phase
        if ended:
            self._phase = fit.position.phase
            self._whole = float(np.mean(list(self._validate(fit).values())))
            if self._leads:
                self._board.add_scalar("dice/whole_volume", self._whole, self._phase)
            if self._whole > self._best:
                self._best = self._whole
                if (codes := fit.whole_codes()) is not None:
                    save_model(self._folder / BEST_FILE, fit.shape, codes, dice=self._best)
        self._checkpoints.reached(fit, now=ended)

    def halved(self, points: int) -> None:
        """Tell that memory ran out."""
        log.warning("fit: memory ran out; from here a step takes %d points in a case", points)


class ChainedTrainingLog:
    """Looks on while fits run one after the other: tells where all of them stand, and keeps a checkpoint of each."""

    def __init__(self, folder: Path, mark: str, seconds: float, progress: Progress | None, ranks: Ranks) -> None:
        """mark: what the fits depend on; a checkpoint of another mark is none."""
        self._folder, self._mark, self._seconds = folder, mark, seconds
        self._progress, self._ranks = progress, ranks
        self._before, self._after = 0, 0
        self._checkpoints = Checkpoints(folder, seconds)

    def go_on(self, fitting: Fit, name: str, before: int, after: int) -> None:
        """Run a fit to its end, from its checkpoint if there is one; before, after: steps of the other fits."""
        self._before, self._after = before, after
        path, mark = (self._folder / file for file in checkpoint_files(name))
        if self._ranks.agreed(path.is_file() and mark_of(mark) == self._mark):
            load_fit(path, fitting)
            log.info("going on with the %s", name)
        elif self._ranks.is_main:
            path.unlink(missing_ok=True)
            write_json(mark, {"mark": self._mark})
        self._checkpoints = Checkpoints(path, self._seconds)
        fitting.run(self)

    def stepped(self, step: Step) -> None:
        """Tell what a step came to."""
        if self._progress is not None and self._ranks.is_main:
            total = self._before + step.total + self._after
            self._progress(replace(step, number=self._before + step.number, total=total), None)

    def reached(self, fit: Fit) -> None:
        """Save the fit when it is time."""
        self._checkpoints.reached(fit, now=fit.done)

    def halved(self, points: int) -> None:
        """Tell that memory ran out."""
        log.warning("memory ran out; from here a step takes %d points in a case", points)


def checkpoint_files(name: str) -> tuple[str, str]:
    """The names of a fit's checkpoint, and of what says what it is one of."""
    return f"{name}.safetensors", f"{name}.json"


def mark_of(path: Path) -> str | None:
    """What a checkpoint is one of, by the file beside it; None when that cannot be told."""
    try:
        return str(read_json(path)["mark"])
    except (RunError, KeyError, TypeError):
        return None


def _log_up_to(step: int, path: Path, columns: list[str]) -> str:
    """The log of a fit up to a step, or its head alone when there is none with these columns."""
    head = ",".join(columns) + "\n"
    if step == 0 or not path.is_file():
        return head
    first, *rows = path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    kept = [row for row in rows if row.partition(",")[0].isdecimal() and int(row.partition(",")[0]) <= step]
    return head + "".join(f"{row}\n" for row in kept) if f"{first}\n" == head else head
