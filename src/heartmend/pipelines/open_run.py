"""A run in Python: its cases with their records, read when they are first used, and its review decisions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.errors import BadInputError
from heartmend.geometry.distance import DistanceMap
from heartmend.geometry.roi import Roi
from heartmend.io.dataset import Case, Cohort
from heartmend.io.label_maps import LabelVolume
from heartmend.repair.change_log import ChangeLog
from heartmend.run_folder.decision_records import Choice, Decision, DecisionRequest, user_name
from heartmend.run_folder.decisions import Decisions
from heartmend.run_folder.finished import FinishedRun
from heartmend.run_folder.folder import RunFolder
from heartmend.wording import plural

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from heartmend.models.heart_model import HeartModel

CHOICES: tuple[Choice, ...] = ("accept", "reject", "correct", "open")
"""The choices of `OpenRun.decide`; `corrected` needs a hand-corrected label map, which `heartmend import` reads."""


class RunCase:
    """A case of a run. Every record is read from disk when it is first used.

    Attributes:
        id: id of the case.
    """

    def __init__(self, run: RunFolder, cohort: Cohort, case: Case) -> None:
        """Create a case; use `OpenRun` instead.

        Args:
            run: the run.
            cohort: the input.
            case: the case.
        """
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

    @property
    def original_path(self) -> Path:
        """The file of the original label map."""
        return self._case.labels_path

    @property
    def changed_structures(self) -> tuple[str, ...]:
        """Names of the structures whose voxels changed, in the order of the anatomy; a decision is needed for these."""
        before, after = self.original.labels, self.labels.labels
        changed = before != after
        ids = set(np.unique(before[changed])) | set(np.unique(after[changed]))
        return tuple(s.name for s in self._cohort.anatomy.structures if s.id in ids)

    def figure(
        self, truth: str | PathLike[str] | npt.NDArray[np.generic] | None = None, title: str = "",
        through: Sequence[int] | None = None,
    ) -> Figure:  # fmt: skip
        """Draw three planes of the case: before, after and changes.

        Args:
            truth: the true label map on the same voxels, as a file numbered as that of the case, or as an array of ids
                of the anatomy; it is drawn as a dashed outline.
            title: title of the figure; the id of the case if empty.
            through: index of the voxel that the planes go through; the centre of the largest change if None.

        Returns:
            The figure, which a notebook shows with `%matplotlib inline`, and which `savefig` writes.

        Raises:
            BadInputError: if a label map cannot be read, or the truth has another shape.
        """
        from heartmend.figures.planes import before_after_figure
        from heartmend.figures.style import StructureStyle
        from heartmend.figures.view import BeforeAfter

        anatomy, grid = self._cohort.anatomy, self.original.grid
        if truth is not None:
            if isinstance(truth, str | PathLike):
                truth = self._cohort.read_other_labels(self._case, Path(truth)).labels
            truth = np.asarray(truth)
            if truth.shape != grid.shape:
                raise BadInputError(f"truth: has the shape {truth.shape}, the label map {grid.shape}; resample it")
        maps = BeforeAfter(
            self.original.labels, self.labels.labels, grid.spacing_mm, grid.axcodes, image=self.image, truth=truth
        )
        return before_after_figure(maps, StructureStyle.of(anatomy), title or f"Case {self.id}", through)


class OpenRun:
    """A run with its cases and its review decisions.

    Iterates over its cases; `run["001"]` is one of them.

    Attributes:
        output: OUT.
        cohort: the input.
    """

    def __init__(self, run: RunFolder, cohort: Cohort) -> None:
        """Create the object; use `open_run` instead.

        Args:
            run: the run.
            cohort: the input.
        """
        self.output, self.cohort = run.output, cohort
        self._run = run
        self._cases = {case.id: RunCase(run, cohort, case) for case in cohort}

    def __repr__(self) -> str:
        return f"OpenRun({str(self.output)!r}: {plural(len(self), 'case')})"

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

        Returns:
            The model, as from `heartmend.load_model`.

        Raises:
            RunError: if the run is not unified.
        """
        return self._run.model()

    def decisions(self) -> list[Decision]:
        """Read the current review decisions.

        Returns:
            The newest decision of every structure and of every change, in the order of writing.

        Raises:
            RunError: if the database cannot be read.
        """
        return Decisions(self._run.decisions_path).current()

    def decide(
        self, case_id: str, structure: str, choice: Choice, *, note: str = "", reviewer: str = ""
    ) -> Decision:  # fmt: skip
        """Decide about the changes of one structure, as on the page of `heartmend review`.

        The decision replaces the current one about this structure. It is valid for the two label maps as they are now.

        Args:
            case_id: id of the case.
            structure: name of the structure.
            choice: "accept": take the repaired structure; "reject": keep the original one; "correct": it will be
                corrected by hand; "open": not decided.
            note: free text.
            reviewer: name of the person who decides; your user name if empty.

        Returns:
            The decision as written.

        Raises:
            BadInputError: if there is no such case, choice or change, or a text is too long.
            ConfigError: if the anatomy has no such structure.
            RunError: if no case of the run is repaired, or the database cannot be written.
            ConflictError: if another reviewer decided about the structure at the same time.
        """
        case, name = self[case_id], self.anatomy.by_name(structure).name
        if choice not in CHOICES:
            raise BadInputError(f"choice={choice!r}: give one of {', '.join(CHOICES)}")
        if name not in case.changed_structures:
            changed = ", ".join(case.changed_structures) or "no structure"
            raise BadInputError(f"case {case.id}: {name} did not change, so there is no decision; changed: {changed}")
        known = [d.number for d in self.decisions() if d.target == (case.id, name, "")]
        request = DecisionRequest(case.id, name, choice, note, self._stamp(case.id), known[0] if known else 0)
        return Decisions(self._run.decisions_path).write([request], reviewer or user_name())[0]

    def _stamp(self, case_id: str) -> str:
        """The stamp of the two label maps of a case, as of the review page."""
        return FinishedRun(self._run, self.cohort, {}, Path()).stamp(self.cohort[case_id])


def open_run(
    output: str | PathLike[str], labels: str | PathLike[str] | None = None, images: str | PathLike[str] | None = None
) -> OpenRun:
    """Open a run, to read its records and to decide about its changes.

    Args:
        output: OUT.
        labels: the input folder of label maps, where it was moved.
        images: the input folder of CTs, where it was moved.

    Returns:
        The run; `open_run("out/")["001"].changes` are the changes of a case.

    Raises:
        RunError: if there is no run, or it cannot be read.
        BadInputError: if the input does not exist any more.
    """
    run = RunFolder.at(Path(output))
    return OpenRun(run, run.cohort(None if labels is None else Path(labels), None if images is None else Path(images)))
