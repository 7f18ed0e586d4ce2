"""Summary of a case for its review: volumes of each structure, the changes, and the priority."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.grid import Grid
from heartmend.geometry.surface_noise import surface_area_mm2
from heartmend.io.dataset import Case
from heartmend.repair.acceptance import Verdict
from heartmend.repair.change_log import ChangeLog
from heartmend.repair.change_voxels import CaseChanges, VoxelChange
from heartmend.repair.changes import SEVERITIES, Change, Severity
from heartmend.repair.editing.correction_time import LOOK_MINUTES, correction_minutes
from heartmend.review.priority import ReviewPriority, expected_error, priority_of
from heartmend.run_folder.finished import FinishedRun
from heartmend.types import Labels, Triple

Point = tuple[float, float, float]
DENSITY_WINDOW = 5
"""Side, in voxels, of the window in which changed voxels are counted to find the place of a change."""


@dataclass(frozen=True)
class StructureChange:
    """Changes of one structure of a case.

    Attributes:
        name: name of the structure.
        before_ml: volume in the original label map.
        after_ml: volume in the repaired label map.
        added_ml: volume of the voxels that it gained.
        removed_ml: volume of the voxels that it lost.
        severity: worst severity of its changes.
        acceptance_failure: why its repaired mask failed the acceptance test; empty where it passed.
        point_mm: RAS+ position where most of it changed; None where nothing changed.
        expected_error: Dice error that is expected to be left in it (`priority.expected_error`).
        minutes: time that a correction takes (`correction_time.correction_minutes`).
    """

    name: str
    before_ml: float
    after_ml: float
    added_ml: float
    removed_ml: float
    severity: Severity
    acceptance_failure: str
    point_mm: Point | None
    expected_error: float = 0.0
    minutes: float = LOOK_MINUTES

    @property
    def changed_ml(self) -> float:
        """Added and removed volume together."""
        return self.added_ml + self.removed_ml


@dataclass(frozen=True)
class ReviewChange:
    """A change of a case, or a remark.

    Attributes:
        change: what was changed; `voxels` and `volume_mm3` are those of the result where it has a key.
        key: digest of its voxels, which a decision names; empty for a remark, and for a change that others have
            overwritten: there is nothing to decide.
        structures: names of the structures that gained or lost a voxel by it.
        point_mm: RAS+ position of it.
    """

    change: Change
    key: str
    structures: tuple[str, ...]
    point_mm: Point

    @property
    def is_flagged(self) -> bool:
        """Whether it can be decided and needs a look before it is."""
        return bool(self.key) and self.change.severity != "info"

    def to_dict(self) -> dict[str, Any]:
        """Convert the change into a table for JSON.

        Returns:
            The table of the change, with key, structures and position.
        """
        own = {"key": self.key, "structures": self.structures, "point_mm": self.point_mm}
        return {**self.change.to_dict(), **own}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        """Read a change from a table.

        Args:
            table: table of `to_dict`, also after JSON.

        Returns:
            The change.
        """
        rest = {name: value for name, value in table.items() if name not in ("key", "structures", "point_mm")}
        x, y, z = table["point_mm"]
        return cls(Change.from_dict(rest), table["key"], tuple(table["structures"]), (x, y, z))


@dataclass(frozen=True)
class ReviewSummary:
    """Summary of a case for its review.

    Attributes:
        case: case id.
        stamp: stamp of the two label maps (`FinishedRun.stamp`).
        priority: reasons to review the case early.
        severity: worst severity of its changes.
        changed_ml: volume of all changed voxels.
        structures: summary of each structure that either label map contains.
        changes: the changes in the order in which they were made, then those of the surfaces.
        shape: voxels of the displayed part.
        affine: affine of the displayed part, 4 x 4, RAS+ mm.
        has_image: whether the case has a CT.
    """

    case: str
    stamp: str
    priority: ReviewPriority
    severity: Severity
    changed_ml: float
    structures: tuple[StructureChange, ...]
    changes: tuple[ReviewChange, ...]
    shape: Triple
    affine: tuple[tuple[float, ...], ...]
    has_image: bool

    @property
    def changed_structures(self) -> tuple[str, ...]:
        """Names of the structures that changed; a decision is needed for these only."""
        return tuple(s.name for s in self.structures if s.changed_ml > 0)

    @property
    def grid(self) -> Grid:
        """Grid of the displayed part."""
        return Grid(self.shape, np.array(self.affine))

    def to_dict(self) -> dict[str, Any]:
        """Convert the summary into a table for JSON.

        Returns:
            The table.
        """
        return {**asdict(self), "changes": [c.to_dict() for c in self.changes]}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        """Read a summary from a table.

        Args:
            table: table of `to_dict`, also after JSON.

        Returns:
            The summary.
        """
        structures = tuple(
            StructureChange(**{**s, "point_mm": None if s["point_mm"] is None else tuple(s["point_mm"])})
            for s in table["structures"]
        )
        return cls(
            **{
                **table,
                "priority": ReviewPriority(**table["priority"]),
                "structures": structures,
                "changes": tuple(ReviewChange.from_dict(c) for c in table["changes"]),
                "shape": tuple(table["shape"]),
                "affine": tuple(tuple(row) for row in table["affine"]),
            }
        )


def read_summary(finished: FinishedRun, case: Case) -> ReviewSummary:
    """Read the summary of a case whose review files exist (`case_cache.make_ready`).

    Args:
        finished: the run.
        case: a case of it.

    Returns:
        The summary.
    """
    return ReviewSummary.from_dict(finished.run.review_summary(case.id))


def by_priority(summaries: Iterable[ReviewSummary]) -> list[ReviewSummary]:
    """Sort summaries by priority.

    Args:
        summaries: summaries of cases.

    Returns:
        The summaries by descending priority, then by case id.
    """
    return sorted(summaries, key=lambda s: (-s.priority.score, s.case))


@dataclass(frozen=True, eq=False)
class DisplayedChanges:
    """Changes of a case on its displayed part.

    Attributes:
        case: case id.
        changes: the changes.
        numbers: (x, y, z) 0 where nothing changed, else one more than the position of the voxel's change.
        verdicts: the verdict on each repaired mask.
    """

    case: str
    changes: tuple[VoxelChange, ...]
    numbers: npt.NDArray[np.uint16]
    verdicts: tuple[Verdict, ...] = ()

    @classmethod
    def of(cls, log: ChangeLog, changes: CaseChanges, numbers: npt.NDArray[np.generic]) -> DisplayedChanges:
        """Combine the change log of a case and its changes.

        Args:
            log: the change log.
            changes: the changes.
            numbers: their numbers on the displayed part (`CaseChanges.volume`).

        Returns:
            The changes on the displayed part.
        """
        return cls(log.case_id, changes.changes, numbers.astype(np.uint16), log.verdicts)


def summarise_case(
    before: Labels,
    after: Labels,
    grid: Grid,
    anatomy: Anatomy,
    displayed: DisplayedChanges,
    stamp: str,
    has_image: bool,
) -> ReviewSummary:
    """Summarise the changes of a case.

    Args:
        before: original label map (x, y, z), uint8, cropped to the displayed part.
        after: repaired label map on the same grid.
        grid: grid of the displayed part.
        anatomy: anatomy of the label maps.
        displayed: the changes.
        stamp: stamp of the two label maps.
        has_image: whether the case has a CT.

    Returns:
        The summary.
    """
    changed = before != after
    density = uniform_filter(changed.astype(np.float32), DENSITY_WINDOW, mode="constant")
    voxel_ml = grid.voxel_mm3 / 1000
    failures = {v.structure: v.reason for v in displayed.verdicts if not v.accepted}
    entries = [one.change for one in displayed.changes]
    structures = []
    for s in anatomy.structures:
        mask_before, mask_after = before == s.id, after == s.id
        if not mask_before.any() and not mask_after.any():
            continue
        severities = [c.severity for c in entries if c.structure == s.name]
        severity: Severity = "warning" if s.name in failures else max(severities, key=SEVERITIES.index, default="info")
        before_ml, after_ml, added_ml, removed_ml = (
            round(int(np.count_nonzero(mask)) * voxel_ml, 4)
            for mask in (mask_before, mask_after, mask_after & ~mask_before, mask_before & ~mask_after)
        )
        point = _densest_point(density, mask_before ^ mask_after, grid)
        failure = failures.get(s.name, "")
        error, minutes = _error_and_minutes(mask_before, mask_after, grid)
        structures.append(
            StructureChange(s.name, before_ml, after_ml, added_ml, removed_ml, severity, failure, point, error, minutes)
        )
    n_labelled = int(np.count_nonzero(before | after))
    n_changed = int(np.count_nonzero(changed))
    severity = "warning" if failures else max((c.severity for c in entries), key=SEVERITIES.index, default="info")
    return ReviewSummary(
        displayed.case, stamp, priority_of(entries, len(failures), n_changed / max(n_labelled, 1)), severity,
        round(n_changed * voxel_ml, 3), tuple(structures), _review_changes(displayed, density, grid),
        grid.shape, tuple(tuple(float(v) for v in row) for row in grid.affine), has_image,
    )  # fmt: skip


def _error_and_minutes(before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_], grid: Grid) -> tuple[float, float]:
    """Estimate the error of a repaired structure, and the minutes of its correction."""
    volumes = int(np.count_nonzero(before)), int(np.count_nonzero(after))
    changed = 1 - 2 * int(np.count_nonzero(before & after)) / sum(volumes)
    box = bounding_box(after, margin=1)
    area_mm2 = 0.0 if box is None else surface_area_mm2(after[box], grid.spacing_mm)
    mm3 = volumes[1] * grid.voxel_mm3
    return round(expected_error(mm3, area_mm2, changed), 5), round(correction_minutes(mm3, area_mm2), 2)


def _densest_point(density: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_], grid: Grid) -> Point | None:
    """Find the voxel of a mask around which most voxels changed; its position in mm, None for an empty mask."""
    if not mask.any():
        return None
    best = np.unravel_index(int(np.where(mask, density, -1).argmax()), density.shape)
    x, y, z = grid.index_to_world(best).round(2).tolist()
    return x, y, z


def _review_changes(
    displayed: DisplayedChanges, density: npt.NDArray[np.float32], grid: Grid
) -> tuple[ReviewChange, ...]:
    """Find the voxel of each change around which most voxels changed; of a remark, the middle of its box."""
    at = np.argwhere(displayed.numbers)
    numbers = displayed.numbers[tuple(at.T)]
    densities = density[tuple(at.T)]
    # The first of each number is the densest one, the first in the volume of several.
    order = np.lexsort((np.arange(len(at)), -densities, numbers))
    found, first = np.unique(numbers[order], return_index=True)
    densest = {int(number): at[order[k]] for number, k in zip(found, first, strict=True)}
    changes = []
    for number, one in enumerate(displayed.changes, start=1):
        position = grid.index_to_world(densest[number]) if number in densest else np.mean(one.change.box_mm, axis=0)
        x, y, z = position.round(2).tolist()
        changes.append(ReviewChange(one.change, one.key, one.structures, (x, y, z)))
    return tuple(changes)
