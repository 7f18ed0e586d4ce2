"""Fit of the estimator of `--uncertainty`, calibrated on kinds of faults that it was not fitted to.

Every kind of faults has the same weight. The means are ridge regressions with an own offset for each kind of faults,
which a new kind does not have (a random intercept): what the evidence means is learned within the kinds, and how far
kinds differ is left to the interval. Intervals and the calibration of the voxels are taken from estimates of each kind
by the fit on all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, isotonic_regression
from trust_samples import Sample, picked

from heartmend.repair.uncertainty.estimator import (
    DICE_FLOOR,
    SURFACE_FLOOR_MM,
    VOXEL_FEATURES,
    Estimator,
    Group,
    Linear,
    LogError,
    Quantiles,
    group_of,
    spread_at,
    voxel_features,
)
from heartmend.repair.uncertainty.structures import STRUCTURE_FEATURES
from heartmend.types import FloatArray

PER_CASE = 300
"""Voxels of a case that the fit draws of its samples."""
VOXEL_FOLDS = 5
"""Parts of the kinds of faults of which the calibration of voxels leaves out one after the other."""
RIDGE = 1.0
"""Penalty of the squared weights of standardised features, in cases."""
OFFSET_RIDGE = 3.0
"""Penalty of the squared offsets of the kinds of faults, in cases: the variance within a kind over that between."""
PENALTY = 1e-3
"""Penalty of the squared weights of the logistic regression, in voxels."""
OUTSIDE = 0.05
"""Share of the errors below the interval, and of those above it."""

Mask = npt.NDArray[np.bool_]


def fit(samples: Sequence[Sample]) -> Estimator:
    """Fit the estimator; its intervals and its calibration hold for kinds of faults that it was not fitted to."""
    weights = case_weights(samples)
    errors = [np.log(1 - one.error("dice") + DICE_FLOOR) for one in samples]
    lengths = [np.log(one.error("surface_mm") + SURFACE_FLOOR_MM) for one in samples]
    dice, _ = fit_log_error(samples, weights, errors)
    surface, log_mm = fit_log_error(samples, weights, lengths)
    rows, wrong, weight, fault = _voxels(samples, weights, log_mm)
    logit, p = _logistic(rows, wrong, weight), np.zeros(len(rows))
    for part in range(VOXEL_FOLDS):
        outer = fault % VOXEL_FOLDS == part
        inner, start = ~outer, (logit.intercept, *logit.coefficients)
        if outer.any():
            p[outer] = _sigmoid(_logistic(rows[inner], wrong[inner], weight[inner], start)(rows[outer]))
    return Estimator(
        fitted_on=tuple(sorted({one.family for one in samples})), dice=dice, surface=surface, voxel=logit,
        calibration=_isotonic(p, wrong.astype(float), weight),
    )  # fmt: skip


def fit_log_error(
    samples: Sequence[Sample], weights: FloatArray, values: list[FloatArray]
) -> tuple[LogError, list[FloatArray]]:
    """Fit the estimate of a logarithm; also its values for each case by the fit on all other kinds of faults."""
    counts = [len(one.structures) for one in samples]
    features, truth = np.concatenate([one.features for one in samples]), np.concatenate(values)
    weight = np.repeat(weights / np.maximum(counts, 1), counts)
    fault = np.repeat(np.unique([one.fault for one in samples], return_inverse=True)[1], counts)
    structures = [s for one in samples for s in one.structures]
    kinds, groups = np.array([s.kind for s in structures]), np.array([group_of(s) for s in structures])
    predicted, scaled = np.zeros(len(truth)), np.zeros(len(truth))
    mean: dict[Group, Linear] = {}
    spread: dict[Group, tuple[float, float]] = {}
    for group in get_args(Group):
        own = groups == group
        mean[group] = _ridge(STRUCTURE_FEATURES, features[own], truth[own], weight[own], fault[own])
        for one in np.unique(fault):
            inner, outer = own & (fault != one), own & (fault == one)
            found = _ridge(STRUCTURE_FEATURES, features[inner], truth[inner], weight[inner], fault[inner])
            predicted[outer] = found(features[outer])
        spread[group] = _spread(truth[own] - predicted[own], predicted[own], weight[own])
        scaled[own] = (truth - predicted)[own] / spread_at(spread[group], predicted[own])
    quantiles = {}
    for kind in np.unique(kinds):
        own = kinds == kind
        low, high = _quantiles(scaled[own], weight[own], len(np.unique(fault)))
        line = spread[group_of(structures[int(np.flatnonzero(own)[0])])]
        shift = _mean_shift(truth[own], predicted[own], spread_at(line, predicted[own]), weight[own])
        quantiles[str(kind)] = Quantiles(low=round(low, 4), high=round(high, 4), mean=round(shift, 4))
    found = LogError(mean=mean, spread=spread, quantiles=quantiles)
    return found, np.split(predicted, np.cumsum(counts)[:-1])


def case_weights(samples: Sequence[Sample]) -> FloatArray:
    """Every kind of faults has the same weight, and in it every label set; the sum is the number of cases."""
    families = [one.family for one in samples]
    sets = {fault: len({name for name in families if name.split("-")[0] == fault}) for fault in _faults(samples)}
    return np.array([len(samples) / len(sets) / sets[one.fault] / families.count(one.family) for one in samples])


def _faults(samples: Sequence[Sample]) -> list[str]:
    return sorted({one.fault for one in samples})


def _spread(residual: FloatArray, predicted: FloatArray, weight: FloatArray) -> tuple[float, float]:
    slope, level = np.polyfit(predicted, np.abs(residual), 1, w=np.sqrt(weight))
    return round(float(level), 4), round(float(slope), 4)


def _voxels(
    samples: Sequence[Sample], weights: FloatArray, log_mm: list[FloatArray]
) -> tuple[npt.NDArray[np.float32], Mask, FloatArray, npt.NDArray[np.intp]]:
    """Features, errors, weights and kinds of faults of the voxels that the fit draws."""
    random, parts, names = np.random.default_rng(0), [], _faults(samples)
    for one, logs, weight in zip(samples, log_mm, weights, strict=True):
        at = random.choice(len(one.wrong), min(PER_CASE, len(one.wrong)), replace=False)
        rows = voxel_features(picked(one.evidence, at), one.structures, logs)
        share = weight * one.weight[at] / one.weight[at].sum()
        parts.append((rows, one.wrong[at], share, np.full(len(at), names.index(one.fault))))
    rows, wrong, share, fault = (np.concatenate(column) for column in zip(*parts, strict=True))
    return rows, wrong, share, fault


def _standardised(features: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    mean = np.average(features, axis=0, weights=weights)
    return mean, np.sqrt(np.average((features - mean) ** 2, axis=0, weights=weights)) + 1e-3


def _ridge(
    names: tuple[str, ...], features: FloatArray, values: FloatArray, weights: FloatArray, fault: npt.NDArray[np.intp]
) -> Linear:
    """Ridge regression with an offset for each kind of faults, which is shrunk and then left out."""
    mean, scale = _standardised(features, weights)
    level = float(np.average(values, weights=weights))
    offsets = (fault[:, None] == np.unique(fault)).astype(float)
    x = np.column_stack([(features - mean) / scale, offsets])
    penalty = np.repeat([RIDGE, OFFSET_RIDGE], [features.shape[1], offsets.shape[1]])
    c = np.linalg.solve(x.T @ (x * weights[:, None]) + np.diag(penalty), x.T @ (weights * (values - level)))
    return _linear(names, mean, scale, c[: features.shape[1]], level)


def _logistic(features: FloatArray, wrong: Mask, weights: FloatArray, start: Sequence[float] | None = None) -> Linear:
    """Logistic regression by Newton's method."""
    features = features.astype(np.float64)
    mean, scale = _standardised(features, weights)
    x = np.column_stack([np.ones(len(features)), (features - mean) / scale])
    penalty = PENALTY * weights.sum() * np.diag([0.0, *np.ones(x.shape[1] - 1)])

    def loss(c: FloatArray) -> float:
        margin = np.where(wrong, 1, -1) * (x @ c)
        return float(weights @ np.logaddexp(0, -margin) + c @ penalty @ c / 2)

    share = np.average(wrong, weights=weights)
    c = np.array([np.log(share / (1 - share)), *np.zeros(x.shape[1] - 1)]) if start is None else np.array(start)
    for _ in range(40):
        p = _sigmoid(x @ c)
        gradient = x.T @ (weights * (wrong - p)) - penalty @ c
        step = np.linalg.solve(x.T @ (x * (weights * p * (1 - p))[:, None]) + penalty, gradient)
        while loss(c + step) > loss(c) and np.abs(step).max() > 1e-6:
            step /= 2
        c = c + step
        if np.abs(step).max() < 1e-3:
            break
    return _linear(VOXEL_FEATURES, mean, scale, c[1:], float(c[0]))


