"""Grids of volumes: shape, and affine from voxel indices to millimetres in RAS+ space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import nibabel as nib
import numpy as np
import numpy.typing as npt

from heartmend.errors import BadInputError
from heartmend.geometry.boxes import Box
from heartmend.types import FloatArray, Triple

# A spacing outside this range is that of a wrong header, not of a scan of a body.
SPACING_LIMITS_MM = (0.005, 100.0)
# Lengths are measured along the voxel axes; axes this far from right angles make them wrong by 1 %.
MAX_SHEAR_DEGREES = 1.0

_REMEDY = "correct the header"


@dataclass(frozen=True)
class Orientation:
    """Reorientation of an array: its axes in another order and other directions.

    Attributes:
        axes: axis of the array that becomes the first, the second and the third.
        flipped: whether each of the new axes is reversed.
    """

    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]

    def apply(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Reorient an array.

        Args:
            values: (x, y, z).

        Returns:
            A view of the array.
        """
        turned = values.transpose(self.axes)
        return turned[tuple(slice(None, None, -1 if flip else None) for flip in self.flipped)]

    def apply_to_grid(self, grid: Grid) -> Grid:
        """Reorient a grid, so that every voxel stays at its position.

        Args:
            grid: the grid.

        Returns:
            The grid of the reoriented array.
        """
        affine = grid.affine[:, [*self.axes, 3]].copy()
        x, y, z = (grid.shape[axis] for axis in self.axes)
        for axis, (length, flip) in enumerate(zip((x, y, z), self.flipped, strict=True)):
            if flip:
                affine[:3, 3] += affine[:3, axis] * (length - 1)
                affine[:3, axis] *= -1
        return Grid((x, y, z), affine)


