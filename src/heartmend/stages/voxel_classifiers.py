"""surroundings: the part of stage 1 for structures that have no shape in common (`repair_method = "voxel_classifier"`).

Learned beside the template, from the prepared labels of all cases and from their images; read when cases are refined.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from heartmend.errors import FitError, HeartmendError
from heartmend.geometry.boxes import filled_box
from heartmend.io.dataset import Cohort
from heartmend.io.digests import fingerprint
from heartmend.repair.voxel_classifier.classifier import REACH, ClassifierSettings, Image, VoxelClassifier, learn
from heartmend.repair.voxel_classifier.classifier_file import VoxelClassifiers, even, even_image, save_classifiers
from heartmend.run_folder.folder import Run
from heartmend.run_folder.records import PREPARED, PreparedCase, roi_image
from heartmend.types import Mask

VERB = "voxel_classifier"
MODEL_FILE = "model.safetensors"

FEWEST_IMAGES = 5
"""With fewer images in a cohort labels alone are learned."""
MARGIN = REACH + 4
"""Of an image so many voxels about a label are looked at, and what lies farther out tells nothing of it."""
_LAYOUT = 2
"""Of the file; one of another layout is learned anew."""
Progress = Callable[[int, float], None]
"""ReportProgress now and then the step and the loss."""
log = logging.getLogger(__name__)


def classifiers_wanted(
    case_ids: Sequence[str], heads: dict[str, int], images: Cohort | None = None
) -> list[tuple[str, bool]]:
    """The judges to learn: each structure's name, and whether it looks at images.

    images: the cohort, if its images are to be looked at. A structure has a judge that does, if its anatomy allows it
    and five cases have an image; and one that looks at labels alone, unless all cases have one.
    """
    shown = [id for id in case_ids if images is not None and images[id].image_path is not None]
    wanted = []
    for name in heads:
        sees = images is not None and len(shown) >= FEWEST_IMAGES and images.anatomy.by_name(name).image_edges
        wanted += [(name, True)] if sees else []
        wanted += [(name, False)] if not sees or len(shown) < len(case_ids) else []
    return wanted


def train_classifiers(
    run: Run,
    case_ids: Sequence[str],
    heads: dict[str, int],
    settings: ClassifierSettings,
    *,
    images: Cohort | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Learn the judges of each structure of `heads` (name -> id) from the prepared cases of a run; returns the file.

    images as for `classifiers_wanted`. Done is done; what was cut off begins anew. A structure that no case shows is left
    out. Raises FitError when what was learned is no number.
    """
    case_ids = sorted(case_ids)
    wanted = classifiers_wanted(case_ids, heads, images)
    seeing = images if any(sees for _, sees in wanted) else None
    shown = [] if seeing is None else [path for id in case_ids if (path := seeing[id].image_path) is not None]
    path = run.folder(VERB) / MODEL_FILE
    prepared = [run.case_path(PREPARED, id, ".npz") for id in case_ids]
    stamp = fingerprint(_LAYOUT, settings, heads, seed, case_ids, wanted, *prepared, *shown)
    if run.is_done(VERB, None, stamp):
        return path
    run.forget(VERB)
    cases = [PreparedCase.load(run, id) for id in case_ids]
    step_mm = float(np.median([min(case.roi.grid.spacing_mm) for case in cases]))
    blind, sighted = dict[str, VoxelClassifier](), dict[str, VoxelClassifier]()
    for at, (name, sees) in enumerate(wanted):
        showing = [case for case in cases if (case.source == heads[name]).any()]
        masks, shows = _seen(showing, heads[name], step_mm, seeing if sees else None)
        if not masks:
            continue
        told = None if progress is None else partial(_told, progress, at * settings.steps)
        judge = learn(masks, settings, seed, told, shows)
        if not all(bool(value.isfinite().all()) for value in judge.net.state_dict().values()):
            raise FitError(
                f"{name}: what was learned of its surroundings is no number; lower fit.voxel_classifier.rate"
            )
        (sighted if sees else blind)[name] = judge
    save_classifiers(path, VoxelClassifiers(step_mm, blind, sighted))
    run.mark_done(VERB, None, stamp, [path])
    return path


def _seen(
    cases: Sequence[PreparedCase], id: int, step_mm: float, images: Cohort | None
) -> tuple[list[Mask], list[Image] | None]:
    """Masks on even voxels; with `images` only about the label, with the images there, of the cases that have one."""
    if images is None:
        return [even(case.source == id, case.roi.grid.spacing_mm, step_mm) for case in cases], None
    masks, shows = [], []
    for case in cases:
        spacing, mask = case.roi.grid.spacing_mm, case.source == id
        try:
            image = roi_image(images, images[case.case_id], case.roi)
        except HeartmendError as error:  # refine refuses the case
            log.warning("case %s: nothing is learned from its image: %s", case.case_id, error)
            continue
        box = filled_box(mask, [int(np.ceil(MARGIN * step_mm / side)) for side in spacing])
        if image is None or box is None:
            continue
        masks.append(even(mask[box], spacing, step_mm))
        shows.append(even_image(image[box], spacing, step_mm))
    return masks, shows


def _told(progress: Progress, before: int, step: int, loss: float) -> None:
    progress(before + step, loss)
