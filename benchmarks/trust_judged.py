"""Cases judged by an estimator that was not fitted to them, and what they add to the means of `fit_trust.py test`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from trust_samples import Sample

from heartmend.metrics.statistics import COVERAGE, RESAMPLES
from heartmend.repair.uncertainty.estimate import StructureEstimate
from heartmend.repair.uncertainty.estimator import Estimator
from heartmend.types import FloatArray

BINS = 15
Fit = Callable[[Sequence[Sample]], Estimator]
Part = Callable[[Sample], object]


@dataclass(frozen=True, eq=False)
class Judged:
    """A case and its estimates by an estimator that was not fitted to it.

    Attributes:
        sample: the case.
        estimates: of its structures.
        probability: (n,) of its sampled voxels.
    """

    sample: Sample
    estimates: list[StructureEstimate]
    probability: npt.NDArray[np.float32]

    @classmethod
    def of(cls, sample: Sample, estimator: Estimator) -> Judged:
        """Judge a case."""
        estimates = estimator.estimates(sample.structures, sample.features)
        return cls(sample, estimates, estimator.probability(sample.evidence, sample.structures, sample.features))

    def estimated(self, name: str) -> FloatArray:
        """List a value of the estimates of all structures."""
        return np.array([getattr(one, name) for one in self.estimates])


def leave_out(samples: Sequence[Sample], part: Part, fit: Fit) -> dict[str, list[Judged]]:
    """Judge each case by an estimator that was fitted to the other parts; the cases by label set."""
    found: dict[str, list[Judged]] = {name: [] for name in sorted({one.family for one in samples})}
    for own in dict.fromkeys(map(part, samples)):
        estimator = fit([one for one in samples if part(one) != own])
        for one in samples:
            if part(one) == own:
                found[one.family].append(Judged.of(one, estimator))
    return found


def voxels(
    members: Sequence[Judged], shares: Iterable[float] | None = None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Probability, error (0 or 1) and weight of the sampled voxels; every case has the same weight, or its share."""
    shares = [1.0] * len(members) if shares is None else shares
    weights = [share * one.sample.weight / one.sample.weight.sum() for one, share in zip(members, shares, strict=True)]
    p = np.concatenate([one.probability for one in members]).astype(float)
    wrong = np.concatenate([one.sample.wrong for one in members]).astype(float)
    return p, wrong, np.concatenate(weights)


def kind_shares(members: Sequence[Judged]) -> list[float]:
    """Weights of cases with which every kind of faults has the same weight."""
    faults = [one.sample.fault for one in members]
    return [1 / faults.count(fault) for fault in faults]


MEANS = ("dice", "dice expected", "dice inside", "mm", "mm expected", "mm inside", "wrong", "wrong expected", "ece")
"""Means of a label set, in the order of `Tally.means`."""


@dataclass(frozen=True, eq=False)
class Tally:
    """Sums of the cases of a label set.

    Attributes:
        structures: (case, 7) number of structures; sums of the Dice, of the expected one, and of those within their
            interval; the same three of the mean surface distance.
        voxels: (case, 2) share of the wrong voxels, and the expected one.
        bins: (case, `BINS`) probability less error, summed over the voxels with a probability in each bin.
    """

    structures: FloatArray
    voxels: FloatArray
    bins: FloatArray

    @classmethod
    def of(cls, members: Sequence[Judged]) -> Tally:
        """Sum up the structures and the voxels of each case."""
        return cls(*(np.array(column) for column in zip(*map(_sums, members), strict=True)))

    def means(self, at: npt.NDArray[np.intp]) -> FloatArray:
        """Compute `MEANS` of a choice of cases.

        Args:
            at: (..., n) indices of cases.

        Returns:
            (..., `MEANS`).
        """
        structures = self.structures[at].sum(axis=-2)
        bins = np.abs(self.bins[at].mean(axis=-2)).sum(axis=-1, keepdims=True)
        means = structures[..., 1:] / structures[..., :1]
        return np.concatenate([means, self.voxels[at].mean(axis=-2), bins], axis=-1)

    def spread(self) -> tuple[FloatArray, FloatArray]:
        """Compute the means, (`MEANS`,), and their 95 % bootstrap intervals over the cases, (2, `MEANS`)."""
        return self.means(np.arange(len(self.bins))), bounds(self.means(resamples(len(self.bins))))


def kinds_spread(tallies: Sequence[tuple[str, Tally]]) -> tuple[FloatArray, FloatArray]:
    """Compute the means over the kinds of faults, each with the same weight, and their intervals over the kinds.

    Args:
        tallies: kind of faults and tally of each label set.

    Returns:
        (`MEANS`,) and (2, `MEANS`). The last is the calibration error of the voxels of all kinds in the same bins: what
        is too high for one kind may be too low for another.
    """
    kinds = sorted({kind for kind, _ in tallies})
    own = [[tally for name, tally in tallies if name == kind] for kind in kinds]
    means = np.array([np.mean([one.means(np.arange(len(one.bins))) for one in each], axis=0) for each in own])
    bins = np.array([np.concatenate([one.bins for one in each]).mean(axis=0) for each in own])

    def together(at: npt.NDArray[np.intp]) -> FloatArray:
        found = means[at].mean(axis=-2)
        found[..., -1] = np.abs(bins[at].mean(axis=-2)).sum(axis=-1)
        return np.asarray(found)

    return together(np.arange(len(kinds))), bounds(together(resamples(len(kinds))))


def resamples(count: int) -> npt.NDArray[np.intp]:
    """Draw the indices of the bootstrap: (`RESAMPLES`, count)."""
    return np.random.default_rng(0).integers(0, count, (RESAMPLES, count))


def bounds(values: FloatArray) -> FloatArray:
    """Compute the 95 % bounds of resampled values over their first axis: (2, ...)."""
    return np.asarray(np.percentile(values, [50 * (1 - COVERAGE), 50 * (1 + COVERAGE)], axis=0))


def _sums(one: Judged) -> tuple[list[float], list[float], FloatArray]:
    sums: list[float] = [len(one.estimates)]
    # Estimates are rounded: to 0.0001 and 0.001 mm.
    for true, name, unit, rounded in (("dice", "dice", "", 1e-4), ("surface_mm", "surface", "_mm", 1e-3)):
        value = one.sample.error(true)
        mean, low, high = (one.estimated(f"{name}{part}{unit}") for part in ("", "_low", "_high"))
        sums += [value.sum(), mean.sum(), float(np.sum((low - rounded <= value) & (value <= high + rounded)))]
    p, wrong, weight = voxels([one])
    found = np.bincount(np.minimum((p * BINS).astype(int), BINS - 1), weight * (p - wrong), BINS)
    return sums, [float(weight @ wrong), float(weight @ p)], found
