"""Voxel classifiers of a cohort: which ones are trained, and their training from the labels and images of all cases."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from heartmend.errors import FitError, HeartmendError
from heartmend.geometry.boxes import bounding_box
from heartmend.repair.voxel_classifier.classifier import VoxelClassifier
from heartmend.repair.voxel_classifier.classifier_file import VoxelClassifiers
from heartmend.repair.voxel_classifier.features import REACH, Image
from heartmend.repair.voxel_classifier.isotropic import isotropic_image, isotropic_mask
from heartmend.repair.voxel_classifier.training import ClassifierSettings, train_classifier
from heartmend.types import Labels, Mask

MIN_IMAGES = 5
"""With fewer images in a cohort, classifiers are trained on labels alone."""
MARGIN_VOXELS = REACH + 4
"""An image is read within so many voxels of a label; what is farther out gives no information about it."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ClassifierCase:
    """Case for the training of voxel classifiers.

    Attributes:
        case_id: id of the case.
        labels: (x, y, z) uint8, the prepared label map.
        spacing_mm: voxel spacing.
        read_image: function that reads the CT image (x, y, z) in HU on the same voxels; None for a case without one.
    """

    case_id: str
    labels: Labels
    spacing_mm: tuple[float, float, float]
    read_image: Callable[[], npt.NDArray[np.generic] | None] | None = None


def classifiers_wanted(
    names: Sequence[str], image_names: Collection[str], cases: int, images: int
) -> list[tuple[str, bool]]:
    """List the classifiers to train.

    A structure gets a classifier that reads images where its anatomy allows it and enough cases have one; and one that
    reads labels alone, unless the first serves all cases.

    Args:
        names: structures that are repaired by voxel classifiers.
        image_names: those of them whose images may be read.
        cases: number of cases.
        images: number of cases with an image.

    Returns:
        Name of the structure, and whether the classifier reads images.

    Example:
        >>> classifiers_wanted(["LAA"], ["LAA"], cases=6, images=5)
        [('LAA', True), ('LAA', False)]
    """
    wanted = []
    for name in names:
        reads_images = name in image_names and images >= MIN_IMAGES
        wanted += [(name, True)] if reads_images else []
        wanted += [(name, False)] if not reads_images or images < cases else []
    return wanted


def train_classifiers(
    cases: Sequence[ClassifierCase],
    heads: Mapping[str, int],
    wanted: Sequence[tuple[str, bool]],
    settings: ClassifierSettings,
    seed: int = 0,
    report: Callable[[int, float], None] | None = None,
) -> VoxelClassifiers:
    """Train the voxel classifiers of a cohort.

    Args:
        cases: the cases.
        heads: name -> id of the structures.
        wanted: the classifiers, as `classifiers_wanted` lists them. One of a structure that no case has is left out.
        settings: settings of the training.
        seed: seed of all random draws.
        report: called with the steps done and the loss.

    Returns:
        The classifiers.

    Raises:
        FitError: if a weight is NaN or infinite.
    """
    step_mm = float(np.median([min(case.spacing_mm) for case in cases]))
    by_labels, by_images = dict[str, VoxelClassifier](), dict[str, VoxelClassifier]()
    for number, (name, reads_images) in enumerate(wanted):
        with_structure = [case for case in cases if (case.labels == heads[name]).any()]
        masks, images = _isotropic_masks(with_structure, heads[name], step_mm, reads_images)
        if not masks:
            continue
        report_from = None if report is None else partial(_report, report, number * settings.steps)
        classifier = train_classifier(masks, settings, seed, report_from, images)
        if not all(bool(value.isfinite().all()) for value in classifier.net.state_dict().values()):
            raise FitError(
                f"{name}: a weight of its voxel classifier is NaN or infinite; lower fit.voxel_classifier.rate"
            )
        (by_images if reads_images else by_labels)[name] = classifier
    return VoxelClassifiers(step_mm, by_labels, by_images)


def _isotropic_masks(
    cases: Sequence[ClassifierCase], id: int, step_mm: float, reads_images: bool
) -> tuple[list[Mask], list[Image] | None]:
    """Masks on isotropic voxels; with images only about the label, of the cases that have one, and these images."""
    if not reads_images:
        return [isotropic_mask(case.labels == id, case.spacing_mm, step_mm) for case in cases], None
    masks, images = [], []
    for case in cases:
        mask = case.labels == id
        try:
            image = None if case.read_image is None else case.read_image()
        except HeartmendError as error:  # `refine` skips the case
            log.warning("case %s: its image is not used for training: %s", case.case_id, error)
            continue
        box = bounding_box(mask, [int(np.ceil(MARGIN_VOXELS * step_mm / side)) for side in case.spacing_mm])
        if image is None or box is None:
            continue
        masks.append(isotropic_mask(mask[box], case.spacing_mm, step_mm))
        images.append(isotropic_image(image[box], case.spacing_mm, step_mm))
    return masks, images


def _report(report: Callable[[int, float], None], steps_before: int, step: int, loss: float) -> None:
    report(steps_before + step, loss)
