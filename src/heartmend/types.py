"""The values and array types on which every part agrees."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BACKGROUND = 0
"""The label of a voxel that belongs to no structure."""
UNKNOWN = 255
"""The label of a voxel of which nothing is known, such as one outside the scanned volume. Never a structure's id."""

Labels = npt.NDArray[np.uint8]
"""(x, y, z) in the file's own voxel order, in the ids of an anatomy."""
Mask = npt.NDArray[np.bool_]
DistanceField = npt.NDArray[np.float32]
"""Signed distances in mm, positive inside."""
FloatArray = npt.NDArray[np.float64]
Triple = tuple[int, int, int]
