"""Changes: what a repair method changed, where and how much."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Literal, Self

import numpy as np

from heartmend.geometry.boxes import Box, bounding_box, nested_box
from heartmend.geometry.grid import Grid
from heartmend.types import Mask

Severity = Literal["info", "review", "warning"]
"""`info`: an expected change. `review`: a change that is worth a review. `warning`: a change that needs a review."""
SEVERITIES: tuple[Severity, ...] = ("info", "review", "warning")
"""The severities in ascending order."""

REVIEW_MM3 = 500.0
"""A larger change has at least the severity `review`."""

ORIGINAL_KEPT = "original kept"
"""Action of a remark: a rule found a suspicious part and did not change it."""

Corner = tuple[float, float, float]
"""Position (x, y, z) in mm, RAS+."""


@dataclass(frozen=True)
class Change:
    """Change to a structure, or a remark about it.

    Attributes:
        rule: name of the rule or method.
        structure: name of the structure that gained or lost voxels; empty for all structures.
        action: what was done: `interpolated`, `shifted`, `filled`, `moved`, `moved to LA`, `moved to neighbours`,
            `removed`, `replaced`, `joined`, `bridged`, `extended`, `pruned`, `smoothed`, `narrowed`, `widened`; or what
            was not done: `original kept`, `not joined`, `not moved`, `cut off`.
        voxels: number of changed voxels; 0 for a remark.
        volume_mm3: volume of the changed voxels.
        box_mm: lowest and highest corner of the change in mm (RAS+) of the original label map.
        severity: how much a review is needed.
        note: details for a reader.
    """

    rule: str
    structure: str
    action: str
    voxels: int
    volume_mm3: float
    box_mm: tuple[Corner, Corner]
    severity: Severity = "info"
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Convert the change to a table for JSON.

        Returns:
            The table.
        """
        return asdict(self)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        """Create a change from its table.

        Args:
            table: table that `to_dict` made, or its copy read from JSON.

        Returns:
            The change.

        Raises:
            KeyError: if the table has no box.
            TypeError: if it has unknown or missing keys.
        """
        low, high = (tuple(float(v) for v in corner) for corner in table["box_mm"])
        return cls(**{**table, "box_mm": (low, high)})


def replaced_structures(changes: Iterable[Change], rule: str) -> frozenset[str]:
    """List the structures that a method has replaced.

    Args:
        changes: entries of the change log.
        rule: name of the method.

    Returns:
        Their names.
    """
    return frozenset(one.structure for one in changes if one.rule == rule and one.action == "replaced")


def extent_of_change(differs: Mask, box: Box, grid: Grid) -> tuple[int, float, tuple[Corner, Corner]] | None:
    """Measure where a mask changed: what `Change` has between its action and its severity.

    Args:
        differs: (x, y, z) bool on the voxels of the box, those that changed.
        box: box of voxels on the grid.
        grid: the grid of the label map.

    Returns:
        Number of voxels, their volume in mm³, and the box about them in mm; None where no voxel changed.

    Example:
        >>> import numpy as np
        >>> differs = np.array([[[False, True, True]]])
        >>> grid = Grid((4, 4, 4), np.diag([1.0, 1.0, 2.0, 1.0]))
        >>> extent_of_change(differs, (slice(1, 2), slice(0, 1), slice(0, 3)), grid)
        (2, 4.0, ((0.5, -0.5, 1.0), (1.5, 0.5, 5.0)))
    """
    inner = bounding_box(differs)
    if inner is None:
        return None
    voxels = int(np.count_nonzero(differs))
    return voxels, round(voxels * grid.voxel_mm3, 2), box_in_mm(nested_box(box, inner), grid)


def box_in_mm(box: Box, grid: Grid) -> tuple[Corner, Corner]:
    """Compute the axis-aligned box in mm around a box of voxels.

    Args:
        box: box of voxels; the outer faces of its voxels are included.
        grid: grid of the voxels.

    Returns:
        Lowest and highest corner in mm, rounded to 0.01 mm.

    Example:
        >>> import numpy as np
        >>> box_in_mm((slice(0, 2), slice(0, 1), slice(0, 1)), Grid((4, 4, 4), np.diag([2.0, 1.0, 1.0, 1.0])))
        ((-1.0, -0.5, -0.5), (3.0, 0.5, 0.5))
    """
    faces = [(s.start - 0.5, s.stop - 0.5) for s in box]
    corners = grid.index_to_world(list(product(*faces)))
    low, high = (tuple(round(float(v), 2) for v in corner) for corner in (corners.min(axis=0), corners.max(axis=0)))
    return low, high  # type: ignore[return-value]  # three numbers each, as there are three axes
