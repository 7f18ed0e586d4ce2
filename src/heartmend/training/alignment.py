"""Initial alignment of a cohort by the centroids of its structures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from heartmend.models.code_book import CodeBook
from heartmend.models.feature_table import resample_table
from heartmend.models.template import TemplateShape
from heartmend.training.sampling import CaseSamples, CaseSummary

STIFFNESS = 0.2
"""Weight of the similarity transform against shear and anisotropic scale, as a share of the centroids' variance."""
MIN_CENTROIDS = 4
"""With fewer centroids the position of a heart is known but not its rotation."""

Floats = npt.NDArray[np.float64]
AnyCase = CaseSamples | CaseSummary


def find_medoid(cases: Sequence[AnyCase]) -> int:
    """Find the medoid of a cohort: the case whose centroids have the smallest mean distance to those of all others.

    Args:
        cases: samples or summaries of the cases; hearts with all structures complete are preferred.

    Returns:
        The position of the medoid in `cases`.
    """
    points = np.stack([case.centroids for case in cases]).astype(np.float64)
    incomplete = np.isnan(points).any(axis=(1, 2))
    distances = (np.linalg.norm(one - points, axis=-1) for one in points)
    mean = np.array([np.nanmean(far) if np.isfinite(far).any() else np.nan for far in distances])
    mean = np.where(np.isnan(mean), np.inf, mean)
    candidates = ~incomplete if (~incomplete).any() else np.ones(len(cases), dtype=bool)
    return int(np.argmin(np.where(candidates, mean, np.inf)))


def align_to_medoid(
    medoid: AnyCase, table: Tensor, heads: Sequence[str], cases: Sequence[AnyCase], side: int, controls: int
) -> tuple[TemplateShape, CodeBook]:
    """Initialise a template from the medoid's signed distances, and one affine code for each case.

    Args:
        medoid: the medoid of the cohort.
        table: (n³, heads) float32, the medoid's signed distances in mm at the cells of its own cube, n = `medoid.side`.
        heads: names of the structures.
        cases: all cases of the cohort.
        side: cells along each side of the template's table.
        controls: control points along each side of the deformation.

    Returns:
        The template and the codes, in the order of `cases`.
    """
    shape = TemplateShape(tuple(heads), side=side, controls=controls)
    with torch.no_grad():
        shape.table.copy_(resample_table(table, medoid.side, side))
    codes = shape.new_codes(len(cases))
    for row, case in enumerate(cases):
        codes["affine"][row] = torch.from_numpy(fit_affine(case, medoid)).float()
    return shape, CodeBook([case.case_id for case in cases], codes)


def fit_affine(source: AnyCase, target: AnyCase) -> Floats:
    """Fit the affine map between the unit frames of two cases that matches their centroids in least squares.

    First a similarity transform (Umeyama, IEEE TPAMI 1991), which few centroids determine well; then shear and
    anisotropic scale, regularised by `STIFFNESS`. A mirrored heart is matched with a mirrored map where that fits much
    better, so that a wrong orientation in a header has no effect.

    Args:
        source: the case to be aligned.
        target: the case to be aligned to.

    Returns:
        (3, 4) float64, from the source's unit coordinates to the target's; the identity where no structure is complete
        in both.
    """
    both = ~np.isnan(source.centroids).any(axis=1) & ~np.isnan(target.centroids).any(axis=1)
    to_mm, from_mm = np.array(source.size_mm) / 2, 2 / np.array(target.size_mm)
    if not both.any():
        return np.eye(3, 4)
    points = source.centroids[both].astype(np.float64) * to_mm
    wanted = target.centroids[both].astype(np.float64) / from_mm
    mean, wanted_mean = points.mean(axis=0), wanted.mean(axis=0)
    points, wanted = points - mean, wanted - wanted_mean
    linear = np.eye(3)
    if len(points) >= MIN_CENTROIDS:
        similarity = _fit_similarity(points, wanted)
        variance = float(np.square(points).sum()) / 3
        ridge = STIFFNESS * variance * np.eye(3)
        linear = np.linalg.solve(points.T @ points + ridge, points.T @ wanted + ridge @ similarity.T).T
    shift = wanted_mean - linear @ mean
    return np.c_[from_mm[:, None] * linear * to_mm, from_mm * shift]


def _fit_similarity(points: Floats, wanted: Floats) -> Floats:
    """(3, 3) rotation times scale, with a reflection only where that more than halves the squared error."""
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
