"""A volume of numbers that is read between its voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from heartmend.types import FloatArray


@dataclass(frozen=True)
class ScalarField:
    """Volume that is interpolated linearly between voxel centres.

    Attributes:
        values: (x, y, z) values.
        spacing_mm: voxel spacing.
    """

    values: npt.NDArray[np.floating]
    spacing_mm: tuple[float, ...]

    def __call__(self, points_mm: FloatArray) -> FloatArray:
        """Interpolate the volume at positions.

        Args:
            points_mm: (k, 3) positions in mm.

        Returns:
            (k,) float64 values.
        """
        return np.asarray(
            map_coordinates(self.values, (points_mm / self.spacing_mm).T, order=1, mode="nearest", output=np.float64)
        )
