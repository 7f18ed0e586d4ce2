"""A first, robust alignment of a cohort: from the centroids of its structures, before anything is learned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from heartmend.models.code_book import CodeBook
from heartmend.models.feature_table import resized_table
from heartmend.models.template import TemplateShape
from heartmend.training.case_samples import CaseSamples, CaseSummary

STIFFNESS = 0.2
"""How strongly an affine map is held to turn and scale, as a share of the centroids' spread."""
FEWEST_CENTROIDS = 4
"""Fewer say where a heart lies but not how it is turned."""

Floats = npt.NDArray[np.float64]


def medoid(targets: Sequence[CaseSamples | CaseSummary]) -> int:
    """The case in the middle: the one whose centroids lie nearest to those of all others. Prefers whole hearts."""
    points = np.stack([t.centroids for t in targets]).astype(np.float64)
    lacking = np.isnan(points).any(axis=(1, 2))
    apart = (np.linalg.norm(one - points, axis=-1) for one in points)
    mean = np.array([np.nanmean(far) if np.isfinite(far).any() else np.nan for far in apart])
    mean = np.where(np.isnan(mean), np.inf, mean)
    whole = ~lacking if (~lacking).any() else np.ones(len(targets), dtype=bool)
    return int(np.argmin(np.where(whole, mean, np.inf)))


def align_to_medoid(
    middle: CaseSamples | CaseSummary, table: Tensor, heads: Sequence[str], targets: Sequence[CaseSamples | CaseSummary],
    side: int, controls: int,
) -> tuple[TemplateShape, CodeBook]:  # fmt: skip
    """A template that is the signed distances of the `middle` case, and affine codes that lead each case to it.

    table: (n³, heads) these distances in mm at the cells of the middle case's own cube.
    """
    shape = TemplateShape(tuple(heads), side=side, controls=controls)
    with torch.no_grad():
        shape.table.copy_(resized_table(table, middle.side, side))
    codes = shape.new_codes(len(targets))
    for row, target in enumerate(targets):
        codes["affine"][row] = torch.from_numpy(affine_to(target, middle)).float()
    return shape, CodeBook([t.case_id for t in targets], codes)


def affine_to(source: CaseSamples | CaseSummary, goal: CaseSamples | CaseSummary) -> Floats:
    """(3, 4): the affine map from the unit frame of one case to another's that brings their centroids together.

    Least squares over the structures that both have whole. First turn, scale and shift (Umeyama, IEEE TPAMI 1991),
    which a few centroids determine well; then shear and stretch as far as `STIFFNESS` lets them. Mirrored hearts come
    out mirrored, if that fits far better: a wrong orientation in a header costs nothing.
    """
    both = ~np.isnan(source.centroids).any(axis=1) & ~np.isnan(goal.centroids).any(axis=1)
    to_mm, from_mm = np.array(source.size_mm) / 2, 2 / np.array(goal.size_mm)
    if not both.any():
        return np.eye(3, 4)
    points = source.centroids[both].astype(np.float64) * to_mm
    wanted = goal.centroids[both].astype(np.float64) / from_mm
    middle, wanted_middle = points.mean(axis=0), wanted.mean(axis=0)
    points, wanted = points - middle, wanted - wanted_middle
    linear = np.eye(3)
    if len(points) >= FEWEST_CENTROIDS:
        similar = _similarity(points, wanted)
        spread = float(np.square(points).sum()) / 3
        hold = STIFFNESS * spread * np.eye(3)
        linear = np.linalg.solve(points.T @ points + hold, points.T @ wanted + hold @ similar.T).T
    shift = wanted_middle - linear @ middle
    return np.c_[from_mm[:, None] * linear * to_mm, from_mm * shift]


def _similarity(points: Floats, wanted: Floats) -> Floats:
    """(3, 3): turn and scale, mirrored only where that leaves less than half of the error."""
    u, strength, v = np.linalg.svd(wanted.T @ points)
    size = float(np.square(points).sum())
    sign = float(np.sign(np.linalg.det(u @ v)))
    found, errors = [], []
    for last in (1.0, -1.0):
        flips = np.array([1.0, 1.0, sign * last])
        scaled = float(strength @ flips) / size * (u * flips) @ v
        found.append(scaled)
        errors.append(float(np.square(wanted - points @ scaled.T).sum()))
    return found[1] if errors[1] < 0.5 * errors[0] else found[0]
