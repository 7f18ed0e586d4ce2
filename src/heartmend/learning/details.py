"""Where a case's details are opened: about its thin vessels, and where the template misses its surfaces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from heartmend.learning.listing import Listing
from heartmend.learning.ranks import ALONE, Ranks
from heartmend.learning.target import STEP_MM, Target
from heartmend.shapes.base import Codes
from heartmend.shapes.codes import CodeBook
from heartmend.shapes.unified import UnifiedShape, nodes_about

NEAR_MM = 1.0
"""A point so near to a surface is at it; on coarser cells, one within three quarters of a cell."""
LEAST_BORNE = 0.25
_DOUBT = 3.0
"""Points without error that every node is given, so that a few points alone open none."""


@torch.no_grad()
def with_details(
    shape: UnifiedShape, codes: CodeBook, targets: Sequence[Target] | Listing, error_mm: float, ranks: Ranks = ALONE
) -> CodeBook:
    """The codes of a template for the unified shape: affine, field, and details of which most nodes are closed.

    targets: of the same cases in the same order, for the heads of `shape`. A node is open where it reads a thin
    vessel, or where on average about it the template misses the surface of a structure by more than `error_mm`. Of
    structures smaller than the median less is borne, in proportion to their size: a quarter of a millimetre is nothing
    to a ventricle and much to an appendage.
    """
    listed = targets if isinstance(targets, Listing) else Listing.of(targets, shape.template.table.device)
    columns = [shape.heads.index(head) for head in shape.template.heads]
    thin = [column for column in range(len(shape.heads)) if column not in columns]
    volumes = np.maximum(ranks.total(listed.volumes().sum(dim=0)).cpu().numpy(), 1.0)[columns]
    borne_mm = error_mm * np.clip(np.cbrt(volumes / np.median(volumes)), LEAST_BORNE, 1.0)
    # Every process draws the details of all cases and keeps its own, so that they do not depend on their number.
    everyone = sum(ranks.of_all([listed.cases]))
    fresh = torch.stack(ranks.own(list(shape.new_codes(everyone)["detail"]))).to(listed.device)
    for row, (begin, end, _) in enumerate(listed.spans()):
        code = codes.at(torch.tensor([row], device=listed.device))
        part = slice(begin, end)
        near_mm = max(NEAR_MM, 0.75 * max(listed.sizes_mm[row]) / listed.side)
        fresh[row] *= _open_nodes(shape, code, listed, part, columns, thin, borne_mm.tolist(), near_mm)[:, None]
    return CodeBook(codes.ids, {"affine": codes.values["affine"], "field": codes.values["field"], "detail": fresh})


def _open_nodes(
    shape: UnifiedShape, code: Codes, listed: Listing, band: slice, columns: list[int], thin: list[int],
    borne_mm: list[float], near_mm: float,
) -> Tensor:  # fmt: skip
    distances = listed.distances[band].float() * STEP_MM
    n, voxels = listed.side, listed.voxels[band].long()
    cells = torch.stack([voxels // (n * n), voxels // n % n, voxels % n], dim=1)
    template = shape.template.to(listed.device)
    on_vessel = (distances[:, thin].abs() < near_mm).any(dim=1)

    def points(picked: Tensor) -> Tensor:
        return ((cells[picked].double() + 0.5) * (2 / n) - 1).float()[None]

    open_ = nodes_about(template.carried(points(on_vessel), code)[0], shape.side) > 0
    for at, column in enumerate(columns):
        on_surface = distances[:, column].abs() < near_mm
        if on_surface.any():
            place = template.carried(points(on_surface), code)[0]
            depth = template(points(on_surface), code)[0, :, at]
            error = (depth - distances[on_surface, column]).abs()
            mean = nodes_about(place, shape.side, error) / (nodes_about(place, shape.side) + _DOUBT)
            open_ |= mean > borne_mm[at]
    return open_.float()