def _sigmoid(values: FloatArray) -> FloatArray:
    found: FloatArray = 1 / (1 + np.exp(-np.clip(values, -30, 30)))
    return found


def _isotonic(p: FloatArray, wrong: FloatArray, weight: FloatArray) -> tuple[tuple[float, float], ...]:
    """Ascending shares of wrong voxels at ascending probabilities, from the means of bins that are narrow near 0."""
    number, points = np.minimum((np.sqrt(p) * 25).astype(int), 24), []
    for one in np.unique(number):
        at = number == one
        points.append(
            (np.average(p[at], weights=weight[at]), np.average(wrong[at], weights=weight[at]), weight[at].sum())
        )
    before, after, weights = (np.array(column) for column in zip(*points, strict=True))
    ascending = isotonic_regression(after, weights=weights).x
    return tuple((float(f"{a:.4g}"), float(f"{b:.4g}")) for a, b in zip(before, ascending, strict=True))


def _linear(names: tuple[str, ...], mean: FloatArray, scale: FloatArray, c: FloatArray, intercept: float) -> Linear:
    means, scales, weights = ([float(f"{v:.6g}") for v in one] for one in (mean, scale, c))
    return Linear(
        features=names, mean=tuple(means), scale=tuple(scales), coefficients=tuple(weights),
        intercept=float(f"{intercept:.6g}"),
    )  # fmt: skip


def _quantiles(values: FloatArray, weights: FloatArray, kinds: int) -> tuple[float, float]:
    """Quantiles that leave a twentieth on either side, counting the kind to come as one more of the kinds."""
    order = np.argsort(values)
    share = (np.cumsum(weights[order]) - weights[order] / 2) / weights.sum()
    outside = OUTSIDE * kinds / (kinds + 1)
    low, high = (float(np.interp(q, share, values[order])) for q in (outside, 1 - outside))
    return low, high


def _mean_shift(truth: FloatArray, predicted: FloatArray, spread: FloatArray, weights: FloatArray) -> float:
    """The shift in spreads with which the mean of the estimated errors is that of the true ones."""
    mean = np.average(np.exp(truth), weights=weights)

    def excess(shift: float) -> float:
        return float(np.average(np.exp(np.minimum(predicted + shift * spread, 50.0)), weights=weights)) - mean

    return float(brentq(excess, -30, 30))
