"""Features of a voxel for its classification: windows of the label and of the image about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter, uniform_filter
from torch import Tensor

from heartmend.types import Mask

NEAR = 4
"""Radius of the fine window of a label: 9³ single voxels."""
CELL, CELLS = 3, 4
"""Side of the cells of the coarse window, and its radius in cells: 9³ means over 3³ voxels, over 27 voxels in all."""
REACH = CELL * CELLS + 1
"""Largest distance in voxels that a feature depends on."""
FEATURES = 2 * (2 * NEAR + 1) ** 3
"""Number of features of a label."""
CENTRE = (2 * NEAR + 1) ** 3 // 2
"""Index of the feature that is the voxel itself."""
IMAGE_REACH = 2
"""Radius of the window of an image: 5³ single voxels, enough to separate an edge from noise."""
IMAGE_FEATURES = (2 * IMAGE_REACH + 1) ** 3
"""Number of further features of an image."""
MAX_DEVIATIONS = 5.0
"""Scaled intensities are clipped here."""

Image = npt.NDArray[np.float32]
"""(x, y, z) intensities."""


@dataclass(frozen=True)
class IntensityScale:
    """Intensities about a structure, to which images are scaled.

    Attributes:
        mean: their mean.
        deviation: their standard deviation.
    """

    mean: float
    deviation: float

    @classmethod
    def of(cls, masks: Sequence[Mask], images: Sequence[Image]) -> IntensityScale:
        """Measure the intensities of the uncertain voxels of all cases.

        Args:
            masks: (x, y, z) bool each.
            images: (x, y, z) float32 each, on the voxels of the masks.

        Returns:
            Mean and standard deviation.
        """
        values = np.concatenate([image[uncertain_voxels(mask)] for mask, image in zip(masks, images, strict=True)])
        return cls(float(values.mean()), max(float(values.std()), 1e-6))

    def scaled(self, image: Image) -> Image:
        """Scale an image (x, y, z) to zero mean and unit standard deviation, clipped at `MAX_DEVIATIONS`.

        Args:
            image: (x, y, z) intensities.

        Returns:
            The scaled image.
        """
        scaled: Image = np.clip((image - self.mean) / self.deviation, -MAX_DEVIATIONS, MAX_DEVIATIONS).astype(
            np.float32
        )
        return scaled


def uncertain_voxels(mask: Mask) -> Mask:
    """Select the voxels that are classified: all voxels of the label and those near it, which it may lack.

    Args:
        mask: (x, y, z) bool.

    Returns:
        (x, y, z) bool; all others are background.
    """
    return mask | (gaussian_filter(mask.astype(np.float32), 1.3) > 0.06)


def window_features(mask: Mask, voxels: npt.NDArray[np.int64], image: Image | None = None) -> Tensor:
    """Compute the features of voxels.

    Args:
        mask: (x, y, z) bool, the label. Beyond the volume it continues as at the border.
        voxels: (n, 3) indices of the voxels.
        image: (x, y, z) scaled image; None for features of the label alone.

    Returns:
        (n, `FEATURES`) float16, 1 inside and -1 outside the label: the fine window, then the coarse one; with an image
        (n, `FEATURES` + `IMAGE_FEATURES`).
    """
    padded = np.pad(mask, REACH, mode="edge").astype(np.float32) * 2 - 1
    columns = [
        _read(padded, voxels + REACH, np.arange(-NEAR, NEAR + 1)),
        _read(uniform_filter(padded, CELL), voxels + REACH, np.arange(-CELLS, CELLS + 1) * CELL),
    ]
    if image is not None:
        padded_image = np.pad(image, IMAGE_REACH, mode="edge")
        columns.append(_read(padded_image, voxels + IMAGE_REACH, np.arange(-IMAGE_REACH, IMAGE_REACH + 1)))
    return torch.from_numpy(np.concatenate(columns, axis=1))


def _read(values: Image, voxels: npt.NDArray[np.int64], steps: npt.NDArray[np.int64]) -> npt.NDArray[np.float16]:
    """Values (n, steps³) at these steps from each voxel along all three axes."""
    strides = np.array([values.shape[1] * values.shape[2], values.shape[2], 1])
    x, y, z = np.ix_(*(steps * stride for stride in strides))
    flat = (voxels * strides).sum(axis=1)
    read: npt.NDArray[np.float16] = values.astype(np.float16).ravel()[flat[:, None] + (x + y + z).ravel()]
    return read
