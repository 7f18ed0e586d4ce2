"""Reconstruction accuracy of a model: its label map of a case against the map that it was fitted to."""

from __future__ import annotations

from dataclasses import replace

from heartmend.metrics.overlap import dice
from heartmend.models.code_book import CodeBook
from heartmend.models.heart_model import Fields, HeartModel, evaluate_distances
from heartmend.models.label_decision import decide_labels
from heartmend.types import Labels


def evaluate_in_roi(model: HeartModel, case_id: str) -> Fields:
    """Evaluate the signed distances of a case on the voxels of its ROI.

    Args:
        model: the model.
        case_id: id of a case of the model.

    Returns:
        Signed distances in mm by structure, on the voxels of the ROI.
    """
    heart = model.heart(case_id)
    return evaluate_distances(model, heart, heart.frame.source_grid())


def reconstruction_dice(model: HeartModel, case_id: str, labels: Labels) -> dict[str, float]:
    """Compute the Dice of each structure of a case, as the model reconstructs it.

    Args:
        model: the model.
        case_id: id of a case of the model.
        labels: (x, y, z) uint8, the map that the model was fitted to, on the voxels of the ROI.

    Returns:
        Dice by structure.
    """
    reconstructed = decide_labels(evaluate_in_roi(model, case_id), model.anatomy, model.thresholds)
    ids = {name: model.anatomy.by_name(name).id for name in model.shape.heads}
    return {name: dice(reconstructed == id, labels == id) for name, id in ids.items()}


def single_case(model: HeartModel, case_id: str) -> HeartModel:
    """Reduce a model to one of its cases, to be sent to another process.

    Args:
        model: the model.
        case_id: id of a case of the model.

    Returns:
        The model of this case.
    """
    codes = CodeBook([case_id], model.codes.of([case_id]))
    return replace(model, codes=codes, frames={case_id: model.frames[case_id]}, absent={case_id: model.absent[case_id]})
