"""The estimator: from evidence to the probability of an error of each voxel, and the expected errors of structures.

Linear models, fitted once by `benchmarks/fit_trust.py` on repaired maps with a known truth, stored as a readable file
of the package. Two estimate the logarithm of the Dice error and of the mean surface distance of a structure in its
case, for thin vessels and for all others. Their intervals are split conformal: quantiles of their errors on hearts that
they were not fitted to, relative to a spread that depends on the estimate, for each kind of structure (Vovk et al.
2005; Lei et al. 2018). The third one is a logistic regression for a voxel, given the expected surface distances of the
two structures beside the nearest surface; an isotonic function makes its values shares of wrong voxels.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from heartmend.anatomy.schema import Structure
from heartmend.repair.uncertainty.estimate import StructureEstimate
from heartmend.repair.uncertainty.evidence import VoxelEvidence
from heartmend.repair.uncertainty.structures import STRUCTURE_FEATURES
from heartmend.types import BACKGROUND

DICE_FLOOR, SURFACE_FLOOR_MM = 0.002, 0.02
"""Added to an error before its logarithm is taken."""
MOST_SURFACE_MM = 50.0
"""Largest surface distance of an estimate."""
VOXEL_FEATURES = (
    "severity", "depth", "root_depth", "depth_severity", "root_depth_severity", "changed", "original",
    "changed_original", "cleaned_differs", "shape", "shape_against", "has_shape", "local_change", "local_shape",
    "depth_local_change", "depth_local_shape", "edge_precision", "edge", "edge_against", "image", "background", "inner",
    "tube", "tube_severity", "tube_depth",
)  # fmt: skip
"""Names of the features of a voxel, as `docs/concepts/uncertainty.md` explains them."""

LEAST_SPREAD = 0.2
"""Least spread of the errors of a logarithm."""

Features = npt.NDArray[np.float64]
Group = Literal["solid", "tube"]


class Linear(BaseModel):
    """A linear function of standardised features."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    features: tuple[str, ...]
    """Names of the features."""
    mean: tuple[float, ...]
    """Mean of each feature."""
    scale: tuple[Annotated[float, Field(gt=0)], ...]
    """Standard deviation of each feature."""
    coefficients: tuple[float, ...]
    """Weight of each standardised feature."""
    intercept: float
    """Value at the means."""

    def __call__(self, features: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Compute the function.

        Args:
            features: (n, feature).

        Returns:
            (n,) values.
        """
        weights = np.asarray(self.coefficients) / np.asarray(self.scale)
        found: npt.NDArray[np.floating] = features @ weights + (self.intercept - float(weights @ np.asarray(self.mean)))
        return found


class Quantiles(BaseModel):
    """Errors of a logarithm on hearts that the model was not fitted to, in spreads, for one kind of structure."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    low: float
    """5 % quantile."""
    high: float
    """95 % quantile."""
    mean: float
    """Shift of the logarithm that gives the mean error."""


class LogError(BaseModel):
    """Estimate of the logarithm of an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mean: dict[Group, Linear]
    """Mean logarithm, for thin vessels (`tube`) and all others (`solid`)."""
    spread: dict[Group, tuple[float, float]]
    """Spread at a mean logarithm x: the first number and the second times x, at least `LEAST_SPREAD`."""
    quantiles: dict[str, Quantiles]
    """By the kind of the structure."""

    def logarithms(self, structures: list[Structure], features: Features) -> Features:
        """Compute the mean logarithm for structures.

        Args:
            structures: the structures.
            features: (structure, feature) of `structure_features`.

        Returns:
            (structure,) logarithms.
        """
        found = []
        for structure, row in zip(structures, features, strict=True):
            linear = self.mean[group_of(structure)]
            found.append(linear(row[None, [STRUCTURE_FEATURES.index(name) for name in linear.features]])[0])
        return np.array(found, dtype=np.float64)

    def errors(self, structure: Structure, logarithm: float, floor: float, most: float) -> tuple[float, float, float]:
        """Compute the mean error and its 90 % interval.

        Args:
            structure: the structure.
            logarithm: its mean logarithm.
            floor: what was added to the error before its logarithm was taken.
            most: largest error.

        Returns:
            Mean, lower and upper bound.
        """
        one, spread = self.quantiles[structure.kind], spread_at(self.spread[group_of(structure)], logarithm)
        mean, low, high = (
            float(np.clip(np.exp(np.minimum(logarithm + spread * shift, 10.0)) - floor, 0.0, most))
            for shift in (one.mean, one.low, one.high)
        )
        return mean, low, high


def group_of(structure: Structure) -> Group:
    """Return the group of structures that are estimated by one function.

    Args:
        structure: the structure.

    Returns:
        `tube` or `solid`.
    """
    return "tube" if structure.kind == "tube" else "solid"


def spread_at(line: tuple[float, float], logarithm: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Compute the spread of the errors of a logarithm.

    Args:
        line: value at 0, and slope.
        logarithm: mean logarithm, a number or an array.

    Returns:
        The spread, at least `LEAST_SPREAD`.
    """
    return np.maximum(line[0] + line[1] * np.asarray(logarithm, dtype=np.float64), LEAST_SPREAD)


class Estimator(BaseModel):
    """The estimator, as in `estimator.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    fitted_on: tuple[str, ...]
    """Label sets that it was fitted on."""
    dice: LogError
    """Dice error of a structure."""
    surface: LogError
    """Mean surface distance of a structure, in mm."""
    voxel: Linear
    """Logit of the probability that a voxel is wrong, before the calibration."""
    calibration: tuple[tuple[float, float], ...]
    """Probability of the logit, and the share of wrong voxels there, both ascending; between them it is linear."""

    def estimates(self, structures: list[Structure], features: Features) -> list[StructureEstimate]:
        """Estimate the errors of structures.

        Args:
            structures: the structures.
            features: (structure, feature) of `structure_features`.

        Returns:
            An estimate for each.
        """
        found = []
        logs = (one.logarithms(structures, features) for one in (self.dice, self.surface))
        for structure, log_error, log_mm in zip(structures, *logs, strict=True):
            mean, low, high = self.dice.errors(structure, log_error, DICE_FLOOR, 1.0)
            lengths_mm = self.surface.errors(structure, log_mm, SURFACE_FLOOR_MM, MOST_SURFACE_MM)
            dices = (round(1 - error, 4) for error in (mean, high, low))
            found.append(StructureEstimate(structure.name, *dices, *(round(one, 3) for one in lengths_mm)))
        return found

    def probability(
        self, evidence: VoxelEvidence, structures: list[Structure], features: Features
    ) -> npt.NDArray[np.float32]:
        """Compute the probability that the label of each voxel is wrong.

        Args:
            evidence: evidence of n voxels.
            structures: the structures of the case.
            features: (structure, feature) of `structure_features`.

        Returns:
            (n,) float32, 0 to 1.
        """
        log_mm = self.surface.logarithms(structures, features)
        logit = self.voxel(voxel_features(evidence, structures, log_mm))
        before, after = zip(*self.calibration, strict=True)
        found: npt.NDArray[np.floating] = np.interp(1 / (1 + np.exp(-np.clip(logit, -30, 30))), before, after)
        return found.astype(np.float32)


def voxel_features(
    evidence: VoxelEvidence, structures: list[Structure], log_mm: npt.NDArray[np.floating]
) -> npt.NDArray[np.float32]:
    """Compute the features of voxels.

    Args:
        evidence: evidence of n voxels.
        structures: the structures of the case.
        log_mm: (structure,) logarithm of the expected surface distance of each, in mm.

    Returns:
        (n, `len(VOXEL_FEATURES)`) float32.
    """
    by_id, is_tube = np.full(256, -np.inf, np.float32), np.zeros(256, bool)
    for structure, value in zip(structures, log_mm, strict=True):
        by_id[structure.id], is_tube[structure.id] = value, structure.kind == "tube"
    label, other = evidence.label, evidence.other
    severity = np.maximum(by_id[label], by_id[other])
    # Beside a structure that is not judged: as uncertain as the others.
    severity[~np.isfinite(severity)] = float(np.mean(log_mm)) if len(log_mm) else 0.0
    depth, root = evidence.depth, np.sqrt(evidence.depth)
    change, shape = np.log(evidence.local_change + 0.1), np.log(evidence.local_shape + 0.1)
    original, changed = np.clip(evidence.original, -2, 3), evidence.changed.astype(np.float32)
    tube, has_image = (is_tube[label] | is_tube[other]).astype(np.float32), float(evidence.edge_precision.any())
    return np.column_stack([
        severity, depth, root, depth * severity, root * severity, changed, original, changed * original,
        evidence.cleaned_differs, np.clip(evidence.shape, -2, 2), np.clip(-evidence.shape, 0, 2), evidence.has_shape,
        change, shape, depth * change, depth * shape, evidence.edge_precision, np.clip(evidence.edge, -2, 2),
        np.clip(-evidence.edge, 0, 2),
        np.full(len(label), has_image), label == BACKGROUND, (label != BACKGROUND) & (other != BACKGROUND), tube,
        tube * severity, tube * depth,
    ]).astype(np.float32)  # fmt: skip


@lru_cache(maxsize=1)
def load_estimator() -> Estimator:
    """Read the estimator of the package.

    Returns:
        The estimator.
    """
    text = (files("heartmend.repair.uncertainty") / "estimator.json").read_text()
    found = Estimator.model_validate_json(text)
    linear = [*found.dice.mean.values(), *found.surface.mean.values()]
    assert all(set(one.features) <= set(STRUCTURE_FEATURES) for one in linear)
    assert found.voxel.features == VOXEL_FEATURES
    return found
