"""Choice of the open detail nodes of each case: near thin vessels, and where the template misses its surfaces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from heartmend.compute.ranks import SINGLE_PROCESS, Ranks
from heartmend.models.base import Codes
from heartmend.models.code_book import CodeBook
from heartmend.models.unified import UnifiedShape, node_weights, stack_details
from heartmend.training.point_set import PointSet
from heartmend.training.sampling import CaseSamples

NEAR_MM = 1.0
"""Points within this distance of a surface count as on it; on coarse cells, within three quarters of a cell."""
MIN_TOLERANCE = 0.25
"""Smallest tolerance of a small structure, as a share of `error_mm`."""
MAX_OPEN_NODES = 32_768
"""Open nodes of a case, four times the usual number. All cases get as many slots as the fullest one, so that a single
corrupt label map would cost a large cohort gigabytes."""
_VESSEL_SCORE = 2.0
"""Score of a node at a thin vessel, in multiples of the tolerance."""
_PRIOR_POINTS = 3.0
"""Points without error that are added to every node, so that a few points alone open none."""


@torch.no_grad()
def add_detail_codes(
    shape: UnifiedShape,
    codes: CodeBook,
    cases: Sequence[CaseSamples] | PointSet,
    error_mm: float,
    ranks: Ranks = SINGLE_PROCESS,
) -> CodeBook:
    """Extend the codes of a template to codes of the unified shape, with details of which most nodes are closed.

    A node is open where it affects a thin vessel, or where the template's mean surface error near it is larger than
    the tolerance. The tolerance is `error_mm` for structures of at least the median volume and smaller, in proportion
    to their size, for the others. At most `MAX_OPEN_NODES` nodes of a case are open, those with the largest scores.

    Args:
        shape: the unified shape, whose template is fitted.
        codes: template codes (`affine` and `field`) of this process's own cases.
        cases: samples of the same cases in the same order, for the heads of `shape`.
        error_mm: tolerated mean surface error of the template, in mm.
        ranks: the processes of the fit.

    Returns:
        The codes `affine`, `field`, `slot` and `detail` of the same cases.
    """
    points = cases if isinstance(cases, PointSet) else PointSet.from_cases(cases, shape.template.table.device)
    columns = [shape.heads.index(head) for head in shape.template.heads]
    thin = [column for column in range(len(shape.heads)) if column not in columns]
    volumes = np.maximum(ranks.total(points.volumes().sum(dim=0)).cpu().numpy(), 1.0)[columns]
    tolerance_mm = max(error_mm, 1e-6) * np.clip(np.cbrt(volumes / np.median(volumes)), MIN_TOLERANCE, 1.0)
    # The seed of a case is its position in the cohort, so that details do not depend on the number of processes.
    seeds = ranks.own(list(range(sum(ranks.all_gather([points.cases])))))
    found = []
    for row, (start, end, _) in enumerate(points.spans()):
        rows = torch.tensor([row], device=points.device)
        band = torch.arange(start, end, device=points.device)
        surfaces = points.centres(band[None], rows)[0], points.distances_mm(band)
        cell_mm = max(size / n for size, n in zip(points.sizes_mm[row], points.counts[row].tolist(), strict=True))
        near_mm = max(NEAR_MM, 0.75 * cell_mm)
        opened = _open_nodes(shape, codes.at(rows), *surfaces, columns, thin, tolerance_mm.tolist(), near_mm)
        found.append(shape.new_details(opened, seeds[row]))
    slots = max(ranks.all_gather([case["detail"].shape[1] for case in found]))
    details = {name: code.to(points.device) for name, code in stack_details(found, slots).items()}
    return CodeBook(codes.ids, {"affine": codes.values["affine"], "field": codes.values["field"], **details})


def _open_nodes(
    shape: UnifiedShape, code: Codes, points: Tensor, distances: Tensor, columns: list[int], thin: list[int],
    tolerance_mm: list[float], near_mm: float,
) -> Tensor:  # fmt: skip
    """(side³,) whether a node is open; points: (n, 3) of the band; distances: (n, heads) there in mm."""
    template = shape.template.to(points.device)
    on_vessel = (distances[:, thin].abs() < near_mm).any(dim=1)
    at_vessel = node_weights(template.to_template_frame(points[None, on_vessel], code)[0], shape.side) > 0
    score = torch.where(at_vessel, _VESSEL_SCORE, 0.0)
    for at, column in enumerate(columns):
        on_surface = distances[:, column].abs() < near_mm
        if on_surface.any():
            place = template.to_template_frame(points[None, on_surface], code)[0]
            depth = template(points[None, on_surface], code)[0, :, at]
            error = (depth - distances[on_surface, column]).abs()
            mean = node_weights(place, shape.side, error) / (node_weights(place, shape.side) + _PRIOR_POINTS)
            score = score.maximum(mean / tolerance_mm[at])
    largest = score.topk(min(MAX_OPEN_NODES, len(score))).indices
    return torch.zeros_like(at_vessel).index_fill_(0, largest, True) & (score > 1)
