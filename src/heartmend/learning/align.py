"""A first, robust alignment of a cohort: from the centroids of its structures, before anything is learned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from heartmend.learning.targets import Target

STIFFNESS = 0.02
"""How strongly an affine map is held to the identity where the centroids do not determine it."""

Floats = npt.NDArray[np.float64]


def medoid(targets: Sequence[Target]) -> int:
    """The case in the middle: the one whose centroids lie nearest to those of all others. Prefers whole hearts."""
    points = np.stack([t.centroids for t in targets]).astype(np.float64)
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    lacking = np.isnan(points).any(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        mean = np.nanmean(np.where(np.isnan(apart), np.nan, apart), axis=(1, 2))
    mean = np.where(np.isnan(mean), np.inf, mean)
    whole = ~lacking if (~lacking).any() else np.ones(len(targets), dtype=bool)
    return int(np.argmin(np.where(whole, mean, np.inf)))


def affine_to(source: Target, goal: Target) -> Floats:
    """(3, 4): the affine map from the unit frame of one case to another's that brings their centroids together.

    Least squares over the structures that both have whole, held to the identity by `STIFFNESS`.
    Mirrored hearts come out mirrored: a wrong orientation in a header costs nothing.
    """
    both = ~np.isnan(source.centroids).any(axis=1) & ~np.isnan(goal.centroids).any(axis=1)
    points = np.c_[source.centroids[both].astype(np.float64), np.ones(both.sum())]
    wanted = goal.centroids[both].astype(np.float64)
    hold = STIFFNESS * np.diag([1.0, 1.0, 1.0, 0.01])
    identity = np.eye(4)[:, :3]
    solution: Floats = np.linalg.solve(points.T @ points + hold, points.T @ wanted + hold @ identity)
    return solution.T
