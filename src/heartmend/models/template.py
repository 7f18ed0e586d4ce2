"""A template that is bent: one heart shared by all cases, and for each case the smooth way to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from heartmend.models.base import Codes, Shape
from heartmend.models.feature_table import cell_centres, read_table, resized_table
from heartmend.models.splines import bending, on_lattice, refined, spline_weights

FIELD_SIDE = 40
"""The deformation is laid out on a lattice of this side once a step; between its cells it is linear."""


class TemplateShape(Shape):
    """F(z, p) = T(A p + b + u(p)): a table T of signed distances in mm, sharpened by all cases together, read where
    the case's affine map and its smooth field u (cubic B-spline, code) carry the point.

    Stiff about noise, because a field with control points every 10 to 20 mm cannot follow a surface that wavers
    every few millimetres; supple about anatomy, because all structures of a case move in one field and the detail
    that no field could make lives in T. Deformed implicit templates: Zheng et al. (DIT) and Deng et al. (DIF),
    CVPR 2021; the code as a small grid, the cohort as training set and product: Yang et al. (NeAR), MICCAI 2022.
    """

    kind = "template"
    is_distance = True

    def __init__(self, heads: Sequence[str], side: int = 48, controls: int = 6) -> None:
        super().__init__(heads)
        self.side, self.controls = side, controls
        self.table = nn.Parameter(torch.zeros(side**3, len(self.heads)))

    def settings(self) -> dict[str, Any]:
        return {"heads": list(self.heads), "side": self.side, "controls": self.controls}

    def new_codes(self, count: int, seed: int = 0) -> dict[str, Tensor]:
        affine = torch.zeros(count, 3, 4)
        affine[:, :, :3] = torch.eye(3)
        return {"affine": affine, "field": torch.zeros(count, 3, *(self.controls,) * 3)}

    def forward(self, points: Tensor, codes: Codes) -> Tensor:
        cases, count, _ = points.shape
        flat = self.carried(points, codes).reshape(-1, 3)
        return read_table(self.table, flat, self.side).reshape(cases, count, len(self.heads))

    def carried(self, points: Tensor, codes: Codes) -> Tensor:
        """Where the points (case, point, 3) of each case lie in the template's frame."""
        cases, count, _ = points.shape
        weights = spline_weights(cell_centres(FIELD_SIDE, points.device), self.controls)
        lattice = on_lattice(codes["field"], weights, weights, weights)
        table = lattice.permute(0, 2, 3, 4, 1).reshape(-1, 3)
        first_row = (torch.arange(cases, device=points.device) * FIELD_SIDE**3).repeat_interleave(count)
        moved = read_table(table, points.reshape(-1, 3), FIELD_SIDE, first_row).reshape(cases, count, 3)
        affine = codes["affine"]
        return points @ affine[:, :, :3].transpose(1, 2) + affine[:, None, :, 3] + moved

    def regularisation(self, codes: Codes) -> Tensor:
        """The bending of the fields; an affine map costs nothing."""
        return bending(codes["field"])

    @torch.no_grad()
    def refine(self, codes: Codes, side: int, controls: int) -> dict[str, Tensor]:
        """The same shape with a table of `side` and `controls` control points; returns the codes to go on with."""
        self.table = nn.Parameter(resized_table(self.table.detach(), self.side, side))
        field = codes["field"] if controls == self.controls else refined(codes["field"], controls)
        self.side, self.controls = side, controls
        return {**codes, "field": field.clone()}
