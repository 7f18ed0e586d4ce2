"""Decision from signed distances to one label map, by priority and a probability threshold for each structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from heartmend.types import UNKNOWN, Labels

if TYPE_CHECKING:  # it needs pydantic, which the GPU benchmark does without
    from heartmend.anatomy.schema import Anatomy

DistanceFields = Mapping[str, npt.NDArray[np.float32]]
"""Signed distances in mm by structure, positive inside."""
Thresholds = Mapping[str, float]
"""Probability threshold of each structure; 0.5 for a structure that is not named."""

LOGISTIC_SCALE_MM = 0.25
"""The probability of being inside is sigmoid(signed distance / this scale)."""
_CANDIDATES_MM = np.arange(-8, 9) * (LOGISTIC_SCALE_MM / 8)


def inside_probability(depth_mm: npt.ArrayLike) -> npt.NDArray[np.floating]:
    """Convert signed distances to the probability of being inside.

    Args:
        depth_mm: signed distances in mm, positive inside, of any shape.

    Returns:
        Probabilities of the same shape.

    Example:
        >>> inside_probability([-10.0, 0.0, 0.25]).round(3).tolist()
        [0.0, 0.5, 0.731]
    """
    return 1 / (1 + np.exp(-np.clip(np.asarray(depth_mm) / LOGISTIC_SCALE_MM, -80, 80)))


def threshold_depth_mm(threshold: float) -> float:
    """Convert a probability threshold to a signed distance; the inverse of `inside_probability`.

    Args:
        threshold: probability, more than 0 and less than 1.

    Returns:
        The signed distance in mm, positive inside.

    Example:
        >>> threshold_depth_mm(0.5)
        0.0
    """
    return float(LOGISTIC_SCALE_MM * np.log(threshold / (1 - threshold)))


def decide_labels(fields: DistanceFields, anatomy: Anatomy, thresholds: Thresholds) -> Labels:
    """Decide one label for each voxel: the first structure by priority whose probability reaches its threshold.

    Args:
        fields: signed distances in mm, positive inside, of one shape for all structures.
        anatomy: defines the priority and the ids.
        thresholds: probability threshold of each structure.

    Returns:
        Label map (uint8) of the same shape; 0 where no structure reaches its threshold.
    """
    labels = np.zeros(next(iter(fields.values())).shape, dtype=np.uint8)
    for name in reversed(anatomy.priority):
        if name in fields:
            labels[fields[name] >= threshold_depth_mm(thresholds.get(name, 0.5))] = anatomy.by_name(name).id
    return labels


def choose_thresholds(
    cases: Sequence[tuple[DistanceFields, Labels]], anatomy: Anatomy, names: Sequence[str]
) -> dict[str, float]:
    """Choose the threshold of each structure that maximises its Dice, given those of higher priority.

    Args:
        cases: for each case its signed distances, and the reference labels; `UNKNOWN` voxels do not count.
        anatomy: defines the priority and the ids.
        names: the structures.

    Returns:
        The threshold of each structure, rounded to four digits; of equally good ones that nearest to 0.5.
    """
    available = [reference != UNKNOWN for _, reference in cases]
    chosen = dict[str, float]()
    for name in (n for n in anatomy.priority if n in names):
        id = anatomy.by_name(name).id
        both, predicted, wanted = np.zeros(len(_CANDIDATES_MM)), np.zeros(len(_CANDIDATES_MM)), 0
        for (fields, reference), free in zip(cases, available, strict=True):
            depth, inside = fields[name][free], reference[free] == id
            wanted += int((reference == id).sum())
            # The number of candidates that each voxel reaches, and from it the number of voxels at each candidate.
            reached = np.searchsorted(_CANDIDATES_MM, depth, side="right")
            for total, counted in ((both, reached[inside]), (predicted, reached)):
                total += np.bincount(counted, minlength=len(_CANDIDATES_MM) + 1)[::-1].cumsum()[::-1][1:]
        dice = 2 * both / np.maximum(predicted + wanted, 1)
        best = min(np.flatnonzero(dice >= dice.max() - 1e-9), key=lambda i: abs(_CANDIDATES_MM[i]))
        chosen[name] = round(float(inside_probability(_CANDIDATES_MM[best])), 4)
        for (fields, _), free in zip(cases, available, strict=True):
            free &= fields[name] < threshold_depth_mm(chosen[name])
    return chosen
