"""A thin set of voxels, such as those about the surface of a vessel, with Gaussian filters on these voxels alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from heartmend.types import Mask

Values = npt.NDArray[np.float32]
_REACH = 2.5
"""Standard deviations at which a Gaussian ends."""


@dataclass(frozen=True, eq=False)
class BandFilter:
    """Gaussian filter of values on a band: outside the band all values are 0.

    Attributes:
        axes: three symmetric (n, n) matrices, one for each axis of the voxels.
    """

    axes: tuple[csr_matrix, csr_matrix, csr_matrix]

    def apply(self, values: Values) -> Values:
        """Filter values.

        Args:
            values: (n,) float32.

        Returns:
            (n,) float32.
        """
        for matrix in self.axes:
            values = matrix @ values
        return values

    def adjoint(self, values: Values) -> Values:
        """Apply the transposed filter.

        Args:
            values: (n,) float32.

        Returns:
            (n,) float32.
        """
        for matrix in reversed(self.axes):
            values = matrix @ values
        return values

    @cached_property
    def gain(self) -> Values:
        """(n,) standard deviation of filtered white noise."""
        variance = np.ones(self.axes[0].shape[0], np.float32)
        for matrix in self.axes:
            variance = matrix.power(2) @ variance
        return np.asarray(np.sqrt(variance), np.float32)


class VoxelBand:
    """A set of voxels of a volume.

    Attributes:
        mask: (x, y, z) bool, the voxels.
        indices: (n, 3) their indices.
    """

    def __init__(self, mask: Mask, spacing_mm: Sequence[float]) -> None:
        """Number the voxels of a mask.

        Args:
            mask: (x, y, z) bool.
            spacing_mm: voxel spacing.
        """
        self.mask, self.indices = mask, np.argwhere(mask)
        self._spacing_mm = tuple(float(step) for step in spacing_mm)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def points_mm(self) -> npt.NDArray[np.float64]:
        """(n, 3) positions: voxel index times spacing."""
        return np.asarray(self.indices * np.asarray(self._spacing_mm))

    def values(self, volume: npt.NDArray[np.generic]) -> Values:
        """Return the values of the voxels.

        Args:
            volume: (x, y, z) of any type.

        Returns:
            (n,) float32.
        """
        return volume[self.mask].astype(np.float32)

    def volume(self, values: Values, outside: float = 0.0) -> Values:
        """Return a volume with the values of the voxels.

        Args:
            values: (n,) float32.
            outside: value of all other voxels.

        Returns:
            (x, y, z) float32.
        """
        result = np.full(self.mask.shape, outside, np.float32)
        result[self.mask] = values
        return result

    def gaussian(self, sigma_mm: float) -> BandFilter:
        """Create a Gaussian filter.

        Args:
            sigma_mm: standard deviation.

        Returns:
            The filter.
        """
        x, y, z = (self._along(axis, sigma_mm / step) for axis, step in enumerate(self._spacing_mm))
        return BandFilter((x, y, z))

    def _along(self, axis: int, sigma: float) -> csr_matrix:
        reach = max(int(np.ceil(_REACH * sigma)), 1)
        weight = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        start, column, offset = self._neighbours(axis, reach)
        return csr_matrix(((weight / weight.sum()).astype(np.float32)[offset], column, start), (len(self), len(self)))

    def _neighbours(
        self, axis: int, reach: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.intp]]:
        """Where each row starts, and number and offset of each voxel within reach along an axis."""
        number = np.full(self.mask.shape, -1, np.int32)
        number[self.mask] = np.arange(len(self), dtype=np.int32)
        widths = [(reach, reach) if one == axis else (0, 0) for one in range(3)]
        padded = np.pad(number, widths, constant_values=-1)
        found = np.empty((len(self), 2 * reach + 1), np.int32)
        at = self.indices.copy()
        for column in range(2 * reach + 1):
            found[:, column] = padded[tuple(at.T)]
            at[:, axis] += 1
        inside = found >= 0
        start = np.concatenate([[0], np.cumsum(inside.sum(axis=1))]).astype(np.int32)
        return start, found[inside], np.nonzero(inside)[1]