@dataclass(frozen=True, eq=False)
class Grid:
    """Regular grid of voxels in space.

    Attributes:
        shape: numbers of voxels along the voxel axes.
        affine: (4, 4) float64, read-only: the centre of voxel (i, j, k) is affine @ (i, j, k, 1), in mm, RAS+.

    Raises:
        BadInputError: for a shape other than three positive numbers, an affine that is singular or sheared, and a voxel
            spacing that no scan has.

    Example:
        >>> import numpy as np
        >>> grid = Grid((10, 20, 30), np.diag([0.5, 0.5, 2.0, 1.0]))
        >>> grid.spacing_mm, grid.axcodes, grid.index_to_world((2, 0, 1)).tolist()
        ((0.5, 0.5, 2.0), ('R', 'A', 'S'), [1.0, 0.0, 2.0])
    """

    shape: Triple
    affine: FloatArray

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise BadInputError(f"the shape of a grid is three positive numbers, not {self.shape}")
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.array_equal(affine[3], (0, 0, 0, 1)):
            raise BadInputError(f"not an affine of finite numbers with last row 0 0 0 1: {affine.tolist()}; {_REMEDY}")
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        low, high = SPACING_LIMITS_MM
        if not ((spacing >= low) & (spacing <= high)).all():
            raise BadInputError(f"voxel spacing {_mm(spacing)} mm is outside {low} to {high} mm; {_REMEDY}")
        # The product of the spacings is the largest volume that such voxels can have: a test independent of scale.
        if abs(np.linalg.det(affine[:3, :3])) < 1e-3 * spacing.prod():
            raise BadInputError(f"singular affine, two voxel axes are parallel: {affine[:3, :3].tolist()}; {_REMEDY}")
        if (shear := shear_degrees(affine)) > MAX_SHEAR_DEGREES:
            raise BadInputError(
                f"sheared affine: its voxel axes are {shear:.1f} degrees off right angles, the limit is "
                f"{MAX_SHEAR_DEGREES:g}; resample the volume onto a grid with right angles"
            )
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel spacing in mm along each voxel axis."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return x, y, z

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel in mm³."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def axcodes(self) -> tuple[str, str, str]:
        """Anatomical direction of each voxel axis, such as ("L", "P", "S")."""
        x, y, z = nib.orientations.aff2axcodes(self.affine)
        return x, y, z

    def index_to_world(self, ijk: npt.ArrayLike) -> FloatArray:
        """Convert voxel indices to positions in mm.

        Args:
            ijk: (..., 3) voxel indices, also fractional ones and ones outside the grid.

        Returns:
            (..., 3) float64 in mm, RAS+.
        """
        return np.asarray(ijk, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def world_to_index(self, xyz: npt.ArrayLike) -> FloatArray:
        """Convert positions in mm to voxel indices: the inverse of `index_to_world`.

        Args:
            xyz: (..., 3) in mm, RAS+.

        Returns:
            (..., 3) float64, fractional voxel indices.

        Example:
            >>> import numpy as np
            >>> Grid((9, 9, 9), np.diag([2.0, 2.0, 2.0, 1.0])).world_to_index((3.0, 0.0, 8.0)).tolist()
            [1.5, 0.0, 4.0]
        """
        return (np.asarray(xyz, dtype=np.float64) - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T

    def crop(self, box: Box) -> Grid:
        """Return the grid of a box of the voxels.

        Args:
            box: the voxels of the part.

        Returns:
            The grid of the part, at the same place in space.

        Raises:
            BadInputError: if the box is empty.

        Example:
            >>> import numpy as np
            >>> grid = Grid((9, 9, 9), np.diag([2.0, 2.0, 2.0, 1.0]))
            >>> part = grid.crop((slice(1, 4), slice(0, 9), slice(0, 9)))
            >>> part.shape, part.index_to_world((0, 0, 0)).tolist()
            ((3, 9, 9), [2.0, 0.0, 0.0])
        """
        affine = self.affine.copy()
        affine[:3, 3] = self.index_to_world([side.start for side in box])
        return Grid((box[0].stop - box[0].start, box[1].stop - box[1].start, box[2].stop - box[2].start), affine)

    def is_close(self, other: Grid, tolerance_voxels: float = 0.05) -> bool:
        """Test whether two grids have the same shape and the same position.

        Args:
            other: another grid.
            tolerance_voxels: largest distance of a voxel from the same voxel of the other grid, in voxels.

        Returns:
            Whether they agree.
        """
        if self.shape != other.shape:
            return False
        corners = np.stack(np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij"), axis=-1).reshape(-1, 3)
        off = other.world_to_index(self.index_to_world(corners)) - corners
        return bool(np.abs(off).max() <= tolerance_voxels)

    def orientation_to(self, other: Grid) -> Orientation | None:
        """Find the order and the directions of the axes with which this grid has the voxels of another one.

        Args:
            other: another grid.

        Returns:
            The reorientation of arrays on this grid; None if the grids do not have the same voxels.

        Example:
            >>> import numpy as np
            >>> flipped = Grid((3, 4, 5), [[-1, 0, 0, 2], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
            >>> flipped.orientation_to(Grid((3, 4, 5), np.eye(4)))
            Orientation(axes=(0, 1, 2), flipped=(True, False, False))
        """
        # Column a: the step along axis a of `other`, in voxels of this grid.
        steps = np.linalg.solve(self.affine[:3, :3], other.affine[:3, :3])
        axes = np.abs(steps).argmax(axis=0)
        if sorted(axes.tolist()) != [0, 1, 2]:
            return None
        x, y, z = (int(axis) for axis in axes)
        flips = [bool(steps[axis, number] < 0) for number, axis in enumerate((x, y, z))]
        orientation = Orientation((x, y, z), (flips[0], flips[1], flips[2]))
        return orientation if orientation.apply_to_grid(self).is_close(other) else None

    def overlap_share(self, other: Grid, along: int = 33) -> float:
        """Compute the share of this grid's voxels that are inside another grid.

        Args:
            other: another grid.
            along: number of voxels per axis that are tested, at most.

        Returns:
            The share, 0 to 1.

        Example:
            >>> import numpy as np
            >>> shifted = Grid((4, 1, 1), [[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
            >>> Grid((4, 1, 1), np.eye(4)).overlap_share(shifted)
            0.75
        """
        picks = [np.unique(np.linspace(0, n - 1, min(n, along)).round()) for n in self.shape]
        lattice = np.stack(np.meshgrid(*picks, indexing="ij"), axis=-1)
        index = other.world_to_index(self.index_to_world(lattice))
        return float(((index >= -0.5) & (index <= np.array(other.shape) - 0.5)).all(axis=-1).mean())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self.shape == other.shape and np.array_equal(self.affine, other.affine)

    def __hash__(self) -> int:
        return hash((self.shape, self.affine.tobytes()))

    def to_dict(self) -> dict[str, Any]:
        """Convert the grid to a table for JSON, without loss.

        Returns:
            The table; `from_dict` is the inverse.
        """
        return {"shape": list(self.shape), "affine": self.affine.tolist()}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        """Create the grid from the table of `to_dict`.

        Args:
            table: the table.

        Returns:
            The same grid.
        """
        return cls(shape=tuple(table["shape"]), affine=np.asarray(table["affine"], dtype=np.float64))


def shear_degrees(affine: FloatArray) -> float:
    """Compute how far the voxel axes of an affine are from right angles.

    Args:
        affine: (4, 4) voxel indices to mm.

    Returns:
        The largest deviation of two axes from a right angle, in degrees; 0 for an affine with an axis of length 0.

    Example:
        >>> import numpy as np
        >>> round(shear_degrees(np.array([[1, 0.01, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])), 2)
        0.57
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(spacing).all() or not spacing.all():
        return 0.0
    directions = affine[:3, :3] / spacing
    largest = max(abs(float(directions[:, a] @ directions[:, b])) for a, b in ((0, 1), (0, 2), (1, 2)))
    return float(np.degrees(np.arcsin(min(largest, 1.0))))


def _mm(lengths: npt.ArrayLike) -> str:
    return " x ".join(f"{v:g}" for v in np.asarray(lengths))
