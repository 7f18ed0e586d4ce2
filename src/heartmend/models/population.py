"""Statistics of a population of hearts: mean, principal modes, interpolation and outliers.

The form of a heart is its affine map and its field, scaled to mm: the distance of two forms is the root mean square by
which their maps move the points of the box differently. The position of the box around the heart is not part of the
form. Details (above all thin vessels) belong to each heart; only the interpolation includes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from heartmend.errors import ConfigError
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.models.heart_model import Heart, HeartModel
from heartmend.models.unified import blend_details

Floats = npt.NDArray[np.float64]
_FRAME_VOXELS = 128
_NORMAL_MAD = 1.4826
"""Standard deviation of a normal distribution, in units of its median absolute deviation."""


@dataclass(frozen=True, eq=False)
class Modes:
    """Principal modes of the forms of a cohort (Cootes et al. 1995, here of deformations).

    Attributes:
        mean: (d,) float64, the mean form.
        directions: (k, d) float64, orthonormal.
        deviations_mm: (k,) float64, standard deviation along each direction, largest first.
        scores: (cases, k) float64, position of each heart along them, in standard deviations.
    """

    mean: Floats
    directions: Floats
    deviations_mm: Floats
    scores: Floats


@dataclass(frozen=True)
class OutlierScore:
    """Deviation of one heart from the others of its cohort.

    Attributes:
        case_id: id of the case.
        distance_mm: distance to the mean of the others.
        reconstruction_residual_mm: distance to the nearest linear combination of the others.
        outlier_z: robust z-score of the residual; more than 3 is rare.
    """

    case_id: str
    distance_mm: float
    reconstruction_residual_mm: float
    outlier_z: float


def principal_modes(model: HeartModel, count: int = 3) -> Modes:
    """Compute the principal modes of a model's hearts.

    Args:
        model: the model.
        count: largest number of modes; there are fewer modes than hearts.

    Returns:
        The modes.

    Raises:
        ConfigError: if the model has fewer than three hearts.
    """
    forms = _forms(model)
    if len(forms) < 3:
        raise ConfigError(f"modes need at least three hearts; the model contains {len(forms)}")
    mean, directions, deviations = _modes(forms)
    count = min(count, len(directions))
    scores = (forms - mean) @ directions[:count].T / np.maximum(deviations[:count], 1e-12)
    return Modes(mean, directions[:count], deviations[:count], scores)


def heart_from_form(model: HeartModel, form: Floats) -> Heart:
    """Create the heart of a form, such as the mean or a point along a mode.

    Args:
        model: the model.
        form: (d,) the form.

    Returns:
        The heart, without details.
    """
    size = _mean_size(model)
    affine = form[:9].reshape(3, 3) / (np.sqrt(1 / 3) * size / 2)[:, None]
    field = model.codes.values["field"]
    shift = model.codes.values["affine"].detach().mean(dim=0)[:, 3]
    controls = field.shape[-1]
    displacement = form[9:].reshape(3, -1) * np.sqrt(controls**3) / (size / 2)[:, None]
    code = {
        "affine": torch.cat([torch.from_numpy(affine + np.eye(3)).float(), shift[:, None]], dim=1)[None],
        "field": torch.from_numpy(displacement.reshape(1, 3, controls, controls, controls)).float(),
        **model.shape.empty_details(),
    }
    absent = [head for head in model.shape.heads if head not in model.shape.template.heads]
    return Heart(code, _frame(size), tuple(absent))


def interpolate_hearts(model: HeartModel, first: str, second: str, share: float) -> Heart:
    """Interpolate linearly between two hearts; the details of both fade.

    Args:
        model: the model.
        first: id of the case that a share of 0 gives.
        second: id of the case that a share of 1 gives.
        share: position between the two.

    Returns:
        The heart.

    Raises:
        ConfigError: if the model does not contain one of the cases.
    """
    a, b = model.heart(first), model.heart(second)
    code = {name: (1 - share) * a.code[name].detach() + share * b.code[name].detach() for name in ("affine", "field")}
    code |= blend_details(a.code, b.code, share)
    size = (1 - share) * np.array(a.frame.size_mm) + share * np.array(b.frame.size_mm)
    return Heart(code, _frame(size), tuple(name for name in a.absent if name in b.absent))


def outlier_scores(model: HeartModel) -> list[OutlierScore]:
    """Compute the deviation of each heart of a model from all others.

    Args:
        model: the model.

    Returns:
        The scores in the order of the model's case ids.

    Raises:
        ConfigError: if the model has fewer than four hearts.
    """
    forms = _forms(model)
    if len(forms) < 4:
        raise ConfigError(f"outlier scores need at least four hearts; the model contains {len(forms)}")
    distances, residuals = [], []
    for row, form in enumerate(forms):
        mean, directions, _ = _modes(np.delete(forms, row, axis=0))
        difference = form - mean
        distances.append(float(np.linalg.norm(difference)))
        residuals.append(float(np.linalg.norm(difference - directions.T @ (directions @ difference))))
    median = float(np.median(residuals))
    spread = max(_NORMAL_MAD * float(np.median(np.abs(np.array(residuals) - median))), 1e-6)
    return [
        OutlierScore(id, round(distance, 3), round(residual, 3), round((residual - median) / spread, 2))
        for id, distance, residual in zip(model.codes.ids, distances, residuals, strict=True)
    ]


def _forms(model: HeartModel) -> Floats:
    """(cases, d): the form of every heart, scaled so that lengths are in mm."""
    size = _mean_size(model)
    affine = model.codes.values["affine"].detach().cpu().numpy().astype(np.float64)[:, :, :3]
    field = model.codes.values["field"].detach().cpu().numpy().astype(np.float64)
    sizes = np.array([model.frames[id].size_mm for id in model.codes.ids])
    # From mm about the centre of the box: a large heart in a large box is large.
    linear = affine * (size / sizes)[:, None, :] - np.eye(3)
    scaled = linear * (np.sqrt(1 / 3) * size / 2)[:, None]
    displacement = field.reshape(len(field), 3, -1) * (size / 2)[:, None] / np.sqrt(field[0, 0].size)
    return np.concatenate([scaled.reshape(len(field), -1), displacement.reshape(len(field), -1)], axis=1)


def _modes(forms: Floats) -> tuple[Floats, Floats, Floats]:
    mean = forms.mean(axis=0)
    _, strength, directions = np.linalg.svd(forms - mean, full_matrices=False)
    kept = strength > 1e-9 * max(float(strength[0]), 1e-12)
    directions = directions[kept]
    # The sign must not depend on the machine.
    largest = directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)]
    directions = directions * np.sign(largest)[:, None]
    return mean, directions, strength[kept] / np.sqrt(len(forms) - 1)


def _mean_size(model: HeartModel) -> Floats:
    return np.mean([model.frames[id].size_mm for id in model.codes.ids], axis=0)


def _frame(size_mm: Floats | Sequence[float]) -> Roi:
    """A box of this size centred at the origin, for a heart without a scan."""
    steps = np.asarray(size_mm) / _FRAME_VOXELS
    affine = np.diag([*steps, 1.0])
    affine[:3, 3] = -np.asarray(size_mm) / 2 + steps / 2
    return Roi(Grid((_FRAME_VOXELS,) * 3, affine), (0, 0, 0), (_FRAME_VOXELS,) * 3)
