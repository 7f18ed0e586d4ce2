"""The grid that a volume lies on: its shape, and the affine from voxel index to millimetres in RAS+ space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import nibabel as nib
import numpy as np
import numpy.typing as npt

from heartmend.errors import BadInputError
from heartmend.types import FloatArray, Triple

# A voxel edge outside this range is a header that was filled in wrongly, not a scan of a body.
SPACING_LIMITS_MM = (0.005, 100.0)
# Lengths are measured along the voxel axes; axes that are off right angles by this much make them wrong by 1 %.
MAX_SHEAR_DEGREES = 1.0

_MEND = "mend the header"


@dataclass(frozen=True, eq=False)
class Grid:
    """A lattice of voxels in space. Voxel (i, j, k) has its centre at affine @ (i, j, k, 1), in mm, RAS+.

    Raises BadInputError for a shape that is not three positive numbers, for an affine that is not invertible or
    sheared, and for a voxel spacing that no scan has.
    """

    shape: Triple
    affine: FloatArray

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise BadInputError(f"a grid has three positive sizes, not {self.shape}")
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.array_equal(affine[3], (0, 0, 0, 1)):
            raise BadInputError(f"not an affine of finite numbers with last row 0 0 0 1: {affine.tolist()}; {_MEND}")
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        low, high = SPACING_LIMITS_MM
        if not ((spacing >= low) & (spacing <= high)).all():
            raise BadInputError(f"voxel spacing {_mm(spacing)} mm is outside {low} to {high} mm; {_MEND}")
        # The product of the spacings is the largest volume that such voxels can have: this is free of scale.
        if abs(np.linalg.det(affine[:3, :3])) < 1e-3 * spacing.prod():
            raise BadInputError(f"singular affine, two voxel axes are parallel: {affine[:3, :3].tolist()}; {_MEND}")
        directions = affine[:3, :3] / spacing
        x, y, z = (float(directions[:, a] @ directions[:, b]) for a, b in ((0, 1), (0, 2), (1, 2)))
        shear = float(np.degrees(np.arcsin(min(max(abs(x), abs(y), abs(z)), 1.0))))
        if shear > MAX_SHEAR_DEGREES:
            raise BadInputError(
                f"sheared affine, its voxel axes are {shear:.1f} degrees off right angles, the limit is "
                f"{MAX_SHEAR_DEGREES:g}; resample it onto a grid with right angles"
            )
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """The length of a voxel's edge along each voxel axis."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return x, y, z

    @property
    def voxel_mm3(self) -> float:
        """The volume of a voxel."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def axcodes(self) -> tuple[str, str, str]:
        """The direction into which each voxel axis mostly points, such as ("L", "P", "S")."""
        x, y, z = nib.orientations.aff2axcodes(self.affine)
        return x, y, z

    def index_to_world(self, ijk: npt.ArrayLike) -> FloatArray:
        """Millimetres (..., 3) of voxel indices (..., 3), which may lie between voxels or outside."""
        return np.asarray(ijk, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def world_to_index(self, xyz: npt.ArrayLike) -> FloatArray:
        """Continuous voxel indices (..., 3) of points (..., 3) in mm: the way back of `index_to_world`."""
        return (np.asarray(xyz, dtype=np.float64) - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T

    def crop(self, box: tuple[slice, slice, slice]) -> Grid:
        """The grid of a box of its voxels; BadInputError where the box holds none."""
        affine = self.affine.copy()
        affine[:3, 3] = self.index_to_world([side.start for side in box])
        return Grid((box[0].stop - box[0].start, box[1].stop - box[1].start, box[2].stop - box[2].start), affine)

    def is_close(self, other: Grid, tolerance_voxels: float = 0.05) -> bool:
        """Whether no voxel of this grid lies further than `tolerance_voxels` from the same voxel of the other."""
        if self.shape != other.shape:
            return False
        corners = np.stack(np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij"), axis=-1).reshape(-1, 3)
        off = other.world_to_index(self.index_to_world(corners)) - corners
        return bool(np.abs(off).max() <= tolerance_voxels)

    def overlap_share(self, other: Grid, along: int = 33) -> float:
        """Share of this grid's voxels that lie within the other's, from a lattice of up to `along` voxels an axis."""
        picks = [np.unique(np.linspace(0, n - 1, min(n, along)).round()) for n in self.shape]
        lattice = np.stack(np.meshgrid(*picks, indexing="ij"), axis=-1)
        there = other.world_to_index(self.index_to_world(lattice))
        return float(((there >= -0.5) & (there <= np.array(other.shape) - 0.5)).all(axis=-1).mean())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grid) and self.shape == other.shape and np.array_equal(self.affine, other.affine)

    def __hash__(self) -> int:
        return hash((self.shape, self.affine.tobytes()))

    def to_dict(self) -> dict[str, Any]:
        """A table for JSON; `from_dict` gives the same grid back, to the last bit."""
        return {"shape": list(self.shape), "affine": self.affine.tolist()}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        """The grid that `to_dict` wrote."""
        return cls(shape=tuple(table["shape"]), affine=np.asarray(table["affine"], dtype=np.float64))


def _mm(lengths: npt.ArrayLike) -> str:
    return " x ".join(f"{v:g}" for v in np.asarray(lengths))
