"""Where a case's details are opened: about its thin vessels, and where the template misses its surfaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from heartmend.learning.targets import STEP_MM, Target
from heartmend.shapes.base import Codes
from heartmend.shapes.codes import CodeBook
from heartmend.shapes.unified import UnifiedShape, nodes_about

NEAR_MM = 1.0
"""A point so near to a surface is at it; on coarser cells, one within three quarters of a cell."""
LEAST_BORNE = 0.25
_DOUBT = 3.0
"""Points without error that every node is given, so that a few points alone open none."""


@torch.no_grad()
def with_details(shape: UnifiedShape, codes: CodeBook, targets: Sequence[Target], error_mm: float) -> CodeBook:
    """The codes of a template for the unified shape: affine, field, and details of which most nodes are closed.

    targets: of the same cases in the same order, for the heads of `shape`. A node is open where it reads a thin
    vessel, or where on average about it the template misses the surface of a structure by more than `error_mm`. Of
    structures smaller than the median less is borne, in proportion to their size: a quarter of a millimetre is nothing
    to a ventricle and much to an appendage.
    """
    columns = [shape.heads.index(head) for head in shape.template.heads]
    thin = [column for column in range(len(shape.heads)) if column not in columns]
    volumes = np.maximum(np.sum([target.volumes for target in targets], axis=0), 1.0)[columns]
    borne_mm = error_mm * np.clip(np.cbrt(volumes / np.median(volumes)), LEAST_BORNE, 1.0)
    fresh = shape.new_codes(len(targets))["detail"]
    for row, target in enumerate(targets):
        code = {name: value.cpu() for name, value in codes.of([target.case_id]).items()}
        fresh[row] *= _open_nodes(shape, code, target, columns, thin, borne_mm)[:, None]
    own: Mapping[str, Tensor] = codes.of([target.case_id for target in targets])
    return CodeBook([t.case_id for t in targets], {"affine": own["affine"], "field": own["field"], "detail": fresh})


def _open_nodes(
    shape: UnifiedShape, code: Codes, target: Target, columns: list[int], thin: list[int], borne_mm: np.ndarray
) -> Tensor:
    distances = target.distances[: target.band].astype(np.float32) * STEP_MM
    n = target.side
    voxels = target.voxels[: target.band]
    cells = np.stack([voxels // (n * n), voxels // n % n, voxels % n], axis=1)
    template = shape.template.cpu()
    near_mm = max(NEAR_MM, 0.75 * max(target.size_mm) / n)
    on_vessel = (np.abs(distances[:, thin]) < near_mm).any(axis=1)

    def points(picked: np.ndarray) -> Tensor:
        return torch.from_numpy((cells[picked] + 0.5) * (2 / n) - 1).float()[None]

    open_ = nodes_about(template.carried(points(on_vessel), code)[0], shape.side) > 0
    for at, column in enumerate(columns):
        on_surface = np.abs(distances[:, column]) < near_mm
        if on_surface.any():
            place = template.carried(points(on_surface), code)[0]
            depth = template(points(on_surface), code)[0, :, at]
            error = (depth - torch.from_numpy(distances[on_surface, column])).abs()
            mean = nodes_about(place, shape.side, error) / (nodes_about(place, shape.side) + _DOUBT)
            open_ |= mean > borne_mm[at]
    return open_.float()
