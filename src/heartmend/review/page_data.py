"""Data formats of the review page: both label maps and the CT, cropped to the heart, axes in RAS+ order.

Both label maps are one stream of byte pairs (before, after), so that the page can blend them while drawing.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from heartmend.geometry.grid import Grid
from heartmend.types import Labels, Triple

MARGIN_MM = 15.0
# The page displays the CT in bytes: steps of 6 HU from -500 to 1,024 separate lung, fat, muscle and contrast agent.
LOWEST_HU, STEP_HU = -500.0, 6.0


@dataclass(frozen=True)
class Crop:
    """Part of a volume that the page displays, with axes in RAS+ order.

    Attributes:
        orientation: nibabel's orientation from the axes of the file to RAS+.
        start: first voxel of the part on each RAS+ axis.
        grid: grid of the part.
    """

    orientation: tuple[tuple[int, int], ...]
    start: tuple[int, int, int]
    grid: Grid

    @classmethod
    def around(cls, mask: npt.NDArray[np.bool_], grid: Grid, margin_mm: float = MARGIN_MM) -> Crop:
        """Crop to the bounding box of a mask.

        Args:
            mask: mask (x, y, z) on the grid; the whole grid is displayed if it is empty.
            grid: grid of the volume.
            margin_mm: margin around the bounding box, in mm.

        Returns:
            The crop.
        """
        orientation, affine = _to_ras(grid)
        oriented = apply_orientation(mask, orientation)
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        start, stop = [0, 0, 0], list(oriented.shape)
        if oriented.any():
            for axis in range(3):
                line = np.flatnonzero(oriented.any(axis=tuple(a for a in range(3) if a != axis)))
                margin = round(margin_mm / float(spacing[axis]))
                start[axis] = max(int(line[0]) - margin, 0)
                stop[axis] = min(int(line[-1]) + margin + 1, oriented.shape[axis])
        origin = affine @ [*start, 1]
        cropped_affine = affine.copy()
        cropped_affine[:3, 3] = origin[:3]
        shape = tuple(b - a for a, b in zip(start, stop, strict=True))
        pairs = tuple((int(a), int(b)) for a, b in orientation)
        return cls(pairs, (start[0], start[1], start[2]), Grid(shape, cropped_affine))

    @classmethod
    def from_grid(cls, displayed: Grid, grid: Grid) -> Crop:
        """Restore a crop from the grid of its part.

        Args:
            displayed: grid of the part.
            grid: grid of the volume.

        Returns:
            The crop.
        """
        orientation, affine = _to_ras(grid)
        x, y, z = np.rint(np.linalg.solve(affine, [*displayed.affine[:3, 3], 1])[:3]).astype(int).tolist()
        return cls(tuple((int(a), int(b)) for a, b in orientation), (x, y, z), displayed)

    def apply(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Crop a volume.

        Args:
            values: volume (x, y, z) in the axis order of the file.

        Returns:
            The displayed part in RAS+ order.
        """
        oriented = apply_orientation(values, np.array(self.orientation, dtype=float))
        part = tuple(slice(a, a + n) for a, n in zip(self.start, self.grid.shape, strict=True))
        return oriented[part]


def _to_ras(grid: Grid) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the orientation from the axes of a grid to RAS+, and the affine of the reoriented grid."""
    orientation = io_orientation(grid.affine)
    return orientation, grid.affine @ inv_ornt_aff(orientation, grid.shape)


def pack_maps(before: Labels, after: Labels) -> bytes:
    """Pack two label maps into pairs of bytes.

    Args:
        before: original label map (x, y, z), uint8.
        after: repaired label map of the same shape.

    Returns:
        Pairs (before, after), x fastest, compressed by gzip.
    """
    pairs = np.stack([before.ravel(order="F"), after.ravel(order="F")], axis=1)
    return gzip.compress(pairs.tobytes(), compresslevel=4, mtime=0)


def unpack_maps(packed: bytes, shape: Triple) -> tuple[Labels, Labels]:
    """Restore the two label maps of `pack_maps`.

    Args:
        packed: their packed form.
        shape: shape of the label maps.

    Returns:
        The original and the repaired label map.
    """
    pairs = np.frombuffer(gzip.decompress(packed), np.uint8).reshape(-1, 2)
    before, after = (pairs[:, i].reshape(shape, order="F") for i in (0, 1))
    return before, after


def image_file(values: npt.NDArray[np.generic] | None, grid: Grid) -> bytes:
    """Convert a CT into an uncompressed NIfTI file of bytes.

    Args:
        values: CT (x, y, z) in HU; None for a case without a CT, whose file contains the lowest value only.
        grid: grid of the CT.

    Returns:
        The file; intensities in steps of `STEP_HU` from `LOWEST_HU`.
    """
    steps = np.zeros(grid.shape, np.uint8)
    if values is not None:
        # Slice by slice, because each step of the calculation takes four times the memory of the file.
        for k in range(grid.shape[2]):
            hu = np.nan_to_num(np.asarray(values[..., k], dtype=np.float32), nan=LOWEST_HU)
            steps[..., k] = np.clip(np.rint((hu - LOWEST_HU) / STEP_HU), 0, 255).astype(np.uint8)
    image = nib.Nifti1Image(steps, grid.affine)
    image.header.set_slope_inter(STEP_HU, LOWEST_HU)
    image.header.set_xyzt_units("mm")
    return bytes(image.to_bytes())
