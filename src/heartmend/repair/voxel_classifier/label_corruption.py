"""Corruption of masks for training: the given mask is the known answer to its corrupted copy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import binary_erosion, gaussian_filter, uniform_filter

from heartmend.geometry.components import without_small_components
from heartmend.geometry.distance import distance_to_other_label_mm
from heartmend.types import Mask

STRENGTHS = np.array([0.0, 0.3, 0.6, 1.0, 1.5, 2.0])
"""Strengths at which smooth masks are corrupted to estimate the strength of given masks."""
MEASURED_CASES = 12
"""Number of masks that are measured for that estimate."""
PATCHES = 10
"""Mean number of dents and leaks at strength 1."""
PATCH_RADII = (1.2, 5.0)
"""Radii of dents and leaks in voxels."""
WAVE_SPREAD = (0.3, 1.0)
"""Standard deviation in voxels by which the surface moves at strength 1."""
WAVE_LENGTHS = (1.5, 5.0)
"""Correlation length in voxels of the movement of the surface."""
MAX_FLIP_RATE = 0.1
"""Largest share of flipped voxels near the surface at strength 1."""
REACH = 5
"""Largest distance in voxels of a flipped voxel from the surface."""


def corrupt_mask(mask: Mask, strength: float, rng: np.random.Generator) -> Mask:
    """Corrupt a mask as networks and quick drawing do, without knowledge of anatomy.

    Round dents and leaks are added at random positions of the surface; the surface moves by up to one or two voxels
    with a random correlation length; single voxels near it are flipped.

    Args:
        mask: (x, y, z) bool; it is not changed.
        strength: strength of the corruption: 0 for none; 1 gives a Dice of about 0.7 for a thin gland.
        rng: random generator.

    Returns:
        (x, y, z) bool, the corrupted mask.
    """
    if not mask.any() or strength == 0:
        return mask.copy()
    corrupted = mask.copy()
    surface = np.argwhere(mask & ~binary_erosion(mask))
    for _ in range(rng.poisson(PATCHES * strength)):
        _add_patch(corrupted, surface[rng.integers(len(surface))] + rng.uniform(-1, 1, 3), rng)
    depth = distance_to_other_label_mm(corrupted, (1, 1, 1)) - np.float32(0.5)
    distance = np.where(corrupted, depth, -depth)
    wave = gaussian_filter(rng.standard_normal(mask.shape).astype(np.float32), rng.uniform(*WAVE_LENGTHS))
    corrupted = distance + wave * (rng.uniform(*WAVE_SPREAD) * strength / wave.std()) > 0
    is_flipped = rng.random(mask.shape) < rng.uniform(0, MAX_FLIP_RATE) * strength
    flipped: Mask = corrupted ^ (is_flipped & (distance > -REACH))
    return flipped


def rough_voxel_ratio(mask: Mask) -> float:
    """Measure how rough a mask is.

    Args:
        mask: (x, y, z) bool.

    Returns:
        Number of voxels that differ from the majority of the 27 voxels about them, divided by the number of surface
        voxels of the majority mask.
    """
    smooth = _majority(mask)
    surface = int((smooth & ~binary_erosion(smooth)).sum())
    return int((mask ^ smooth).sum()) / max(surface, 1)


def estimate_strength(masks: Sequence[Mask], rng: np.random.Generator) -> float:
    """Estimate the corruption of masks: the strength at which smoothed masks become as rough as these are.

    Args:
        masks: (x, y, z) bool each.
        rng: random generator.

    Returns:
        The strength for `corrupt_mask`; 0 for smooth masks.
    """
    measured = masks[:: max(len(masks) // MEASURED_CASES, 1)][:MEASURED_CASES]
    smooth = [without_small_components(_majority(mask)) for mask in measured]
    ratios = [float(np.mean([rough_voxel_ratio(corrupt_mask(mask, s, rng)) for mask in smooth])) for s in STRENGTHS]
    wanted = float(np.mean([rough_voxel_ratio(mask) for mask in measured]))
    return float(np.interp(wanted, np.maximum.accumulate(ratios), STRENGTHS))


def _majority(mask: Mask) -> Mask:
    majority: Mask = uniform_filter(mask.astype(np.float32), 3) > 0.5
    return majority


def _add_patch(mask: Mask, centre: np.ndarray, rng: np.random.Generator) -> None:
    """Add or cut an ellipsoid in place."""
    radii = rng.uniform(*PATCH_RADII) * rng.uniform(0.7, 1.3, 3)
    first = np.maximum(np.floor(centre - radii).astype(int), 0)
    last = np.minimum(np.ceil(centre + radii).astype(int) + 1, mask.shape)
    box = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    axes = [((np.arange(a, b) - m) / r) ** 2 for a, b, m, r in zip(first, last, centre, radii, strict=True)]
    x, y, z = np.ix_(*axes)
    mask[box] = np.where(x + y + z < 1, rng.random() < 0.5, mask[box])
