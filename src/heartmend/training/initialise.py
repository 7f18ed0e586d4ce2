"""Where a fit begins: the middle case as the template, every other case laid onto it by its centroids."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from heartmend.geometry.distance import unit_frame_distance_mm
from heartmend.geometry.roi import Roi
from heartmend.models.code_book import CodeBook
from heartmend.models.feature_table import cell_centres
from heartmend.models.template import TemplateShape
from heartmend.training.alignment import align_to_medoid, medoid
from heartmend.training.case_samples import CaseSamples, CaseSummary
from heartmend.types import Labels


def initialise_template(
    heads: dict[str, int],
    targets: Sequence[CaseSamples | CaseSummary],
    middle_of: Callable[[str], tuple[Labels, Roi]],
    side: int,
    controls: int,
) -> tuple[TemplateShape, CodeBook]:
    """A template shape that is the medoid's own signed distances, and affine codes that lead each case to it.

    heads: structure name -> id; middle_of: gives the labels on the source voxels in the ROI, and the ROI, of the case
    that is the middle one. What that case got wrong is worn away by the others as the table is fitted.
    """
    goal = targets[medoid(targets)]
    source, roi = middle_of(goal.case_id)
    layers = [unit_frame_distance_mm(source, roi, goal.side, id) for id in heads.values()]
    table = torch.from_numpy(np.stack(layers, axis=-1).reshape(-1, len(layers)))
    return align_to_medoid(goal, table, tuple(heads), targets, side, controls)


def template_summary(shape: TemplateShape, size_mm: tuple[float, float, float]) -> CaseSummary:
    """The template as a heart that a new case can be laid onto: where its structures lie, and no points.

    size_mm: how large the hearts that it was made of are.
    """
    inside = (shape.table.detach() > 0).cpu().numpy().reshape(shape.side, shape.side, shape.side, -1)
    axis = cell_centres(shape.side).numpy()
    centroids = np.full((len(shape.heads), 3), np.nan, dtype=np.float32)
    for head in range(len(shape.heads)):
        if inside[..., head].any():
            centroids[head] = [
                inside[..., head].sum(axis=tuple({0, 1, 2} - {a})) @ axis / inside[..., head].sum() for a in range(3)
            ]
    volumes = inside.sum(axis=(0, 1, 2)).astype(np.float64)
    return CaseSummary("template", shape.side, size_mm, centroids, np.isfinite(centroids[:, 0]), volumes)
