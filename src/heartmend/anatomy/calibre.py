"""Calibre of coronary arteries: the radius of the vessels in a population."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heartmend.types import FloatArray

_WRONG_SHARE = 0.2  # share of labels expected to be too wide or too thin as a whole
_NATURAL_SPREAD = 0.1  # between people, as a share of the radius
_CERTAIN = 0.95  # smallest probability of an error at which a width is corrected
_PRIOR_CASES = 3.0  # weight of that expectation, in cases
_MIN_CASES = 5
_CERTAIN_CASES = 10  # so few cases agree by chance on an error that most of them have
_COHORT_SPREAD_MM = 0.2  # spread that the estimate of a cohort starts with, and its agreement with the published one
_ITERATIONS = 50


@dataclass(frozen=True)
class Calibre:
    """Tree-wide equal-area radius of a population's coronary arteries.

    The default is wide on purpose, because nothing is known of a few labels but that they are coronaries. Lumen
    diameters of 4.5 mm (left main), 3.9 (proximal RCA) and 3.7 (proximal LAD) down to 1.9 (distal LAD), with 10 to 15 %
    between people (Dodge et al., Circulation 1992), give 1.4 mm over a labelled tree. Labels of real trees that follow
    the outer border have volumes and lengths of 1.5 to 2.5 mm.

    Attributes:
        mean_mm: mean over people, in mm.
        spread_mm: standard deviation between people, in mm.
    """

    mean_mm: float = 1.6
    spread_mm: float = 0.4

    @classmethod
    def of_cohort(cls, radii_mm: Sequence[float], voxel_mm: float, prior: Calibre | None = None) -> Calibre:
        """Estimate the calibre of a cohort from labels of which some are too wide or too thin.

        The two explanations of `excess_mm` are fitted by expectation maximisation. Of few cases most can have the same
        error. So where fewer than ten disagree with the prior, the estimate contains both.

        Args:
            radii_mm: the tree-wide radius of every case, in mm; zeros are ignored.
            voxel_mm: size of a voxel, in mm: the expected size of a label's error.
            prior: the estimate for fewer than five cases; None for the published one.

        Returns:
            The estimate.

        Example:
            >>> calibre = Calibre.of_cohort([1.4, 1.5, 1.6, 1.45, 1.55, 2.6], voxel_mm=1.0)
            >>> round(calibre.mean_mm, 2)
            1.5
        """
        prior = prior or cls()
        r = np.array([x for x in radii_mm if x > 0])
        if len(r) < _MIN_CASES:
            return prior
        estimate = cls(float(np.median(r)), _COHORT_SPREAD_MM)
        for _ in range(_ITERATIONS):
            correct = 1.0 - estimate._error_probability(r - estimate.mean_mm, voxel_mm)
            mean = float(np.average(r, weights=correct + 1e-9))
            natural = _NATURAL_SPREAD * mean
            square = (correct @ (r - mean) ** 2 + _PRIOR_CASES * natural**2) / (correct.sum() + _PRIOR_CASES)
            estimate = cls(mean, float(np.sqrt(square)))
        apart_mm = abs(estimate.mean_mm - prior.mean_mm)
        if len(r) < _CERTAIN_CASES and apart_mm > _COHORT_SPREAD_MM:
            middle_mm = (estimate.mean_mm + prior.mean_mm) / 2
            return cls(middle_mm, float(np.hypot(prior.spread_mm, apart_mm / 2)))
        return estimate

    def _error_probability(self, deviation: FloatArray, voxel_mm: float) -> FloatArray:
        """Probability that a label's surface is shifted by about a voxel, and not its vessel wide or thin."""
        wide = float(np.hypot(self.spread_mm, voxel_mm))
        correct = (1 - _WRONG_SHARE) / self.spread_mm * np.exp(-0.5 * (deviation / self.spread_mm) ** 2)
        wrong = _WRONG_SHARE / wide * np.exp(-0.5 * (deviation / wide) ** 2)
        return np.asarray(wrong / np.maximum(wrong + correct, 1e-300))

    def excess_mm(self, radius_mm: float, voxel_mm: float) -> float:
        """Compute the part of a tree's radius that is expected to be an error of its label.

        Two explanations compete: a correct label of a person of this population, or (one case in five) a label whose
        surface is shifted by about a voxel. Unless the second is nearly certain, the label is kept: people with wide
        or narrow vessels must not lose them.

        Args:
            radius_mm: tree-wide radius of the label, in mm.
            voxel_mm: size of a voxel, in mm.

        Returns:
            The expected error in mm; negative for a label that is too thin; 0 if its width may be natural.

        Example:
            >>> Calibre(1.4, 0.2).excess_mm(1.5, voxel_mm=1.0), Calibre(1.4, 0.2).excess_mm(2.6, voxel_mm=1.0) > 1.0
            (0.0, True)
        """
        deviation = np.array([radius_mm - self.mean_mm])
        if float(self._error_probability(deviation, voxel_mm)[0]) < _CERTAIN:
            return 0.0
        share = voxel_mm**2 / (voxel_mm**2 + self.spread_mm**2)
        return float(deviation[0] * share)
