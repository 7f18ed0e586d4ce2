"""Summary of a case for its review: volumes of each structure, the changes, and the priority."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.grid import Grid
from heartmend.io.dataset import Case
from heartmend.repair.change_log import ChangeLog
from heartmend.repair.changes import SEVERITIES, Change, Severity
from heartmend.review.priority import ReviewPriority, priority_of
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
    """

    name: str
    before_ml: float
    after_ml: float
    added_ml: float
    removed_ml: float
    severity: Severity
    acceptance_failure: str
    point_mm: Point | None

    @property
    def changed_ml(self) -> float:
        """Added and removed volume together."""
        return self.added_ml + self.removed_ml


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
        changes: the changes in the order in which they were made.
        points_mm: RAS+ position of each change.
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
    changes: tuple[Change, ...]
    points_mm: tuple[Point, ...]
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
        return asdict(self)

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
                "changes": tuple(Change.from_dict(c) for c in table["changes"]),
                "points_mm": tuple(tuple(p) for p in table["points_mm"]),
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


def summarise_case(
    before: Labels,
    after: Labels,
    grid: Grid,
    anatomy: Anatomy,
    change_log: ChangeLog,
    stamp: str,
    has_image: bool,
) -> ReviewSummary:
    """Summarise the changes of a case.

    Args:
        before: original label map (x, y, z), uint8, cropped to the displayed part.
        after: repaired label map on the same grid.
        grid: grid of the displayed part.
        anatomy: anatomy of the label maps.
        change_log: change log of the case.
        stamp: stamp of the two label maps.
        has_image: whether the case has a CT.

    Returns:
        The summary.
    """
    changed = before != after
    density = uniform_filter(changed.astype(np.float32), DENSITY_WINDOW, mode="constant")
    voxel_ml = grid.voxel_mm3 / 1000
    failures = {v.structure: v.reason for v in change_log.verdicts if not v.accepted}
    structures = []
    for s in anatomy.structures:
        mask_before, mask_after = before == s.id, after == s.id
        if not mask_before.any() and not mask_after.any():
            continue
        severities = [c.severity for c in change_log.changes if c.structure == s.name]
        severity: Severity = "warning" if s.name in failures else max(severities, key=SEVERITIES.index, default="info")
        before_ml, after_ml, added_ml, removed_ml = (
            round(int(np.count_nonzero(mask)) * voxel_ml, 4)
            for mask in (mask_before, mask_after, mask_after & ~mask_before, mask_before & ~mask_after)
        )
        point = _densest_point(density, mask_before ^ mask_after, grid)
        failure = failures.get(s.name, "")
        structures.append(StructureChange(s.name, before_ml, after_ml, added_ml, removed_ml, severity, failure, point))
    n_labelled = int(np.count_nonzero(before | after))
    n_changed = int(np.count_nonzero(changed))
    return ReviewSummary(
        change_log.case_id, stamp, priority_of(change_log, n_changed / max(n_labelled, 1)), change_log.severity,
        round(n_changed * voxel_ml, 3), tuple(structures), change_log.changes,
        tuple(_point_of_change(change, before, after, density, grid, anatomy) for change in change_log.changes),
        grid.shape, tuple(tuple(float(v) for v in row) for row in grid.affine), has_image,
    )  # fmt: skip


def _densest_point(density: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_], grid: Grid) -> Point | None:
    """Find the voxel of a mask around which most voxels changed; its position in mm, None for an empty mask."""
    if not mask.any():
        return None
    best = np.unravel_index(int(np.where(mask, density, -1).argmax()), density.shape)
    x, y, z = grid.index_to_world(best).round(2).tolist()
    return x, y, z


def _point_of_change(
    change: Change, before: Labels, after: Labels, density: npt.NDArray[np.float32], grid: Grid, anatomy: Anatomy
) -> Point:
    """Find the point in the box of a change where most of its structure changed; else the middle of the box."""
    low, high = np.array(change.box_mm)
    corners = grid.world_to_index(
        [[(low, high)[i][0], (low, high)[j][1], (low, high)[k][2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    )
    first = np.clip(np.floor(corners.min(axis=0) + 0.5).astype(int), 0, np.array(grid.shape) - 1)
    last = np.clip(np.ceil(corners.max(axis=0) - 0.5).astype(int), first, np.array(grid.shape) - 1)
    box = tuple(slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))
    part_before, part_after = before[box], after[box]
    changed = part_before != part_after
    if change.structure in anatomy.names:
        id = anatomy.by_name(change.structure).id
        changed_structure = changed & ((part_before == id) | (part_after == id))
        changed = changed_structure if changed_structure.any() else changed
    if not changed.any():
        x, y, z = ((low + high) / 2).round(2).tolist()
        return x, y, z
    best = np.unravel_index(int(np.where(changed, density[box], -1).argmax()), changed.shape)
    x, y, z = grid.index_to_world(np.array(best) + first).round(2).tolist()
    return x, y, z
