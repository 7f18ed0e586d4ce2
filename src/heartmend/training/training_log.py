"""Records of a running fit: a CSV log, TensorBoard, checkpoints and the best model so far."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from heartmend.compute.ranks import Ranks
from heartmend.errors import RunError
from heartmend.io.atomic import read_json, write_json, write_text
from heartmend.io.file_names import is_utf8
from heartmend.io.regular import is_regular, open_to_append, read_regular
from heartmend.io.tables import format_csv
from heartmend.training.checkpoint import Checkpoints, is_intact, load_fit, read_metadata, save_model
from heartmend.training.loop import Fit, Step

ReportStep = Callable[[Step, float | None], None]
"""Called with the report of a step, and the whole-volume Dice of the last validation (None before the first)."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckpointFiles:
    """Paths of a fit's checkpoint.

    Attributes:
        checkpoint: the checkpoint, written repeatedly.
        checkpoint_stamp: JSON file with the stamp of the fit's inputs and settings.
    """

    checkpoint: Path
    checkpoint_stamp: Path

    def read_stamp(self) -> str | None:
        """Read the stamp of the checkpoint.

        Returns:
            The stamp; None if it cannot be read.
        """
        try:
            return str(read_json(self.checkpoint_stamp)["stamp"])
        except (RunError, KeyError, TypeError):
            return None

    def start(self, stamp: str) -> None:
        """Delete the results of an earlier fit and write the stamp of a new one.

        Args:
            stamp: stamp of the new fit.
        """
        self.checkpoint.unlink(missing_ok=True)
        write_json(self.checkpoint_stamp, {"stamp": stamp})

    def delete(self) -> None:
        """Delete the checkpoint and its stamp, if they exist."""
        self.checkpoint.unlink(missing_ok=True)
        self.checkpoint_stamp.unlink(missing_ok=True)


@dataclass(frozen=True)
class TrainingFiles(CheckpointFiles):
    """Paths of all files of a fit.

    Attributes:
        checkpoint: the checkpoint, written repeatedly.
        checkpoint_stamp: JSON file with the stamp of the fit's inputs and settings.
        best_model: the model with the best whole-volume Dice so far.
        log_csv: the log, one line for each report.
        tensorboard: folder of the TensorBoard events.
    """

    best_model: Path
    log_csv: Path
    tensorboard: Path

    def start(self, stamp: str) -> None:
        """Delete the results of an earlier fit and write the stamp of a new one.

        Args:
            stamp: stamp of the new fit.
        """
        self.best_model.unlink(missing_ok=True)
        super().start(stamp)


def resume_or_start(fit: Fit, files: CheckpointFiles, stamp: str) -> bool:
    """Load the checkpoint of a fit if it has the same stamp; otherwise delete it. Every process must call it.

    A damaged checkpoint is deleted too, with a warning.

    Args:
        fit: a new fit, modified in place.
        files: paths of the checkpoint.
        stamp: digest of everything that the fit depends on.

    Returns:
        Whether the fit continues from a checkpoint.

    Raises:
        RunError: if the checkpoint is of other cases, or of another version of Heartmend.
    """
    if fit.ranks.broadcast(_can_resume(fit, files, stamp)):
        load_fit(files.checkpoint, fit)
        return True
    if fit.ranks.is_main:
        files.start(stamp)
    return False


def _can_resume(fit: Fit, files: CheckpointFiles, stamp: str) -> bool:
    """Check the checkpoint; the answer of the main process counts."""
    if not fit.ranks.is_main or not is_regular(files.checkpoint) or files.read_stamp() != stamp:
        return False
    if is_intact(files.checkpoint):
        return True
    log.warning("%s: the checkpoint is damaged; the fit starts again", files.checkpoint)
    return False


