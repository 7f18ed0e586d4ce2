"""A finished run: its input, its results and its change logs, case by case."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from heartmend.anatomy.schema import Anatomy
from heartmend.errors import RunError
from heartmend.geometry.grid import Grid
from heartmend.io.dataset import Case, Cohort
from heartmend.io.digests import compute_fingerprint, file_fingerprint
from heartmend.io.label_maps import LabelVolume
from heartmend.io.volume import Volume
from heartmend.repair.change_log import ChangeLog
from heartmend.run_folder.folder import RunFolder

NOT_REPAIRED = "not repaired yet"
"""Reason for which a case of a run that is in progress, or was interrupted, is left out."""


@dataclass(frozen=True)
class FinishedRun:
    """A run and those of its cases that were repaired.

    Attributes:
        run: the run folder.
        cohort: the repaired cases of the input.
        left_out: the other cases, with the reasons.
        labels_dir: the input: a folder of label maps, or an nnU-Net data set.
        images_dir: the input folder of CTs, where it was moved.
    """

    run: RunFolder
    cohort: Cohort
    left_out: dict[str, str]
    labels_dir: Path
    images_dir: Path | None = None

    @classmethod
    def open(cls, output: str | Path, labels: Path | None = None, images: Path | None = None) -> Self:
        """Open the run in a folder.

        Args:
            output: OUT.
            labels: the input folder of label maps, where it was moved.
            images: the input folder of CTs, where it was moved.

        Returns:
            The run.

        Raises:
            RunError: if there is no run, or no case of it is repaired.
            BadInputError: if the input is not there any more.
        """
        run = RunFolder.at(output)
        cohort, left_out = run.cohort(labels, images), run.skipped()
        repaired = []
        for case in cohort:
            if case.id in left_out:
                continue
            try:
                is_repaired = run.has_fused(case)
            except RunError as error:
                left_out[case.id] = str(error)
                continue
            if is_repaired:
                repaired.append(case)
            else:
                left_out[case.id] = NOT_REPAIRED
        if not repaired:
            raise RunError(f"{run.output}: contains no repaired case; finish it with `heartmend run`")
        return cls(run, replace(cohort, cases=tuple(repaired)), left_out, labels or run.labels_dir(), images)

    def reopened(self) -> Self:
        """Open the run again, with the cases that were repaired since.

        Returns:
            The run.

        Raises:
            RunError, BadInputError: as `open`.
        """
        return self.open(self.run.output, self.labels_dir, self.images_dir)

    @property
    def anatomy(self) -> Anatomy:
        """The anatomy that the run was made with."""
        return self.cohort.anatomy

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cohort)

    def before(self, case: Case) -> LabelVolume:
        """Read the original label map.

        Args:
            case: the case.

        Returns:
            The label map, in the ids of the anatomy.
        """
        return self.cohort.read_labels(case)

    def after(self, case: Case) -> LabelVolume:
        """Read the repaired label map.

        Args:
            case: the case.

        Returns:
            The label map, in the ids of the anatomy, on the grid of the original one.
        """
        return self.run.repaired(self.cohort, case)

    def repaired_path(self, case: Case) -> Path:
        """Return the file of the repaired label map.

        Args:
            case: the case.

        Returns:
            The path of the file.
        """
        return self.run.result_path(case)

    def stamp(self, case: Case) -> str:
        """Compute a short text that changes when either label map does: a decision is valid for these maps alone.

        Args:
            case: the case.

        Returns:
            The text.
        """
        return compute_fingerprint(file_fingerprint(case.labels_path), file_fingerprint(self.repaired_path(case)))

    def image(self, case: Case, grid: Grid) -> Volume | None:
        """Read the CT on the grid of the label maps.

        Args:
            case: the case.
            grid: grid of its label maps.

        Returns:
            The CT in HU; None where there is none.
        """
        return self.cohort.read_image(case, grid)

    def changes(self, case: Case) -> ChangeLog:
        """Read what was changed, and why.

        Args:
            case: the case.

        Returns:
            The change log.
        """
        return self.run.changes(case.id)
