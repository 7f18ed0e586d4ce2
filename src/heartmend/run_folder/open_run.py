"""A run, opened to be read: its cases with their records, loaded when they are first used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.distance import DistanceMap
from heartmend.geometry.roi import Roi
from heartmend.io.dataset import Case, Cohort
from heartmend.io.label_maps import LabelVolume
from heartmend.repair.change_log import ChangeLog
from heartmend.run_folder.decisions import Decisions
from heartmend.run_folder.folder import RunFolder

if TYPE_CHECKING:
    from heartmend.models.heart_model import HeartModel


class RunCase:
    """A case of a run. Every record is read from disk when it is first used.

    Attributes:
        id: id of the case.
    """

    def __init__(self, run: RunFolder, cohort: Cohort, case: Case) -> None:
        self.id = case.id
        self._run, self._cohort, self._case = run, cohort, case

    def __repr__(self) -> str:
        return f"RunCase({self.id!r} of {str(self._run.output)!r})"

    @cached_property
    def original(self) -> LabelVolume:
        """The original label map in the ids of the anatomy."""
        return self._cohort.read_labels(self._case)

    @cached_property
    def labels(self) -> LabelVolume:
        """The repaired label map in the ids of the anatomy."""
        return self._run.repaired(self._cohort, self._case)

    @cached_property
    def image(self) -> npt.NDArray[np.generic] | None:
        """The CT (x, y, z) in HU on the grid of the label map; None where the case has none."""
        image = self._cohort.read_image(self._case, self.original.grid)
        return None if image is None else image.values

    @cached_property
    def changes(self) -> ChangeLog:
        """What was changed, and which repaired structures were accepted."""
        return self._run.changes(self.id)

    @cached_property
    def roi(self) -> Roi:
        """The region of interest about the heart."""
        return self._run.roi(self.id)

    @cached_property
    def distances(self) -> dict[str, DistanceMap]:
        """The distance maps of the refined structures on the voxels of the ROI, by name."""
        return self._run.distances(self.id)

    @property
    def path(self) -> Path:
        """The file of the repaired label map."""
        return self._run.result_path(self._case)


class OpenRun:
    """A run, opened to be read.

    Iterates over its cases; `run["001"]` is one of them.

    Attributes:
        output: OUT.
        cohort: the input.
    """

    def __init__(self, run: RunFolder, cohort: Cohort) -> None:
        self.output, self.cohort = run.output, cohort
        self._run = run
        self._cases = {case.id: RunCase(run, cohort, case) for case in cohort}

    def __repr__(self) -> str:
        return f"OpenRun({str(self.output)!r}: {len(self)} cases)"

    def __len__(self) -> int:
        return len(self._cases)

    def __iter__(self) -> Iterator[RunCase]:
        return iter(self._cases.values())

    def __contains__(self, case_id: object) -> bool:
        return case_id in self._cases

    def __getitem__(self, case_id: str) -> RunCase:
        """Return a case.

        Raises:
            BadInputError: if the run has no case of this id.
        """
        return self._cases[self.cohort[case_id].id]

    @property
    def ids(self) -> list[str]:
        """The ids of the cases."""
        return list(self._cases)

    @property
    def anatomy(self) -> Anatomy:
        """The anatomy that the run was made with."""
        return self.cohort.anatomy

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """The settings as resolved."""
        return self._run.settings()

    @cached_property
    def skipped(self) -> Mapping[str, str]:
        """The cases that were skipped, with the reasons."""
        return self._run.skipped()

    @cached_property
    def warnings(self) -> Mapping[str, list[str]]:
        """What is unusual about the files of cases."""
        return self._run.warnings()

    def model(self) -> HeartModel:
        """Read the model of all hearts.

        Raises:
            RunError: if the run is not unified.
        """
        return self._run.model()

    def decisions(self) -> Decisions:
        """Open the data base of the decisions of a review."""
        return Decisions(self._run.decisions_path)


def open_run(output: str | Path, labels: str | Path | None = None, images: str | Path | None = None) -> OpenRun:
    """Open a run to be read.

    Args:
        output: OUT.
        labels: the input folder of label maps, where it was moved.
        images: the input folder of CTs, where it was moved.

    Returns:
        The run.

    Raises:
        RunError: if there is no run, or it cannot be read.
        BadInputError: if the input is not there any more.
    """
    run = RunFolder.at(output)
    return OpenRun(run, run.cohort(None if labels is None else Path(labels), None if images is None else Path(images)))