class TrainingLog:
    """Observer of one fit that writes its log, checkpoints and best model.

    A context manager. The main process writes the files; all processes take part in what is gathered.
    """

    def __init__(
        self, files: TrainingFiles, seconds: float, heads: Sequence[str],
        validate: Callable[[Fit], dict[str, list[float]]], report: ReportStep | None, fit: Fit,
    ) -> None:  # fmt: skip
        """Create the log of a fit.

        Args:
            files: paths of the files to be written.
            seconds: time between two checkpoints; 0 for one at every opportunity.
            heads: names of the structures.
            validate: measures the Dice (head,) of some cases over whole volumes, by case id.
            report: is called with the report of each step.
            fit: the fit before its first step, or as a checkpoint was loaded.
        """
        self._files, self._heads, self._report, self._validate = files, heads, report, validate
        self._is_main = fit.ranks.is_main
        self._checkpoints = Checkpoints(files.checkpoint, seconds)
        self._logged = time.monotonic()
        self._step, self._phase = fit.steps_done, fit.position.phase
        best = files.best_model
        self._best = fit.ranks.broadcast(float(read_metadata(best).get("dice", -1.0)) if is_intact(best) else -1.0)
        self._volume_dice: float | None = None

    def __enter__(self) -> TrainingLog:
        if not self._is_main:
            return self
        path = self._files.log_csv
        columns = ["step", "phase", "loss", "training_dice", "whole_volume_dice", "peak_memory_mb"]
        columns += [*(f"dice_{name}" for name in self._heads), "seconds"]
        # The steps after the last checkpoint of an interrupted fit are repeated, and logged again.
        write_text(path, _log_up_to(self._step, path, columns))
        self._file = open_to_append(path)
        # Its own writer, because rows are appended while the fit runs. They contain numbers only, which need no quotes.
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._board = _open_board(self._files.tensorboard, self._step)
        return self

    def __exit__(self, *error: object) -> None:
        if self._is_main:
            self._file.close()
            if self._board is not None:
                self._board.close()

    def on_step(self, step: Step) -> None:
        """Log the report of a step.

        Args:
            step: the step.
        """
        if not self._is_main:
            return
        dice = step.dice.tolist()
        mean = float(np.mean(dice))
        volume_dice = "" if self._volume_dice is None else round(self._volume_dice, 5)
        row = [step.number, step.phase + 1, round(step.loss, 6), round(mean, 5), volume_dice]
        now = time.monotonic()
        seconds = round(now - self._logged, 2)
        self._rows.writerow([*row, step.peak_memory_bytes >> 20, *(round(d, 5) for d in dice), seconds])
        self._logged = now
        self._file.flush()
        if self._board is not None:
            self._board.add_scalar("loss", step.loss, step.number)
            self._board.add_scalar("dice/training", mean, step.number)
        if self._report is not None:
            self._report(step, self._volume_dice)

    def on_checkpoint(self, fit: Fit) -> None:
        """Write a checkpoint if it is due; at the end of a phase validate on whole volumes first.

        Args:
            fit: the fit.
        """
        phase_ended = fit.position.phase != self._phase
        if phase_ended:
            self._phase = fit.position.phase
            self._volume_dice = float(np.mean(list(self._validate(fit).values())))
            if self._is_main and self._board is not None:
                self._board.add_scalar("dice/whole_volume", self._volume_dice, self._phase)
            if self._volume_dice > self._best:
                self._best = self._volume_dice
                if (codes := fit.gather_codes()) is not None:
                    save_model(self._files.best_model, fit.shape, codes, dice=self._best)
        self._checkpoints.save_if_due(fit, now=phase_ended)

    def on_memory_halved(self, points: int) -> None:
        """Log that memory ran out.

        Args:
            points: the new number of points in each case.
        """
        log.warning("out of memory; from here on each step samples %d points in each case", points)


class ChainedTrainingLog:
    """Observer of several successive fits that counts their steps together and writes a checkpoint of each."""

    def __init__(self, stamp: str, seconds: float, report: ReportStep | None, ranks: Ranks) -> None:
        """Create the log.

        Args:
            stamp: digest of everything that the fits depend on; checkpoints of another stamp are deleted.
            seconds: time between two checkpoints; 0 for one at every opportunity.
            report: is called with the report of each step.
            ranks: the processes of the fits.
        """
        self._stamp, self._seconds, self._report, self._ranks = stamp, seconds, report, ranks
        self._steps_before, self._steps_after = 0, 0
        self._checkpoints: Checkpoints | None = None

    def run(self, fit: Fit, name: str, files: CheckpointFiles, steps_before: int, steps_after: int) -> None:
        """Run a fit to its end, from its checkpoint if there is one.

        Args:
            fit: the fit.
            name: what is fitted, for the log.
            files: paths of the fit's checkpoint.
            steps_before: number of steps of the fits before it.
            steps_after: number of steps of the fits after it.

        Raises:
            FitError: if the loss is NaN or infinite, or if memory runs out.
            RunError: if the checkpoint is damaged.
        """
        self._steps_before, self._steps_after = steps_before, steps_after
        if resume_or_start(fit, files, self._stamp):
            log.info("resuming the fit of the %s", name)
        self._checkpoints = Checkpoints(files.checkpoint, self._seconds)
        fit.run(self)

    def on_step(self, step: Step) -> None:
        """Report a step, counted over all fits.

        Args:
            step: the step.
        """
        if self._report is not None and self._ranks.is_main:
            total = self._steps_before + step.total + self._steps_after
            self._report(replace(step, number=self._steps_before + step.number, total=total), None)

    def on_checkpoint(self, fit: Fit) -> None:
        """Write a checkpoint if it is due.

        Args:
            fit: the fit.
        """
        if self._checkpoints is not None:
            self._checkpoints.save_if_due(fit, now=fit.done)

    def on_memory_halved(self, points: int) -> None:
        """Log that memory ran out.

        Args:
            points: the new number of points in each case.
        """
        log.warning("out of memory; from here on each step samples %d points in each case", points)


def _open_board(folder: Path, step: int) -> SummaryWriter | None:
    """Events for TensorBoard; None where it cannot open the folder, whose name is not UTF-8."""
    if not is_utf8(folder):
        log.warning("no events for TensorBoard: the name of the folder is not UTF-8; the same figures are in log.csv")
        return None
    return SummaryWriter(str(folder), purge_step=step)


def _log_up_to(step: int, path: Path, columns: list[str]) -> str:
    """The log up to a step, or its header only if there is no log with these columns."""
    header = format_csv(columns, [])
    if step == 0 or not is_regular(path):
        return header
    first, *rows = read_regular(path).decode(errors="replace").splitlines() or [""]
    kept = [row for row in rows if row.partition(",")[0].isdecimal() and int(row.partition(",")[0]) <= step]
    return header + "".join(f"{row}\n" for row in kept) if f"{first}\n" == header else header
