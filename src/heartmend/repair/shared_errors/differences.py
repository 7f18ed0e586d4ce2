"""Difference between trusted label maps and the maps of the run, in the frame of the template."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from heartmend.geometry.distance import DistanceMap, signed_distance_mm
from heartmend.repair.shared_errors.correction import Correction
from heartmend.repair.shared_errors.estimate import MIN_TRUSTED
from heartmend.repair.shared_errors.surface import Floats
from heartmend.types import Mask

SIDE = 80
"""Cells along each side of the table, of about 2 mm: a displaced valve is a plug that is a few mm deep, and coarser
cells or more smoothing average it with its surroundings."""
BAND_MM = 5.0
"""Voxels this near to one of the two surfaces are compared."""
MAX_VOXELS = 200_000
"""Voxels of each structure that are compared in a case."""
SMOOTH_MM = 0.7
"""Standard deviation of the Gaussian that smooths the differences of a case."""
SOFT_MM = 1.5
"""Standard deviation of the transition between what is corrected and what is not."""
REGION_MM = 6.0
"""Standard deviation of the neighbourhood in which it is decided whether a correction is applied."""
MIN_WEIGHT = 0.02
"""Least weight of a case at a place, as a share of its largest."""


@dataclass(frozen=True, eq=False)
class CellDifferences:
    """Differences of one structure of a trusted case, on those cells of the template that contain some.

    Attributes:
        cells: (n,) int32, their numbers in C order of (x, y, z).
        sums_mm: (n,) float32, sum of the differences: positive where the trusted surface lies farther outside.
        counts: (n,) float32, number of voxels.
    """

    cells: npt.NDArray[np.int32]
    sums_mm: npt.NDArray[np.float32]
    counts: npt.NDArray[np.float32]

    def smooth(self, cell_mm: Floats) -> tuple[Floats, Floats]:
        """Smooth the differences over the template.

        Args:
            cell_mm: (3,) size of a cell.

        Returns:
            The differences in mm, and their weights, 1 where the case has some and 0 elsewhere: (side, side, side)
            float64 each.
        """
        total, count = (self._smooth(values, cell_mm) for values in (self.sums_mm, self.counts))
        weight = (count > MIN_WEIGHT * count.max()).astype(np.float64)
        return total / np.maximum(count, 1e-6) * weight, weight

    def _smooth(self, values: npt.NDArray[np.float32], cell_mm: Floats) -> Floats:
        table = np.zeros(SIDE**3)
        table[self.cells] = values
        smooth: Floats = gaussian_filter(table.reshape((SIDE,) * 3), SMOOTH_MM / cell_mm)
        return smooth


CaseDifferences = Mapping[str, CellDifferences]
"""Differences of one trusted case: those of each structure that both maps have, by name."""


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
    rng, found = np.random.default_rng(0), {}
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
        used, inverse, counts = np.unique(flat, return_inverse=True, return_counts=True)
        sums = np.bincount(inverse, difference)
        found[name] = CellDifferences(used.astype(np.int32), sums.astype(np.float32), counts.astype(np.float32))
    return found


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
        own = [case[name] for case in cases if name in case]
        if len(own) >= MIN_TRUSTED:
            table[..., head] = _common(own, cell_mm)
    return Correction(table, heads)


def _common(cases: Sequence[CellDifferences], cell_mm: Floats) -> npt.NDArray[np.float32]:
    """What the cases have in common, one case in memory at a time."""
    n, total, squares = np.zeros((3, SIDE, SIDE, SIDE))
    for case in cases:
        value, weight = case.smooth(cell_mm)
        n += weight
        total += value
        squares += value**2
    mean, factor = _shrunk(n, total, squares)
    gain, before = np.zeros_like(mean), np.zeros_like(mean)
    for case in cases:
        value, weight = case.smooth(cell_mm)
        guess, share = _shrunk(n - weight, total - value, squares - value**2)
        gain += weight * (value**2 - (value - share * guess) ** 2)
        before += value**2
    region = REGION_MM / cell_mm
    helps = gaussian_filter(gain, region) > 0.25 * gaussian_filter(before, region)
    soft = gaussian_filter(helps.astype(np.float64), SOFT_MM / cell_mm)
    return (np.where(n >= MIN_TRUSTED, mean * factor, 0.0) * soft).astype(np.float32)


def _shrunk(n: Floats, total: Floats, squares: Floats) -> tuple[Floats, Floats]:
    """Mean over `n` values, and the factor by which its uncertainty shrinks it, from their sum and that of squares."""
    mean = total / np.maximum(n, 1)
    variance = np.maximum(squares - n * mean**2, 0) / np.maximum(n - 1, 1)
    factor = np.clip(1 - variance / np.maximum(n, 1) / np.maximum(mean**2, 1e-9), 0, 1)
    return mean, factor
