"""Difference between trusted label maps and the maps of the run, in the frame of the template."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.distance import DistanceMap, signed_distance_mm
from heartmend.metrics.overlap import dice
from heartmend.repair.shared_errors.correction import SIDE, Correction
from heartmend.repair.shared_errors.estimate import MIN_TRUSTED
from heartmend.repair.shared_errors.surface import Floats
from heartmend.types import Mask

BAND_MM = 5.0
"""Voxels this near to one of the two surfaces are compared."""
MAX_VOXELS = 40_000
"""Voxels of each structure that are compared in a case."""
SMOOTH_MM = 3.0
"""Standard deviation of the Gaussian that smooths the differences of a case."""
REGION_MM = 6.0
"""Standard deviation of the neighbourhood in which it is decided whether a correction is applied."""
TUBE_SHIFTS_MM = np.arange(-20, 21) * 0.1
"""Movements of the surface of a thin vessel that are tried."""
TUBE_AGREEMENT = 0.8
"""Least share of the trusted cases that agree on the direction of the movement of a thin vessel."""
MIN_WEIGHT = 0.02
"""Least weight of a case at a place, as a share of its largest."""


@dataclass(frozen=True, eq=False)
class CaseDifferences:
    """Differences of one trusted case on the cells of the template, for each structure that both maps have.

    Attributes:
        sums_mm: (side, side, side) float32 by structure, sum of the differences: positive where the trusted surface
            lies farther outside.
        counts: (side, side, side) float32 by structure, number of voxels.
        tubes_mm: by how much the surface of each thin vessel has to move outwards, by name.
    """

    sums_mm: Mapping[str, npt.NDArray[np.float32]]
    counts: Mapping[str, npt.NDArray[np.float32]]
    tubes_mm: Mapping[str, float] = field(default_factory=dict)


def measure_differences(
    maps: Mapping[str, DistanceMap],
    trusted: Mapping[str, Mask],
    spacing_mm: tuple[float, float, float],
    to_template: Callable[[Floats], Floats],
) -> CaseDifferences:
    """Compare the maps of a case with its trusted label map.

    Args:
        maps: distance map (x, y, z) of each structure, by name.
        trusted: (x, y, z) bool, trusted mask of each structure on the same voxels.
        spacing_mm: voxel spacing.
        to_template: maps positions (n, 3) in voxels to coordinates (n, 3) in the template's unit frame.

    Returns:
        The differences of the structures that both have.
    """
    rng, sums, counts = np.random.default_rng(0), {}, {}
    for name, mask in trusted.items():
        if name not in maps or not mask.any() or not maps[name].inside.any():
            continue
        ours, theirs = (signed_distance_mm(one, spacing_mm) for one in (maps[name].inside, mask))
        band = np.argwhere((np.abs(ours) < BAND_MM) | (np.abs(theirs) < BAND_MM))
        band = band[rng.permutation(len(band))[:MAX_VOXELS]]
        at = tuple(band.T)
        difference = theirs[at] - ours[at]
        unit = to_template(band.astype(np.float64))
        cells = np.clip(((unit + 1) / 2 * SIDE).astype(np.intp), 0, SIDE - 1)
        flat = np.ravel_multi_index(tuple(cells.T), (SIDE,) * 3)
        shape = (SIDE,) * 3
        sums[name] = np.bincount(flat, difference, SIDE**3).reshape(shape).astype(np.float32)
        counts[name] = np.bincount(flat, minlength=SIDE**3).reshape(shape).astype(np.float32)
    return CaseDifferences(sums, counts)


def tube_shift_mm(label: Mask, trusted: Mask, spacing_mm: tuple[float, float, float]) -> float | None:
    """Compute by how much the surface of a thin vessel has to move to fit its trusted mask best.

    A vessel has no place on the template. That its width is wrong is the same error everywhere.

    Args:
        label: (x, y, z) bool, the mask of the label map.
        trusted: (x, y, z) bool, the trusted mask.
        spacing_mm: voxel spacing.

    Returns:
        The movement outwards in mm with the largest Dice; the middle of several that are equally good. None where one
        of the masks is empty.
    """
    box = bounding_box(label | trusted, [int(np.ceil(TUBE_SHIFTS_MM[-1] / step)) for step in spacing_mm])
    if box is None or not label.any() or not trusted.any():
        return None
    distance, truth = signed_distance_mm(label[box], spacing_mm), trusted[box]
    dices = np.array([dice(distance + shift > 0, truth) for shift in TUBE_SHIFTS_MM])
    best = TUBE_SHIFTS_MM[dices >= dices.max() - 1e-9]
    return float(best[np.abs(best).argmin()]) if (best == 0).any() else float(best.mean())


def correction_of_differences(cases: Sequence[CaseDifferences], heads: tuple[str, ...], size_mm: Floats) -> Correction:
    """Compute the correction that the trusted cases have in common.

    At each place the mean is shrunk by the variance between the cases, and applied only where the mean of the other
    cases brings each trusted case nearer to its trusted map (leave-one-out).

    Args:
        cases: the differences of the trusted cases.
        heads: names of the structures of the template.
        size_mm: (3,) extent of the template's unit frame in mm.

    Returns:
        The correction; 0 where fewer than `MIN_TRUSTED` cases have a difference.
    """
    table = np.zeros((SIDE, SIDE, SIDE, len(heads)), np.float32)
    cell_mm = np.asarray(size_mm, np.float64) / SIDE
    for head, name in enumerate(heads):
        own = [case for case in cases if name in case.counts]
        if len(own) >= MIN_TRUSTED:
            table[..., head] = _common(
                [case.sums_mm[name] for case in own], [case.counts[name] for case in own], cell_mm
            )
    return Correction(table, heads, _common_tubes(cases))


def _common_tubes(cases: Sequence[CaseDifferences]) -> dict[str, float]:
    """Movement of each thin vessel: the mean over the cases, where nearly all of them agree on its direction."""
    found = {}
    for name in sorted({name for case in cases for name in case.tubes_mm}):
        shifts = np.array([case.tubes_mm[name] for case in cases if name in case.tubes_mm])
        mean = float(np.median(shifts))
        agree = np.count_nonzero(np.sign(shifts) == np.sign(mean))
        if len(shifts) >= MIN_TRUSTED and abs(mean) > 0 and agree >= TUBE_AGREEMENT * len(shifts):
            found[name] = mean
    return found


def _common(sums: Sequence[Floats], counts: Sequence[Floats], cell_mm: Floats) -> npt.NDArray[np.float32]:
    smooth = [
        [gaussian_filter(part.astype(np.float64), SMOOTH_MM / cell_mm) for part in pair]
        for pair in zip(sums, counts, strict=True)
    ]
    weights = np.stack([count > MIN_WEIGHT * count.max() for _, count in smooth]).astype(np.float64)
    values = np.stack([total / np.maximum(count, 1e-6) for total, count in smooth]) * weights
    n = weights.sum(axis=0)
    enough = n >= MIN_TRUSTED
    mean, factor = _shrunk(values, weights)
    gain, before = np.zeros_like(mean), np.zeros_like(mean)
    for left_out in range(len(values)):
        others = np.arange(len(values)) != left_out
        guess, share = _shrunk(values[others], weights[others])
        one, seen = values[left_out], weights[left_out]
        gain += seen * (one**2 - (one - share * guess) ** 2)
        before += seen * one**2
    region = REGION_MM / cell_mm
    helps = gaussian_filter(gain, region) > 0.25 * gaussian_filter(before, region)
    soft = gaussian_filter(helps.astype(np.float64), 0.5 * SMOOTH_MM / cell_mm)
    return (np.where(enough, mean * factor, 0.0) * soft).astype(np.float32)


def _shrunk(values: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Mean over the cases that have a value, and the factor by which its uncertainty shrinks it."""
    n = np.maximum(weights.sum(axis=0), 1)
    mean = values.sum(axis=0) / n
    variance = (weights * (values - mean) ** 2).sum(axis=0) / np.maximum(n - 1, 1)
    factor = np.clip(1 - variance / n / np.maximum(mean**2, 1e-9), 0, 1)
    return mean, factor
