"""A correction by hand as a list of operations, each of which can be undone by leaving it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid
from heartmend.repair.editing.strokes import Stroke, slice_of
from heartmend.repair.editing.tools import bridge, erase, grow_to_edge, interpolate_slices, paint
from heartmend.types import FloatArray, Labels

Tool = Literal["paint", "erase", "grow", "interpolate", "bridge"]


@dataclass(frozen=True, eq=False)
class Operation:
    """One step of a correction.

    Attributes:
        tool: what is done.
        id: id of the structure.
        points_mm: (n, 3) the drawn line, RAS+ mm; of a bridge its two ends.
        radius_mm: radius of the brush.
        axis: voxel axis across the slice that was drawn on; None: the brush is a ball. Needed to interpolate.
    """

    tool: Tool
    id: int
    points_mm: FloatArray
    radius_mm: float = 1.0
    axis: int | None = None

    @property
    def stroke(self) -> Stroke:
        """The stroke of the brush."""
        return Stroke(self.points_mm, self.radius_mm, self.axis)


@dataclass(frozen=True, eq=False)
class EditedCase:
    """A case that is corrected.

    Attributes:
        labels: (x, y, z) uint8, the label map before the correction.
        grid: its grid.
        image: (x, y, z) CT in HU; None without one.
    """

    labels: Labels
    grid: Grid
    image: npt.NDArray[np.generic] | None = None


def apply_operation(
    case: EditedCase, labels: Labels, operation: Operation, earlier: Sequence[Operation] = ()
) -> Labels:
    """Apply one operation.

    Args:
        case: the case.
        labels: (x, y, z) uint8, its label map after the earlier operations.
        operation: the operation.
        earlier: the earlier operations: slices that were drawn since the last interpolation are interpolated.

    Returns:
        The new label map.

    Raises:
        BadInputError: if the operation cannot be applied; the message has the remedy.
    """
    grid, id = case.grid, operation.id
    if operation.tool in ("paint", "erase", "grow") and not len(operation.points_mm):
        raise BadInputError("a stroke has at least one point")
    if operation.tool == "paint":
        return paint(labels, grid, operation.stroke, id)
    if operation.tool == "erase":
        return erase(labels, grid, operation.stroke, id)
    if operation.tool == "grow":
        if case.image is None:
            raise BadInputError("the case has no CT, so there is no edge to grow to")
        return grow_to_edge(labels, case.image, grid, operation.stroke, id)
    if operation.tool == "bridge":
        if len(operation.points_mm) != 2:
            raise BadInputError("a bridge has two ends")
        return bridge(labels, case.image, grid, operation.points_mm, id)
    if operation.axis is None:
        raise BadInputError("choose the plane whose slices are interpolated")
    return interpolate_slices(labels, grid, operation.axis, _drawn_slices(operation, earlier, grid), id)


def _drawn_slices(operation: Operation, earlier: Sequence[Operation], grid: Grid) -> list[int]:
    """Slices of the same plane and structure that were drawn since the last interpolation."""
    found: list[int] = []
    for one in reversed(earlier):
        if one.id != operation.id or one.axis != operation.axis:
            continue
        if one.tool == "interpolate":
            break
        if one.tool in ("paint", "erase"):
            found.append(slice_of(one.stroke, grid))
    return [k for k in found if 0 <= k < grid.shape[operation.axis or 0]]
