"""The region of interest of a case in its volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from heartmend.geometry.boxes import Box
from heartmend.geometry.grid import Grid


@dataclass(frozen=True, eq=False)
class CaseVolume:
    """Region of interest (ROI) of a case in its volume.

    Attributes:
        grid: grid of the whole volume.
        box: the ROI in voxels of `grid`.
        image: (x, y, z) CT image in HU on the voxels of `box`; None for a case without an image.
    """

    grid: Grid
    box: Box
    image: npt.NDArray[np.generic] | None = None
