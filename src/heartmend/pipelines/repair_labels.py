"""Repair one label map in memory with a trained model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from heartmend.errors import BadInputError
from heartmend.geometry.distance import DistanceMap
from heartmend.geometry.grid import Grid
from heartmend.models.code_book import CodeBook
from heartmend.models.heart_model import HeartModel
from heartmend.repair.change_log import ChangeLog
from heartmend.stages.embed import EmbedSettings, place_case
from heartmend.stages.fuse import FuseSettings, RefinedCase, fuse_case
from heartmend.stages.prepare import PrepareSettings, prepare_labels
from heartmend.stages.refine import RefineSettings, refine_case
from heartmend.types import Labels

CASE_ID = "labels"


@dataclass(frozen=True, eq=False)
class RepairedLabels:
    """A repaired label map.

    Attributes:
        labels: (x, y, z), in the data type of the input.
        affine: (4, 4), voxel index to RAS+ mm, as it was given.
        changes: what was changed, and which repaired structures were accepted.
    """

    labels: npt.NDArray[np.generic]
    affine: npt.NDArray[np.float64]
    changes: ChangeLog

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self.labels, dtype=dtype, copy=copy) if copy else np.asarray(self.labels, dtype=dtype)


def repair_labels(
    labels: npt.NDArray[np.generic],
    affine: npt.NDArray[np.floating],
    model: HeartModel,
    *,
    image: npt.NDArray[np.generic] | None = None,
    structures: tuple[str, ...] = (),
    seed: int = 0,
) -> RepairedLabels:
    """Repair one label map in memory with a trained model.

    The weights of the model stay frozen; only the latent code of this heart is optimised. The same label map in a file
    gives the same result with `embed`.

    Args:
        labels: (x, y, z) of whole numbers, in the ids of the model's anatomy. It is not changed.
        affine: (4, 4), voxel index to RAS+ mm.
        model: the model.
        image: (x, y, z) CT in HU on the same voxels; None: labels alone.
        structures: names of the structures to repair; empty: all of them.
        seed: of the points that are drawn.

    Returns:
        The repaired label map, and what was changed.

    Raises:
        BadInputError: if the array is no label map of the anatomy, or the image has another shape.
        FitError: if the label map has none of the structures of the model's template.
    """
    original = _checked(labels, model)
    grid = Grid(original.shape, np.asarray(affine, dtype=np.float64))
    if image is not None and image.shape != original.shape:
        raise BadInputError(f"image: has the shape {image.shape}, the label map {original.shape}; resample one of them")
    names = tuple(model.anatomy.by_name(name).name for name in structures)
    prepared = prepare_labels(CASE_ID, original, grid, model.anatomy, PrepareSettings())
    code = place_case(model, prepared, EmbedSettings(), seed)
    fitted = (model.shape.template, CodeBook([CASE_ID], {name: value.detach() for name, value in code.items()}))
    heads = model.anatomy.select(without_kinds=("tube",))
    with torch.no_grad():
        distances, _ = refine_case(fitted, prepared, heads, RefineSettings(), model.lowest_surface_noise_mm2)
    maps = {
        name: DistanceMap.of_mm(distance, keep_inside=True)
        for name, distance in distances.items()
        if not names or name in names
    }
    fused = fuse_case(
        RefinedCase(original, prepared, maps, image), model.anatomy, FuseSettings(), names, model.calibres
    )
    return RepairedLabels(fused.labels.astype(labels.dtype), np.array(affine, dtype=np.float64), fused.log)


def _checked(labels: npt.NDArray[np.generic], model: HeartModel) -> Labels:
    """The label map as uint8."""
    if labels.ndim != 3:
        raise BadInputError(f"labels: has {labels.ndim} axes (shape {labels.shape}), a label map has 3")
    values = np.unique(labels)
    unknown = [value for value in values.tolist() if value not in (0, *model.anatomy.ids)]
    if unknown:
        known = ", ".join(f"{s.id} {s.name}" for s in model.anatomy.structures)
        some = ", ".join(f"{value:g}" for value in unknown[:5])
        raise BadInputError(f"labels: has the values {some}, which anatomy {model.anatomy.name} does not have: {known}")
    return np.asarray(labels, dtype=np.uint8)
