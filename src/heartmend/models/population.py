"""The space of hearts: the mean, how hearts differ, the way between two, and how usual one is.

A heart's form is its affine map and its field, measured in mm: two forms are as far apart as their maps move points of
the box, root mean square. Where the box lies about the heart is no form and does not count. Details (thin vessels
above all) are each heart's own; they take part only in the way between two.
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
from heartmend.models.unified import blended

Floats = npt.NDArray[np.float64]
_FRAME_VOXELS = 128
_NORMAL_MAD = 1.4826


@dataclass(frozen=True, eq=False)
class Modes:
    """Principal modes of the forms of a cohort (Cootes et al. 1995, here of deformations).

    mean: (d,) the mean form; directions: (k, d), orthonormal; deviations_mm: (k,) standard deviations along them,
    largest first; scores: (cases, k) each heart along them, in standard deviations.
    """

    mean: Floats
    directions: Floats
    deviations_mm: Floats
    scores: Floats


@dataclass(frozen=True)
class Plausibility:
    """How usual a heart is among the others. distance_mm: from their mean; reconstruction_residual_mm: what no mixture of the
    others can say; unusual: how many robust standard deviations that lies above what is common (3 is rare)."""

    case_id: str
    distance_mm: float
    reconstruction_residual_mm: float
    unusual: float


def principal_modes(model: HeartModel, count: int = 3) -> Modes:
    """The first modes of the model's hearts, fewer than there are hearts; ConfigError below three hearts."""
    forms = _forms(model)
    if len(forms) < 3:
        raise ConfigError(f"modes need three hearts or more; the model holds {len(forms)}")
    mean, directions, deviations = _modes(forms)
    count = min(count, len(directions))
    scores = (forms - mean) @ directions[:count].T / np.maximum(deviations[:count], 1e-12)
    return Modes(mean, directions[:count], deviations[:count], scores)


def heart_of_form(model: HeartModel, form: Floats) -> Heart:
    """The heart with a form (d,), such as `modes.mean` or a step along a mode from it. It has no details."""
    size = _mean_size(model)
    affine = form[:9].reshape(3, 3) / (np.sqrt(1 / 3) * size / 2)[:, None]
    field = model.codes.values["field"]
    shift = model.codes.values["affine"].detach().mean(dim=0)[:, 3]
    controls = field.shape[-1]
    moved = form[9:].reshape(3, -1) * np.sqrt(controls**3) / (size / 2)[:, None]
    code = {
        "affine": torch.cat([torch.from_numpy(affine + np.eye(3)).float(), shift[:, None]], dim=1)[None],
        "field": torch.from_numpy(moved.reshape(1, 3, controls, controls, controls)).float(),
        **model.shape.empty_details(),
    }
    lacking = [head for head in model.shape.heads if head not in model.shape.template.heads]
    return Heart(code, _frame(size), tuple(lacking))


def between(model: HeartModel, first: str, second: str, share: float) -> Heart:
    """The heart on the straight way from one case (share 0) to another (share 1); details of both fade."""
    a, b = model.heart(first), model.heart(second)
    code = {name: (1 - share) * a.code[name].detach() + share * b.code[name].detach() for name in ("affine", "field")}
    code |= blended(a.code, b.code, share)
    size = (1 - share) * np.array(a.frame.size_mm) + share * np.array(b.frame.size_mm)
    return Heart(code, _frame(size), tuple(name for name in a.absent if name in b.absent))


def plausibility(model: HeartModel) -> list[Plausibility]:
    """How usual each heart of the model is among the others, in the order of its ids; ConfigError below four hearts."""
    forms = _forms(model)
    if len(forms) < 4:
        raise ConfigError(f"how usual a heart is needs four hearts or more; the model holds {len(forms)}")
    far, left = [], []
    for row, form in enumerate(forms):
        mean, directions, _ = _modes(np.delete(forms, row, axis=0))
        apart = form - mean
        far.append(float(np.linalg.norm(apart)))
        left.append(float(np.linalg.norm(apart - directions.T @ (directions @ apart))))
    middle = float(np.median(left))
    spread = max(_NORMAL_MAD * float(np.median(np.abs(np.array(left) - middle))), 1e-6)
    return [
        Plausibility(id, round(f, 3), round(u, 3), round((u - middle) / spread, 2))
        for id, f, u in zip(model.codes.ids, far, left, strict=True)
    ]


def _forms(model: HeartModel) -> Floats:
    """(cases, d): every heart's form, scaled so that lengths are mm."""
    size = _mean_size(model)
    affine = model.codes.values["affine"].detach().cpu().numpy().astype(np.float64)[:, :, :3]
    field = model.codes.values["field"].detach().cpu().numpy().astype(np.float64)
    sizes = np.array([model.frames[id].size_mm for id in model.codes.ids])
    # From mm about the box's middle: a large heart in a large box is large.
    linear = affine * (size / sizes)[:, None, :] - np.eye(3)
    turned = linear * (np.sqrt(1 / 3) * size / 2)[:, None]
    moved = field.reshape(len(field), 3, -1) * (size / 2)[:, None] / np.sqrt(field[0, 0].size)
    return np.concatenate([turned.reshape(len(field), -1), moved.reshape(len(field), -1)], axis=1)


def _modes(forms: Floats) -> tuple[Floats, Floats, Floats]:
    mean = forms.mean(axis=0)
    _, strength, directions = np.linalg.svd(forms - mean, full_matrices=False)
    kept = strength > 1e-9 * max(float(strength[0]), 1e-12)
    directions = directions[kept]
    # A sign that does not hang on the machine.
    largest = directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)]
    directions = directions * np.sign(largest)[:, None]
    return mean, directions, strength[kept] / np.sqrt(len(forms) - 1)


def _mean_size(model: HeartModel) -> Floats:
    return np.mean([model.frames[id].size_mm for id in model.codes.ids], axis=0)


def _frame(size_mm: Floats | Sequence[float]) -> Roi:
    """A box of this size with its middle at zero, for a heart that no scan has shown."""
    steps = np.asarray(size_mm) / _FRAME_VOXELS
    affine = np.diag([*steps, 1.0])
    affine[:3, 3] = -np.asarray(size_mm) / 2 + steps / 2
    return Roi(Grid((_FRAME_VOXELS,) * 3, affine), (0, 0, 0), (_FRAME_VOXELS,) * 3)
