"""Where a case's details are opened: about its thin vessels, and where the template lies beside its surfaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from heartmend.learning.targets import STEP_MM, Target
from heartmend.shapes.base import Codes
from heartmend.shapes.codes import CodeBook
from heartmend.shapes.unified import UnifiedShape, nodes_about

AT_SURFACE_MM = 1.0
THIN_REACH_MM = 1.0
"""Nodes that read a point so near to a thin vessel's surface are open."""
_DOUBT = 3.0
"""Points without error that every node is given, so that a few points alone open none."""


@torch.no_grad()
def with_details(shape: UnifiedShape, codes: CodeBook, targets: Sequence[Target], error_mm: float) -> CodeBook:
    """The codes of a template for the unified shape: affine, field, and details of which most nodes are closed.

    targets: of the same cases in the same order, for the heads of `shape`. A node is open where it reads a thin
    vessel, or where on average about it the template misses the surfaces by more than `error_mm`.
    """
    columns = [shape.heads.index(head) for head in shape.template.heads]
    thin = [column for column in range(len(shape.heads)) if column not in columns]
    fresh = shape.new_codes(len(targets))["detail"]
    for row, target in enumerate(targets):
        code = {name: value.cpu() for name, value in codes.of([target.case_id]).items()}
        fresh[row] *= _open_nodes(shape, code, target, columns, thin, error_mm)[:, None]
    own: Mapping[str, Tensor] = codes.of([target.case_id for target in targets])
    return CodeBook([t.case_id for t in targets], {"affine": own["affine"], "field": own["field"], "detail": fresh})


def _open_nodes(
    shape: UnifiedShape, code: Codes, target: Target, columns: list[int], thin: list[int], error_mm: float
) -> Tensor:
    distances = target.distances[: target.band].astype(np.float32) * STEP_MM
    n = target.side
    voxels = target.voxels[: target.band]
    cells = np.stack([voxels // (n * n), voxels // n % n, voxels % n], axis=1)
    template = shape.template.cpu()
    open_ = torch.zeros(shape.side**3)
    on_surface = (np.abs(distances[:, columns]) < AT_SURFACE_MM).any(axis=1)
    on_vessel = (np.abs(distances[:, thin]) < THIN_REACH_MM).any(axis=1) & (len(thin) > 0)
    picked = on_surface | on_vessel
    points = torch.from_numpy((cells[picked] + 0.5) * (2 / n) - 1).float()
    place = template.carried(points[None], code)[0]
    vessel = torch.from_numpy(on_vessel[picked])
    open_ += nodes_about(place[vessel], shape.side)
    surface = torch.from_numpy(on_surface[picked])
    true = torch.from_numpy(distances[picked][:, columns])[surface]
    near = true.abs() < AT_SURFACE_MM
    depth = template(points[None, surface], code)[0]
    error = ((depth - true).abs() * near).sum(dim=1) / near.sum(dim=1).clamp(min=1)
    total = nodes_about(place[surface], shape.side, error)
    weight = nodes_about(place[surface], shape.side)
    return ((open_ > 0) | (total / (weight + _DOUBT) > error_mm)).float()
