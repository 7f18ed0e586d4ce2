"""Where a case's details are opened: about its thin vessels, and where the template misses its surfaces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from heartmend.compute.ranks import ALONE, Ranks
from heartmend.models.base import Codes
from heartmend.models.code_book import CodeBook
from heartmend.models.unified import UnifiedShape, node_weights, stacked
from heartmend.training.case_samples import CaseSamples
from heartmend.training.point_set import PointSet

NEAR_MM = 1.0
"""A point so near to a surface is at it; on coarser cells, one within three quarters of a cell."""
LEAST_BORNE = 0.25
MOST_OPEN = 32_768
"""Nodes of a case, four times the usual: all cases are given as much room as the fullest one, so one wrecked label map
would cost a data set gigabytes."""
_TREE_IS_WORTH = 2.0
"""As much as an error of so many times what is borne."""
_DOUBT = 3.0
"""Points without error that every node is given, so that a few points alone open none."""


@torch.no_grad()
def with_details(
    shape: UnifiedShape,
    codes: CodeBook,
    targets: Sequence[CaseSamples] | PointSet,
    error_mm: float,
    ranks: Ranks = ALONE,
) -> CodeBook:
    """The codes of a template for the unified shape: affine, field, and details of which most nodes are closed.

    targets: of the same cases in the same order, for the heads of `shape`. A node is open where it reads a thin
    vessel, or where on average about it the template misses the surface of a structure by more than `error_mm`. Of
    structures smaller than the median less is borne, in proportion to their size: a quarter of a millimetre is nothing
    to a ventricle and much to an appendage. Of more than `MOST_OPEN` nodes of a
    case those that are worth most open.
    """
    listed = targets if isinstance(targets, PointSet) else PointSet.of(targets, shape.template.table.device)
    columns = [shape.heads.index(head) for head in shape.template.heads]
    thin = [column for column in range(len(shape.heads)) if column not in columns]
    volumes = np.maximum(ranks.total(listed.volumes().sum(dim=0)).cpu().numpy(), 1.0)[columns]
    borne_mm = max(error_mm, 1e-6) * np.clip(np.cbrt(volumes / np.median(volumes)), LEAST_BORNE, 1.0)
    # Each case's details are drawn by its own place among all, so that they do not depend on the processes.
    seeds = ranks.own(list(range(sum(ranks.all_gather([listed.cases])))))
    found = []
    for row, (begin, end, _) in enumerate(listed.spans()):
        here = torch.tensor([row], device=listed.device)
        band = torch.arange(begin, end, device=listed.device)
        surfaces = listed.centres(band[None], here)[0], listed.distances_mm(band)
        cell_mm = max(size / n for size, n in zip(listed.sizes_mm[row], listed.counts[row].tolist(), strict=True))
        near_mm = max(NEAR_MM, 0.75 * cell_mm)
        opened = _open_nodes(shape, codes.at(here), *surfaces, columns, thin, borne_mm.tolist(), near_mm)
        found.append(shape.details(opened, seeds[row]))
    slots = max(ranks.all_gather([case["detail"].shape[1] for case in found]))
    details = {name: code.to(listed.device) for name, code in stacked(found, slots).items()}
    return CodeBook(codes.ids, {"affine": codes.values["affine"], "field": codes.values["field"], **details})


def _open_nodes(
    shape: UnifiedShape, code: Codes, points: Tensor, distances: Tensor, columns: list[int], thin: list[int],
    borne_mm: list[float], near_mm: float,
) -> Tensor:  # fmt: skip
    """(side³,) whether a node is open; points: (n, 3) of the band; distances: (n, heads) there in mm."""
    template = shape.template.to(points.device)
    on_vessel = (distances[:, thin].abs() < near_mm).any(dim=1)
    on_tree = node_weights(template.carried(points[None, on_vessel], code)[0], shape.side) > 0
    worth = torch.where(on_tree, _TREE_IS_WORTH, 0.0)
    for at, column in enumerate(columns):
        on_surface = distances[:, column].abs() < near_mm
        if on_surface.any():
            place = template.carried(points[None, on_surface], code)[0]
            depth = template(points[None, on_surface], code)[0, :, at]
            error = (depth - distances[on_surface, column]).abs()
            mean = node_weights(place, shape.side, error) / (node_weights(place, shape.side) + _DOUBT)
            worth = worth.maximum(mean / borne_mm[at])
    most = torch.zeros_like(on_tree).index_fill_(0, worth.topk(min(MOST_OPEN, len(worth))).indices, True)
    return most & (worth > 1)
