"""What the page shows of a case: how much each structure gained and lost, what was changed where, and how uncertain_voxels."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.grid import Grid
from heartmend.repair.change_log import ChangeLog
from heartmend.repair.changes import SEVERITIES, Change, Severity
from heartmend.review.priority import Doubt, priority_of
from heartmend.types import Labels, Triple

Point = tuple[float, float, float]


@dataclass(frozen=True)
class StructureSummary:
    """One structure of a case. `at_mm` is where it changed most, in mm, RAS+; `kept` why its mend was not taken."""

    name: str
    before_ml: float
    after_ml: float
    gained_ml: float
    lost_ml: float
    severity: Severity
    kept: str
    at_mm: Point | None

    @property
    def changed_ml(self) -> float:
        """What it gained and what it lost."""
        return self.gained_ml + self.lost_ml


@dataclass(frozen=True)
class Digest:
    """A case in numbers. shape, affine: the grid of what is shown of it; stamp: which two maps these numbers are of."""

    case: str
    stamp: str
    doubt: Doubt
    severity: Severity
    changed_ml: float
    structures: tuple[StructureSummary, ...]
    changes: tuple[Change, ...]
    places_mm: tuple[Point, ...]
    """For each of the changes the place to look at."""
    shape: Triple
    affine: tuple[tuple[float, ...], ...]
    has_image: bool

    @property
    def to_decide(self) -> tuple[str, ...]:
        """The structures that changed; of the others nothing is to be decided."""
        return tuple(s.name for s in self.structures if s.changed_ml > 0)

    @property
    def grid(self) -> Grid:
        """The grid of what is shown."""
        return Grid(self.shape, np.array(self.affine))

    def to_dict(self) -> dict[str, Any]:
        """A table for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        """The digest that `to_dict` wrote."""
        structures = tuple(
            StructureSummary(**{**s, "at_mm": None if s["at_mm"] is None else tuple(s["at_mm"])})
            for s in table["structures"]
        )
        return cls(
            **{
                **table,
                "doubt": Doubt(**table["doubt"]),
                "structures": structures,
                "changes": tuple(Change.from_dict(c) for c in table["changes"]),
                "places_mm": tuple(tuple(p) for p in table["places_mm"]),
                "shape": tuple(table["shape"]),
                "affine": tuple(tuple(row) for row in table["affine"]),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The digest of a JSON text."""
        return cls.from_dict(json.loads(text))


def by_priority(digests: Iterable[Digest]) -> list[Digest]:
    """The order in which a person goes through the cases; among equals by the case's id."""
    return sorted(digests, key=lambda d: (-d.doubt.score, d.case))


def digest(
    case: str,
    stamp: str,
    before: Labels,
    after: Labels,
    grid: Grid,
    anatomy: Anatomy,
    audit: ChangeLog,
    has_image: bool,
) -> Digest:
    """The digest of a case from its two label maps (x, y, z) on one grid, cut to the heart, and its audit."""
    changed = before != after
    density = uniform_filter(changed.astype(np.float32), 5, mode="constant")
    voxel_ml = grid.voxel_mm3 / 1000
    kept = {v.structure: v.reason for v in audit.verdicts if not v.accepted}
    structures = []
    for s in anatomy.structures:
        was, now = before == s.id, after == s.id
        if not was.any() and not now.any():
            continue
        own = [c.severity for c in audit.changes if c.structure == s.name]
        worst: Severity = "warning" if s.name in kept else max(own, key=SEVERITIES.index, default="info")
        before_ml, after_ml, gained_ml, lost_ml = (
            round(int(np.count_nonzero(m)) * voxel_ml, 4) for m in (was, now, now & ~was, was & ~now)
        )
        at = _densest(density, was ^ now, grid)
        structures.append(
            StructureSummary(s.name, before_ml, after_ml, gained_ml, lost_ml, worst, kept.get(s.name, ""), at)
        )
    labelled = int(np.count_nonzero(before | after))
    count = int(np.count_nonzero(changed))
    return Digest(
        case, stamp, priority_of(audit, count / max(labelled, 1)), audit.severity, round(count * voxel_ml, 3),
        tuple(structures), audit.changes,
        tuple(_place(change, before, after, density, grid, anatomy) for change in audit.changes),
        grid.shape, tuple(tuple(float(v) for v in row) for row in grid.affine), has_image,
    )  # fmt: skip


def _densest(density: npt.NDArray[np.float32], where: npt.NDArray[np.bool_], grid: Grid) -> Point | None:
    """The voxel, in mm, of `where` about which most changed; None when `where` is empty."""
    if not where.any():
        return None
    best = np.unravel_index(int(np.where(where, density, -1).argmax()), density.shape)
    x, y, z = grid.index_to_world(best).round(2).tolist()
    return x, y, z


def _place(
    change: Change, before: Labels, after: Labels, density: npt.NDArray[np.float32], grid: Grid, anatomy: Anatomy
) -> Point:
    """Where to look for a change: in its box, where its structure changed most; else the middle of the box."""
    low, high = np.array(change.box_mm)
    corners = grid.world_to_index(
        [[(low, high)[i][0], (low, high)[j][1], (low, high)[k][2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    )
    first = np.clip(np.floor(corners.min(axis=0) + 0.5).astype(int), 0, np.array(grid.shape) - 1)
    last = np.clip(np.ceil(corners.max(axis=0) - 0.5).astype(int), first, np.array(grid.shape) - 1)
    box = tuple(slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))
    was, now = before[box], after[box]
    moved = was != now
    if change.structure in anatomy.names:
        id = anatomy.by_name(change.structure).id
        own = moved & ((was == id) | (now == id))
        moved = own if own.any() else moved
    if not moved.any():
        x, y, z = ((low + high) / 2).round(2).tolist()
        return x, y, z
    best = np.unravel_index(int(np.where(moved, density[box], -1).argmax()), moved.shape)
    x, y, z = grid.index_to_world(np.array(best) + first).round(2).tolist()
    return x, y, z
