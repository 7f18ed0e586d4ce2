"""Initialisation of a fit: the medoid as template, and all cases aligned to it by their centroids."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from heartmend.geometry.distance import unit_frame_distance_mm
from heartmend.geometry.roi import Roi
from heartmend.models.code_book import CodeBook
from heartmend.models.feature_table import cell_centres
from heartmend.models.template import TemplateShape
from heartmend.training.alignment import AnyCase, align_to_medoid, find_medoid
from heartmend.training.sampling import CaseSummary
from heartmend.types import Labels


def initialise_template(
    heads: dict[str, int],
    cases: Sequence[AnyCase],
    load_case: Callable[[str], tuple[Labels, Roi]],
    side: int,
    controls: int,
) -> tuple[TemplateShape, CodeBook]:
    """Initialise a template from the medoid's signed distances, and one affine code for each case.

    Label errors of the medoid are averaged out by the other cases while the template is fitted.

    Args:
        heads: label id of each structure, by name.
        cases: samples or summaries of all cases.
        load_case: given a case id, returns the labels on the source voxels in the case's ROI, and the ROI.
        side: cells along each side of the template's table.
        controls: control points along each side of the deformation.

    Returns:
        The template and the codes, in the order of `cases`.
    """
    medoid = cases[find_medoid(cases)]
    source, roi = load_case(medoid.case_id)
    layers = [unit_frame_distance_mm(source, roi, medoid.side, id) for id in heads.values()]
    table = torch.from_numpy(np.stack(layers, axis=-1).reshape(-1, len(layers)))
    return align_to_medoid(medoid, table, tuple(heads), cases, side, controls)


def summarise_template(shape: TemplateShape, size_mm: tuple[float, float, float]) -> CaseSummary:
    """Summarise a template as a case that new cases can be aligned to.

    Args:
        shape: the fitted template.
        size_mm: mean extent of the boxes of the cases that it was fitted to, in mm.

    Returns:
        The summary, with the case id "template".
    """
    inside = shape.distances_mm > 0
    axis = cell_centres(shape.side).numpy()
    centroids = np.full((len(shape.heads), 3), np.nan, dtype=np.float32)
    for head in range(len(shape.heads)):
        if inside[..., head].any():
            centroids[head] = [
                inside[..., head].sum(axis=tuple({0, 1, 2} - {a})) @ axis / inside[..., head].sum() for a in range(3)
            ]
    volumes = inside.sum(axis=(0, 1, 2)).astype(np.float64)
    return CaseSummary("template", shape.side, size_mm, centroids, np.isfinite(centroids[:, 0]), volumes)
