"""Render a heart as a volume on any grid, from a model file or from the folder of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from heartmend.errors import ConfigError, RunError
from heartmend.geometry.distance import DistanceMap
from heartmend.io.label_writing import as_values
from heartmend.io.nifti import write_volume
from heartmend.io.volume import read_volume_header
from heartmend.models.heart_model import evaluate_distances, evaluate_labels
from heartmend.models.label_decision import LOGISTIC_SCALE_MM, inside_probability
from heartmend.models.lattice import evaluate_case
from heartmend.models.model_file import load_heart_model
from heartmend.repair.fusion import fuse
from heartmend.run_folder.folder import RunFolder, model_file


@dataclass(frozen=True)
class RenderSettings:
    """How a heart is rendered.

    Attributes:
        resolution: cells along each side of the heart's box, in the axes right, anterior, superior.
        reference_image: volume whose grid is used instead.
        probability_of: name of a structure whose probability is written in place of a label map; empty: none.
    """

    resolution: int = 128
    reference_image: Path | None = None
    probability_of: str = ""


def write_render(model: Path, case_id: str, output: Path, settings: RenderSettings | None = None) -> None:
    """Write a case of a model as NIfTI: a label map (uint8), or the probability of a structure (float32).

    Args:
        model: a model file, or the folder of a run. Of a run that is fitted but not unified the shape of `fit` is
            evaluated, which has no thin vessels.
        case_id: id of the case.
        output: the file to write.
        settings: how it is rendered.

    Raises:
        BadInputError: if the file is not a model.
        RunError: if the run has no model.
        ConfigError: if the case or the structure is not in the model, or a reference image is given for a run that is
            not unified.
    """
    settings = settings or RenderSettings()
    if model.is_dir() and not _is_unified(model):
        if settings.reference_image is not None:
            raise ConfigError(
                f"{model}: is not unified yet, and the shape of `fit` cannot be rendered with --reference-image; "
                "run `heartmend unify`"
            )
        _write_fitted(RunFolder.at(model), case_id, output, settings)
        return
    found = load_heart_model(model_file(model))
    heart = found.heart(case_id)
    reference = settings.reference_image
    grid = heart.frame.grid_at(settings.resolution) if reference is None else read_volume_header(reference)[1]
    if not settings.probability_of:
        write_volume(as_values(evaluate_labels(found, heart, grid), found.anatomy), grid, output)
        return
    name = found.anatomy.by_name(settings.probability_of).name
    if name not in found.shape.heads:
        raise ConfigError(f"{name} is not part of the model; it has {', '.join(found.shape.heads)}")
    write_volume(inside_probability(evaluate_distances(found, heart, grid)[name]).astype("float32"), grid, output)


def _write_fitted(run: RunFolder, case_id: str, output: Path, settings: RenderSettings) -> None:
    """Write the shape of `fit` alone, (n, n, n) in the axes right, anterior, superior."""
    shape, codes = run.fitted()
    anatomy, roi = run.anatomy(), run.roi(case_id)
    logits = evaluate_case(shape, codes, case_id, roi, settings.resolution)
    grid = roi.grid_at(settings.resolution)
    if not settings.probability_of:
        maps = {name: DistanceMap.of_mm(values, keep_inside=True) for name, values in logits.items()}
        write_volume(as_values(fuse(maps, anatomy, grid.spacing_mm), anatomy), grid, output)
        return
    name = anatomy.by_name(settings.probability_of).name
    if name not in logits:
        raise ConfigError(f"{name} is not part of the fit; it has {', '.join(logits)}")
    scale = LOGISTIC_SCALE_MM if shape.is_distance else 1.0
    write_volume(1 / (1 + np.exp(-logits[name] / scale)), grid, output)


def _is_unified(folder: Path) -> bool:
    try:
        RunFolder.at(folder).model_path()
    except RunError:
        return False
    return True
