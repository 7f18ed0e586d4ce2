"""Noise of single voxels on the surface of a vessel label: detected by its rate, and removed where it is found.

The smoothed label of a smooth vessel agrees with the label almost everywhere, whatever the cross-section is. How many
surface voxels disagree by how much is known for such labels (`_FILTERS`). A filter is applied only if far more
disagree, so that at most one in five of its changes is expected on a label without noise; a smooth label never changes.
This controls the false discovery rate (Benjamini and Hochberg 1995).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_erosion, gaussian_filter

from heartmend.geometry.boxes import bounding_box
from heartmend.types import Mask

MAX_FALSE_SHARE = 0.2
"""Largest accepted share of changes that a smooth label would have as well."""
_SMALLEST = 200
"""Fewer surface voxels have no reliable rate."""


@dataclass(frozen=True)
class _Filter:
    """Smoothing of a label, and the rate at which it changes smooth labels.

    Attributes:
        sigma_voxels: standard deviation of the smoothing.
        margin: a voxel changes if its smoothed value is beyond the threshold by more than this.
        smooth_rate: changed voxels as a share of the surface voxels, of labels of smooth vessels: the highest rate of
            phantom trees at 0.5 mm and of the true trees of the benchmark at 0.9 mm.
    """

    sigma_voxels: float
    margin: float
    smooth_rate: float


_FILTERS = (
    _Filter(1.0, 0.05, 0.080),
    _Filter(0.7, 0.0, 0.038),
    _Filter(1.0, 0.1, 0.029),
    _Filter(0.7, 0.05, 0.013),
    _Filter(0.7, 0.1, 0.004),
)
"""From the strongest to the most cautious one."""


def without_voxel_noise(mask: Mask) -> Mask:
    """Remove the noise of single voxels from the surface of a label.

    Args:
        mask: (x, y, z) bool.

    Returns:
        (x, y, z) bool: the label itself if it has no more noise than a smooth vessel has; otherwise a label of about
        the same volume.

    Example:
        >>> rod = np.zeros((80, 12, 12), bool)
        >>> rod[2:78, 3:9, 3:9] = True
        >>> bool((without_voxel_noise(rod) == rod).all())
        True
    """
    if not mask.any():
        return mask
    box = bounding_box(mask, margin=3)
    label = mask[box]
    surface = int((label & ~binary_erosion(label)).sum())
    if surface < _SMALLEST:
        return mask
    smoothings = dict[float, _Smoothing]()
    for one in _FILTERS:
        if one.sigma_voxels not in smoothings:
            smoothings[one.sigma_voxels] = _Smoothing.of(label, one.sigma_voxels)
        smoothed = smoothings[one.sigma_voxels].threshold(label, one.margin)
        if one.smooth_rate * surface <= MAX_FALSE_SHARE * int((smoothed != label).sum()):
            result = mask.copy()
            result[box] = smoothed
            return result
    return mask


@dataclass(frozen=True)
class _Smoothing:
    """A smoothed label, with the level that preserves its volume: a level of 0.5 makes thin vessels thinner.

    Attributes:
        density: (x, y, z) float32, the smoothed label.
        level: as many voxels are at least this dense as the label has.
    """

    density: npt.NDArray[np.float32]
    level: np.float32

    @classmethod
    def of(cls, label: Mask, sigma_voxels: float) -> _Smoothing:
        density = gaussian_filter(label.astype(np.float32), sigma_voxels)
        voxels = int(label.sum())
        # All voxels of the label are among them.
        positive = density[density > 0]
        return cls(density, np.partition(positive, -voxels)[-voxels])

    def threshold(self, label: Mask, margin: float) -> Mask:
        """The label without the voxels that are beyond the level by more than a margin."""
        low, high = self.level - margin, self.level + margin
        return np.asarray(np.where(label, self.density >= low, self.density > high))
