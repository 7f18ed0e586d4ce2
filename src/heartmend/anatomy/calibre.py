"""How wide coronary arteries are: what tells a swollen label from a wide vessel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heartmend.types import FloatArray

_FAULTY = 0.2  # share of labels expected to be too wide or too thin as a whole
_NATURAL_SPREAD = 0.1  # between people, as a share of the radius
_PRIOR_CASES = 3.0  # what that expectation weighs, in cases
_LEAST_CASES = 5
_ROUNDS = 50


@dataclass(frozen=True)
class Calibre:
    """Tree-wide equal-area radius over a population: mean and standard deviation in mm.

    The default rests on Dodge et al. (Circulation 1992): lumen diameters of 4.5 mm (left main), 3.9 (proximal RCA) and
    3.7 (proximal LAD) down to 1.9 (distal LAD), with 10 to 15 % between people. Over a labelled tree that makes a
    radius near 1.4 mm; the spread also holds how far labels follow side branches.
    """

    mean_mm: float = 1.4
    spread_mm: float = 0.2

    @classmethod
    def of_cohort(cls, radii_mm: Sequence[float], voxel_mm: float, prior: Calibre | None = None) -> Calibre:
        """From one `tree_radius_mm` per case, some of which may be their label's fault; zeros do not count.

        The two explanations of `excess_mm`, fitted by EM. Below five cases the prior (by default the published one)
        stands.
        """
        prior = prior or cls()
        r = np.array([x for x in radii_mm if x > 0])
        if len(r) < _LEAST_CASES:
            return prior
        best = cls(float(np.median(r)), prior.spread_mm)
        for _ in range(_ROUNDS):
            sound = 1.0 - best._fault(r - best.mean_mm, voxel_mm)
            mean = float(np.average(r, weights=sound + 1e-9))
            natural = _NATURAL_SPREAD * mean
            square = (sound @ (r - mean) ** 2 + _PRIOR_CASES * natural**2) / (sound.sum() + _PRIOR_CASES)
            best = cls(mean, float(np.sqrt(square)))
        return best

    def _fault(self, deviation: FloatArray, voxel_mm: float) -> FloatArray:
        """Probability that a label is moved by about a voxel, and not its vessel wide or thin."""
        wide = float(np.hypot(self.spread_mm, voxel_mm))
        sound = (1 - _FAULTY) / self.spread_mm * np.exp(-0.5 * (deviation / self.spread_mm) ** 2)
        fault = _FAULTY / wide * np.exp(-0.5 * (deviation / wide) ** 2)
        return np.asarray(fault / np.maximum(fault + sound, 1e-300))

    def excess_mm(self, radius_mm: float, voxel_mm: float) -> float:
        """How much of a tree's radius is the label's fault, in mm (negative: too thin): the expected value.

        Two explanations compete: a sound label of a person of this population, or (one case in five) a label whose
        surface moved by about a voxel.
        """
        deviation = np.array([radius_mm - self.mean_mm])
        share = voxel_mm**2 / (voxel_mm**2 + self.spread_mm**2)
        return float((deviation * share * self._fault(deviation, voxel_mm))[0])
