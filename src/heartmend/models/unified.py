"""One function with a head for every structure: the bent template, and what a case has beyond it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heartmend.models.base import Codes, Shape
from heartmend.models.feature_table import corners, read_rows, read_table
from heartmend.models.template import TemplateShape

FAR_MM = 3.0
"""Beyond this, how deep a point lies in the template says no more to the network."""


class UnifiedShape(Shape):
    """F(z, p) = T(q) + N(T(q), q, D(q)) with q = A p + b + u(p): ten signed distances in mm, one for each structure.

    T is the template and q the place in it to which the case's affine map and field carry the point. D is the case's
    `detail`: a grid of features in the template's frame, read between its nodes. The network N, shared by all cases,
    makes of them what the template lacks: the odd lobe of an appendage, and thin vessels, of which T knows nothing.
    Most nodes are closed: nothing is told there, and nothing kept. A code as a grid and not a vector: Yang et al.
    (NeAR), MICCAI 2022; features between the nodes of a sparse grid: Takikawa et al. (NGLOD), CVPR 2021.

    A case's details are two codes. `detail` (case, slot, channel) are the features of its open nodes, the slot 0 and
    those that a case has no use for zero; `slot` (case, side³) says which slot each node has, 0 for a closed one.

    Template and deformation are `held` while the rest is fitted.
    """

    kind = "unified"
    is_distance = True
    frozen = ("template.", "affine", "field", "slot")
    columns: Tensor
    """Which heads are the template's."""

    def __init__(
        self, heads: Sequence[str], template: Mapping[str, Any], side: int = 80, channels: int = 8, width: int = 64
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
        """Codes with every node ready to be told something."""
        opened = torch.ones(self.side**3, dtype=torch.bool)
        return {
            **self.template.new_codes(count, seed),
            **stacked([self.details(opened, seed + case) for case in range(count)]),
        }

    def details(self, opened: Tensor, seed: int = 0) -> dict[str, Tensor]:
        """The details of one case, on the CPU, whose `opened` (side³,) nodes are ready to be told something."""
        opened = opened.cpu()
        drawn = torch.randn(int(opened.sum()), self.channels, generator=torch.Generator().manual_seed(seed)) * 0.01
        return details_at(opened, drawn)

    def empty_details(self) -> dict[str, Tensor]:
        """The details of a case that has none."""
        return details_at(torch.zeros(self.side**3, dtype=torch.bool), torch.zeros(0, self.channels))

    def forward(self, points: Tensor, codes: Codes) -> Tensor:
        cases, count, _ = points.shape
        place = self.template.carried(points, codes).reshape(-1, 3)
        depth = read_table(self.template.table, place, self.template.side)
        detail = codes["detail"]
        # What holds exactly zero is closed: no gradient, so it stays as it is.
        told = (detail * (detail != 0)).reshape(-1, self.channels)
        nodes, weights = corners(place, self.side)
        slots = codes["slot"].gather(1, nodes.reshape(cases, count * 8)).long()
        slots += torch.arange(cases, device=points.device)[:, None] * detail.shape[1]
        angle = (place + 1) * (self.side / 2 * torch.pi)
        features = torch.cat(
            [
                read_rows(told, slots.reshape(-1, 8), weights), (depth / FAR_MM).clamp(-1.5, 1.5), place,
                angle.sin(), angle.cos(),
            ],
            dim=1,
        )  # fmt: skip
        logits: Tensor = self.net(features)
        return logits.index_add(1, self.columns, depth).reshape(cases, count, len(self.heads))

    def regularisation(self, codes: Codes) -> Tensor:
        """|z|² over the open nodes."""
        return codes["detail"].square().sum() / self.regularisation_weight(codes)

    def regularisation_weight(self, codes: Codes) -> Tensor:
        """How much is open."""
        return (codes["detail"] != 0).sum().clamp(min=1)


def details_at(opened: Tensor, values: Tensor) -> dict[str, Tensor]:
    """The details of one case that holds `values` (open nodes, channels) at its `opened` (side³,) nodes, in order."""
    slot = torch.where(opened, opened.cumsum(0), 0).int()
    return {"slot": slot[None], "detail": F.pad(values, (0, 0, 1, 0))[None]}


def stacked(details: Sequence[Codes], slots: int = 0) -> dict[str, Tensor]:
    """The details of several cases in one, with as many slots as the fullest needs, and `slots` at least."""
    slots = max([slots, *(case["detail"].shape[1] for case in details)])
    padded = [F.pad(case["detail"], (0, 0, 0, slots - case["detail"].shape[1])) for case in details]
    return {"slot": torch.cat([case["slot"] for case in details]), "detail": torch.cat(padded)}


def blended(first: Codes, second: Codes, share: float) -> dict[str, Tensor]:
    """The details of a case on the straight way from one (share 0) to another (share 1)."""
    opened = ((first["slot"] > 0) | (second["slot"] > 0))[0]
    one, other = (case["detail"][0, case["slot"][0, opened].long()] for case in (first, second))
    return details_at(opened, (1 - share) * one + share * other)


@torch.no_grad()
def node_weights(places: Tensor, side: int, worth: Tensor | None = None) -> Tensor:
    """For each node (side³,) of a grid, the sum of the trilinear weights with which it has a say at places (n, 3).

    worth: (n,) what each place counts, one if not given.
    """
    nodes, weights = corners(places, side)
    if worth is not None:
        weights = weights * worth[:, None]
    return torch.zeros(side**3, device=places.device).index_add_(0, nodes.reshape(-1), weights.reshape(-1))
