"""Masks corrupt_mask once more, to learn from: what came in is then the answer, and known."""

from __future__ import annotations

from collections.abc import Sequence

import edt
import numpy as np
from scipy.ndimage import binary_erosion, gaussian_filter, uniform_filter

from heartmend.geometry.components import without_small_components
from heartmend.types import Mask

STRENGTHS = np.array([0.0, 0.3, 0.6, 1.0, 1.5, 2.0])
WATCHED_CASES = 12
PATCHES = 10
"""Bites and leaks on average at strength 1."""
RADII = (1.2, 5.0)
RIM = (0.3, 1.0)
RIM_LENGTHS = (1.5, 5.0)
SALT = 0.1
REACH = 5


def corrupt_mask(mask: Mask, strength: float, rng: np.random.Generator) -> Mask:
    """A copy of a mask with faults as networks and haste make them, none of which knows of anatomy. In voxels.

    Round bites and leaks about places of its surface; the surface wandering in and out by up to a voxel or two, over
    lengths that are drawn; single voxels flipped within `REACH` of it. Strength 1 leaves a Dice of about 0.7 of a thin
    gland; 0 leaves all as it is.
    """
    if not mask.any() or strength == 0:
        return mask.copy()
    out = mask.copy()
    surface = np.argwhere(mask & ~binary_erosion(mask))
    for _ in range(rng.poisson(PATCHES * strength)):
        _patch(out, surface[rng.integers(len(surface))] + rng.uniform(-1, 1, 3), rng)
    distance = edt.edt(out) - edt.edt(~out)
    distance -= 0.5 * np.sign(distance)
    wave = gaussian_filter(rng.standard_normal(mask.shape).astype(np.float32), rng.uniform(*RIM_LENGTHS))
    out = distance + wave * (rng.uniform(*RIM) * strength / wave.std()) > 0
    flipped: Mask = out ^ ((rng.random(mask.shape) < rng.uniform(0, SALT) * strength) & (distance > -REACH))
    return flipped


def raggedness(mask: Mask) -> float:
    """How many voxels are not as most of the 27 about them are, for each voxel of the surface that these make."""
    smooth = _majority(mask)
    surface = int((smooth & ~binary_erosion(smooth)).sum())
    return int((mask ^ smooth).sum()) / max(surface, 1)


def strength_of(masks: Sequence[Mask], rng: np.random.Generator) -> float:
    """The strength at which smooth shapes, corrupt_mask, are as ragged as these masks are; 0 for masks that are smooth."""
    watched = masks[:: max(len(masks) // WATCHED_CASES, 1)][:WATCHED_CASES]
    smooth = [without_small_components(_majority(mask)) for mask in watched]
    found = [float(np.mean([raggedness(corrupt_mask(mask, s, rng)) for mask in smooth])) for s in STRENGTHS]
    wanted = float(np.mean([raggedness(mask) for mask in watched]))
    return float(np.interp(wanted, np.maximum.accumulate(found), STRENGTHS))


def _majority(mask: Mask) -> Mask:
    most: Mask = uniform_filter(mask.astype(np.float32), 3) > 0.5
    return most


def _patch(mask: Mask, middle: np.ndarray, rng: np.random.Generator) -> None:
    """Add or cut an ellipsoid, in place."""
    radii = rng.uniform(*RADII) * rng.uniform(0.7, 1.3, 3)
    first = np.maximum(np.floor(middle - radii).astype(int), 0)
    last = np.minimum(np.ceil(middle + radii).astype(int) + 1, mask.shape)
    box = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    axes = [((np.arange(a, b) - m) / r) ** 2 for a, b, m, r in zip(first, last, middle, radii, strict=True)]
    x, y, z = np.ix_(*axes)
    mask[box] = np.where(x + y + z < 1, rng.random() < 0.5, mask[box])
