"""Repair of one label map in memory with a trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from heartmend.compute.workers import one_thread
from heartmend.errors import BadInputError
from heartmend.geometry.distance import DistanceMap
from heartmend.geometry.grid import Grid
from heartmend.io.label_maps import UnknownLabels, check_labels, restore_values
from heartmend.io.label_meaning import LabelTable, own_meaning
from heartmend.io.label_tables import given_meaning
from heartmend.models.code_book import CodeBook
from heartmend.models.heart_model import HeartModel
from heartmend.models.model_file import load_heart_model
from heartmend.repair.change_log import ChangeLog
from heartmend.run_folder.folder import model_file
from heartmend.stages.embed import EmbedSettings, place_case
from heartmend.stages.fuse import FusedCase, FuseSettings, RefinedCase, fuse_case
from heartmend.stages.prepare import PrepareSettings, prepare_labels
from heartmend.stages.refine import RefineSettings, refine_case
from heartmend.types import Labels

CASE_ID = "labels"


@dataclass(frozen=True, eq=False)
class RepairedLabels:
    """A repaired label map.

    NumPy functions accept it in place of `labels`.

    Attributes:
        labels: (x, y, z), in the data type of the input.
        affine: (4, 4), voxel index to RAS+ mm, as it was given.
        changes: what was changed, and which repaired structures were accepted.
    """

    labels: npt.NDArray[np.generic]
    affine: npt.NDArray[np.float64]
    changes: ChangeLog

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[np.generic]:
        """Convert to an array of the labels."""
        return np.array(self.labels, dtype=dtype, copy=copy)


def repair_labels(
    labels: npt.ArrayLike,
    affine: npt.ArrayLike,
    model: HeartModel | str | PathLike[str],
    *,
    image: npt.ArrayLike | None = None,
    structures: str | Sequence[str] = (),
    unknown_labels: UnknownLabels = "error",
    seed: int = 0,
    ids: str | PathLike[str] | Mapping[int, str] | LabelTable | None = None,
    preset_ids: str = "",
) -> RepairedLabels:
    """Repair one label map in memory with a trained model.

    The weights of the model stay frozen; only the latent code of this heart is optimised. Without an image, the same
    label map in a file gives the same result with `embed`.

    Args:
        labels: (x, y, z) of whole numbers of any type: ids of the model's anatomy, or the values of `ids` or
            `preset_ids`. It is not changed.
        affine: (4, 4), voxel index to RAS+ mm.
        model: the model, its file, or the folder of a run that made one.
        image: (x, y, z) CT in HU on the same voxels; None: labels alone.
        structures: names of the structures to repair, as a sequence or with commas; all of them if empty.
        unknown_labels: label ids that the anatomy does not have: "error", or "keep" keeps their voxels unchanged.
        seed: seed of the sampled points.
        ids: which structure each value is, such as {205: "Myocardium"}, or a TOML or JSON file; or a table that needs
            no check.
        preset_ids: name of a public data set whose values the label map has, such as mmwhs.

    Returns:
        The repaired label map, and what was changed.

    Raises:
        BadInputError: if the array is not a label map of the anatomy, the affine is not valid, or the image has another
            shape.
        ConfigError: if the anatomy has no such structure, or `ids` or `preset_ids` is not valid.
        FitError: if the label map has none of the structures of the model's template.
    """
    given, hu = np.asarray(labels), None if image is None else np.asarray(image)
    if given.ndim != 3:
        raise BadInputError(f"labels: the array has the shape {given.shape}; give an array (x, y, z) of one label map")
    if given.dtype.kind not in "buif":
        raise BadInputError(f"labels: the array has the data type {given.dtype}; give whole numbers")
    if hu is not None and hu.shape != given.shape:
        raise BadInputError(f"image: has the shape {hu.shape}, the label map {given.shape}; resample one of them")
    try:
        world = np.array(affine, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadInputError(f"affine: give a (4, 4) array of numbers, not {affine!r}") from error
    grid = Grid(given.shape, world)
    if not isinstance(model, HeartModel):
        model = load_heart_model(model_file(Path(model)))
    names = structures.split(",") if isinstance(structures, str) else structures
    wanted = tuple(model.anatomy.by_name(name.strip()).name for name in names if name.strip())
    table = Path(ids) if isinstance(ids, str | PathLike) else ids
    meaning = given_meaning(table, preset_ids, model.anatomy) or own_meaning(model.anatomy, with_optional=True)
    original, unknown = check_labels(given, model.anatomy, unknown_labels, meaning=meaning)
    # With one thread, as a worker of `embed` does it: the last bit of a sum depends on the number of threads.
    with one_thread():
        fused = _repair(model, original, grid, hu, wanted, seed)
    return RepairedLabels(restore_values(fused.labels, given, meaning, grid, unknown), world, fused.log)


def _repair(
    model: HeartModel, original: Labels, grid: Grid, image: npt.NDArray[np.generic] | None,
    structures: tuple[str, ...], seed: int,
) -> FusedCase:  # fmt: skip
    """The stages prepare, place, refine and fuse."""
    prepared = prepare_labels(CASE_ID, original, grid, model.anatomy, PrepareSettings())
    code = place_case(model, prepared, EmbedSettings(), seed)
    fitted = (model.shape.template, CodeBook([CASE_ID], {name: value.detach() for name, value in code.items()}))
    heads = model.anatomy.select(without_kinds=("tube",))
    with torch.no_grad():
        found = refine_case(fitted, prepared, model.anatomy, heads, RefineSettings(), model.lowest_surface_noise_mm2)
    maps = {
        name: DistanceMap.of_mm(distance, keep_inside=True)
        for name, distance in found.distances.items()
        if not structures or name in structures
    }
    refined = RefinedCase(original, prepared, maps, image, found.changes)
    return fuse_case(refined, model.anatomy, FuseSettings(), structures, model.calibres)
