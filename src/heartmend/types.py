"""Values and array types that all modules share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BACKGROUND = 0
"""Label of a voxel that belongs to no structure."""
UNKNOWN = 255
"""Label of a voxel without information, such as one outside the scanned volume. It is never the id of a structure."""

MAX_VALUE = 65535
"""Largest value of a label map in a file; a file with larger ones is no label map."""

Labels = npt.NDArray[np.uint8]
"""Label map (x, y, z) in the file's own voxel order, with the ids of an anatomy."""
Mask = npt.NDArray[np.bool_]
"""Mask (x, y, z) of one structure."""
DistanceField = npt.NDArray[np.float32]
"""Signed distances (x, y, z) in mm, positive inside."""
FloatArray = npt.NDArray[np.float64]
"""Array of numbers in double precision."""
Triple = tuple[int, int, int]
"""One whole number per axis."""
