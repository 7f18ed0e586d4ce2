"""Repair of one label map in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from heartmend.anatomy.calibre import Calibre
from heartmend.anatomy.load import load_anatomy
from heartmend.anatomy.schema import Anatomy
from heartmend.compute.workers import one_thread
from heartmend.errors import BadInputError
from heartmend.geometry.distance import DistanceMap
from heartmend.geometry.grid import Grid
from heartmend.io.label_maps import UnknownLabels, check_labels
from heartmend.io.label_meaning import LabelTable, own_meaning
from heartmend.io.label_tables import given_meaning
from heartmend.io.label_writing import restore_values
from heartmend.models.code_book import CodeBook
from heartmend.models.heart_model import HeartModel
from heartmend.models.model_file import load_heart_model
from heartmend.models.prior import Prior, load_built_in_prior, prior_heart
from heartmend.repair.change_log import ChangeLog
from heartmend.repair.changes import Change
from heartmend.repair.shape_label_fusion import PRIOR_LOCAL_MISFIT
from heartmend.run_folder.folder import model_file
from heartmend.stages.embed import EmbedSettings, place_models, present_heads
from heartmend.stages.fuse.case import fuse_case
from heartmend.stages.fuse.corrected import RefinedCase
from heartmend.stages.fuse.settings import FuseSettings
from heartmend.stages.prepare import PrepareSettings, prepare_labels
from heartmend.stages.refine import RefineSettings, refine_case
from heartmend.training.placement import select_heads
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
        heart: the heart of the prior that was deformed to it; empty where a model was given, or none was used.
    """

    labels: npt.NDArray[np.generic]
    affine: npt.NDArray[np.float64]
    changes: ChangeLog
    heart: str = ""

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[np.generic]:
        """Convert to an array of the labels."""
        return np.array(self.labels, dtype=dtype, copy=copy)


def repair_labels(
    labels: npt.ArrayLike,
    affine: npt.ArrayLike,
    model: HeartModel | str | PathLike[str] | None = None,
    *,
    image: npt.ArrayLike | None = None,
    structures: str | Sequence[str] = (),
    unknown_labels: UnknownLabels = "error",
    seed: int = 0,
    ids: str | PathLike[str] | Mapping[int, str] | LabelTable | None = None,
    preset_ids: str = "",
) -> RepairedLabels:
    """Repair one label map in memory, with the prior that is part of Heartmend or a trained model.

    The weights of the model stay frozen; only the latent code of this heart is optimised. Without an image, the same
    label map in a file gives the same result with `heartmend repair`, and with a model with `embed`.

    Args:
        labels: (x, y, z) of whole numbers of any type: ids of the model's anatomy, or the values of `ids` or
            `preset_ids`. It is not changed.
        affine: (4, 4), voxel index to RAS+ mm.
        model: a model of hearts of the same kind, its file, or the folder of a run that made one; None: the prior of
            the anatomy `heart` that is part of Heartmend.
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
        FitError: if the label map has none of the structures of the template of `model`.

    Example:
        ``fixed = hm.repair_labels(labels, affine)``; ``fixed.labels`` is the repaired map, ``fixed.changes`` the list
        of all changes.
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
    if model is None:
        prior, anatomy = load_built_in_prior("heart"), load_anatomy("heart")
    else:
        prior = (model if isinstance(model, HeartModel) else load_heart_model(model_file(Path(model))),)
        anatomy = prior[0].anatomy
    names = structures.split(",") if isinstance(structures, str) else structures
    wanted = tuple(anatomy.by_name(name.strip()).name for name in names if name.strip())
    table = Path(ids) if isinstance(ids, str | PathLike) else ids
    meaning = given_meaning(table, preset_ids, anatomy) or own_meaning(anatomy, with_optional=True)
    original, unknown = check_labels(given, anatomy, unknown_labels, meaning=meaning)
    # With one thread, as a worker of `embed` does it: the last bit of a sum depends on the number of threads.
    with one_thread():
        found = repair_case(prior, anatomy, OneCase(original, grid, hu, wanted), is_own=model is not None, seed=seed)
    return RepairedLabels(restore_values(found.labels, given, meaning, grid, unknown), world, found.log, found.heart)


@dataclass(frozen=True, eq=False)
class OneCase:
    """A label map that is repaired alone.

    Attributes:
        labels: (x, y, z) uint8, in the ids of the anatomy.
        grid: grid of the label map.
        image: (x, y, z) CT in HU on the same voxels; None: labels alone.
        structures: names of the structures that may change; empty: all of them.
    """

    labels: Labels
    grid: Grid
    image: npt.NDArray[np.generic] | None = None
    structures: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class RepairedCase:
    """A label map that was repaired alone.

    Attributes:
        labels: (x, y, z) uint8, the repaired label map, in the ids of the anatomy.
        log: what was changed.
        heart: the heart that was deformed to it, of a prior; empty where none was.
    """

    labels: Labels
    log: ChangeLog
    heart: str = ""


def repair_case(prior: Prior, anatomy: Anatomy, case: OneCase, *, is_own: bool, seed: int = 0) -> RepairedCase:
    """Repair one label map: the stages prepare, place, refine and fuse.

    Args:
        prior: the models, of which the one that fits best is used.
        anatomy: the anatomy.
        case: the label map.
        is_own: whether the models are of the population of the label map; else they count only where they fit.
        seed: seed of the sampled points.

    Returns:
        The repaired label map, and what was changed.

    Raises:
        BadInputError: if the label map has no structure of the anatomy.
        FitError: if it has none of the structures of models of its own population.
    """
    if not is_own:
        ids = np.unique(case.labels)
        anatomy = anatomy.without_absent([name for name, id in anatomy.select().items() if id in ids])
    prepared = prepare_labels(CASE_ID, case.labels, case.grid, anatomy, PrepareSettings())
    maps, remarks, calibres, heart = dict[str, DistanceMap](), tuple[Change, ...](), dict[str, Calibre](), ""
    margins_mm, misfits_mm = dict[str, float | None](), dict[str, float]()
    if is_own or all(present_heads(model, prepared.cleaned) for model in prior):
        every = place_models(prior, prepared, EmbedSettings(), seed, is_own=is_own)
        placed = min(every, key=lambda one: one.error_mm)
        model, codes = placed.model, {name: value.detach() for name, value in placed.code.items()}
        heads = anatomy.select(without_kinds=("tube",))
        settings = RefineSettings() if is_own else RefineSettings(local_misfit=PRIOR_LOCAL_MISFIT)
        template = model.shape.template
        if not is_own:
            template = select_heads(template, [name for name in template.heads if name in heads])
        fitted = template, CodeBook([CASE_ID], codes)
        with torch.no_grad():
            found = refine_case(
                fitted, prepared, anatomy, heads, settings, model.lowest_surface_noise_mm2,
                is_confused=placed.is_confused,
            )  # fmt: skip
        maps = {name: one for name, one in found.maps.items() if not case.structures or name in case.structures}
        remarks, calibres, heart = found.changes, model.calibres, prior_heart(model)
        margins_mm, misfits_mm = found.margins, found.misfits_mm
    refined = RefinedCase(
        case.labels, prepared, maps, case.image, remarks, margins_mm=margins_mm, misfits_mm=misfits_mm
    )
    fused = fuse_case(refined, anatomy, FuseSettings(), case.structures, calibres)
    return RepairedCase(fused.labels, fused.log, heart)
