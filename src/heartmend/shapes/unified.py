"""One function with a head for every structure: the bent template, and what a case has beyond it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from heartmend.shapes.base import Codes, Shape
from heartmend.shapes.tables import read_table
from heartmend.shapes.template import TemplateShape

FAR_MM = 3.0
"""Beyond this, how deep a point lies in the template says no more to the network."""


class UnifiedShape(Shape):
    """F(z, p) = T(q) + N(T(q), q, D(q)) with q = A p + b + u(p): ten signed distances in mm, one for each structure.

    T is the template and q the place in it to which the case's affine map and field carry the point. D is the case's
    `detail`: a grid of features in the template's frame, read between its nodes. The network N, shared by all cases,
    makes of them what the template lacks: the odd lobe of an appendage, and thin vessels, of which T knows nothing.
    Most nodes are zero and stay so (nothing is told there), so a code is small. A code as a grid and not a vector:
    Yang et al. (NeAR), MICCAI 2022; features between the nodes of a sparse grid: Takikawa et al. (NGLOD), CVPR 2021.

    Template and deformation are `held` while the rest is fitted.
    """

    kind = "unified"
    is_distance = True
    held = ("template.", "affine", "field")
    columns: Tensor
    """Which heads are the template's."""

    def __init__(
        self, heads: Sequence[str], template: Mapping[str, Any], side: int = 32, channels: int = 12, width: int = 64
    ) -> None:
        """template: the settings of its `TemplateShape`, whose heads are some of these heads."""
        super().__init__(heads)
        self.template = TemplateShape(**template)
        self.side, self.channels, self.width = side, channels, width
        features = channels + len(self.template.heads) + 3 + 6
        self.net = nn.Sequential(
            nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, len(heads))
        )
        # It begins as the template: N adds next to nothing, and of what T lacks there is none anywhere.
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.bias.copy_(torch.tensor([0.0 if head in self.template.heads else -2.0 for head in heads]))
        columns = torch.tensor([self.heads.index(head) for head in self.template.heads])
        self.register_buffer("columns", columns, persistent=False)

    def settings(self) -> dict[str, Any]:
        return {
            "heads": list(self.heads), "template": self.template.settings(), "side": self.side,
            "channels": self.channels, "width": self.width,
        }  # fmt: skip

    def new_codes(self, count: int, seed: int = 0) -> dict[str, Tensor]:
        """Codes with every node ready to be told something; `opened` closes most of them."""
        generator = torch.Generator().manual_seed(seed)
        detail = torch.randn(count, self.side**3, self.channels, generator=generator) * 0.01
        return {**self.template.new_codes(count, seed), "detail": detail}

    def forward(self, points: Tensor, codes: Codes) -> Tensor:
        cases, count, _ = points.shape
        place = self.template.carried(points, codes).reshape(-1, 3)
        depth = read_table(self.template.table, place, self.template.side)
        detail = codes["detail"]
        # A node that holds exactly zero is closed: no gradient, so it stays as it is.
        told = (detail * (detail != 0)).reshape(-1, self.channels)
        first_row = (torch.arange(cases, device=points.device) * self.side**3).repeat_interleave(count)
        angle = (place + 1) * (self.side / 2 * torch.pi)
        features = torch.cat(
            [
                read_table(told, place, self.side, first_row), (depth / FAR_MM).clamp(-1.5, 1.5), place,
                angle.sin(), angle.cos(),
            ],
            dim=1,
        )  # fmt: skip
        logits: Tensor = self.net(features)
        return logits.index_add(1, self.columns, depth).reshape(cases, count, len(self.heads))

    def penalty(self, codes: Codes) -> Tensor:
        """|z|² over the open nodes."""
        return codes["detail"].square().sum() / self.penalty_weight(codes)

    def penalty_weight(self, codes: Codes) -> Tensor:
        """How much is open."""
        return (codes["detail"] != 0).sum().clamp(min=1)


@torch.no_grad()
def nodes_about(places: Tensor, side: int, worth: Tensor | None = None) -> Tensor:
    """For each node (side³,) of a grid, the sum of the trilinear weights with which it has a say at places (n, 3).

    worth: (n,) what each place counts, one if not given.
    """
    at = ((places + 1) * (side / 2) - 0.5).clamp(0, side - 1.001)
    low = at.floor()
    high = at - low
    total = torch.zeros(side**3, device=places.device)
    for corner in torch.cartesian_prod(*[torch.arange(2, device=places.device)] * 3):
        weight = torch.where(corner == 1, high, 1 - high).prod(dim=1)
        i, j, k = (low.long() + corner).unbind(1)
        total.index_add_(0, (i * side + j) * side + k, weight if worth is None else weight * worth)
    return total
