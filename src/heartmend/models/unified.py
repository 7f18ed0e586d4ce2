"""Unified shape: one function with a head for every structure, a deformable template plus details per case."""

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
"""Scale of the template's distances in the network's input, which are clipped at 1.5 times this value."""


class UnifiedShape(Shape):
    """Unified shape F(z, p) = T(q) + N(T(q), q, D(q)) with q = A p + b + u(p), in mm for each structure.

    T is the template and q the point in its frame, by the case's affine map and field. D are the case's details: a
    sparse grid of features in the template's frame, interpolated between its nodes. The network N, shared by all cases,
    predicts from them what the template lacks: unusual lobes of the appendage, and thin vessels, which are not part of
    T. Most nodes are closed: they have no features. A code that is a grid and not a vector: Yang et al. (NeAR), MICCAI
    2022; features between the nodes of a sparse grid: Takikawa et al. (NGLOD), CVPR 2021.

    The details of a case are two codes. `detail` (case, slot, channel) contains the features of its open nodes; slot 0
    and unused slots are zero. `slot` (case, side³) contains the slot of each node, 0 for a closed one.

    The template and the deformations are frozen while the rest is fitted.

    Attributes:
        template: the template, of some of the heads.
        columns: (template heads,) int64, positions of the template's heads among all heads.
        side: nodes along each side of the details.
        channels: features of each node.
        width: hidden units of the network.

    Example:
        >>> shape = UnifiedShape(["LV", "Coronary"], {"heads": ["LV"], "side": 8, "controls": 5}, side=4)
        >>> codes = shape.new_codes(3)
        >>> shape(torch.zeros(3, 10, 3), codes).shape
        torch.Size([3, 10, 2])
    """

    kind = "unified"
    is_distance = True
    frozen = ("template.", "affine", "field", "slot")
    columns: Tensor

    def __init__(
        self, heads: Sequence[str], template: Mapping[str, Any], side: int = 80, channels: int = 8, width: int = 64
    ) -> None:
        """Create the shape with a small random network, so that it is nearly the template.

        Args:
            heads: names of the structures.
            template: settings of its `TemplateShape`, whose heads are some of `heads`.
            side: nodes along each side of the details.
            channels: features of each node.
            width: hidden units of the network.
        """
        super().__init__(heads)
        self.template = TemplateShape(**template)
        self.side, self.channels, self.width = side, channels, width
        features = channels + len(self.template.heads) + 3 + 6
        self.net = nn.Sequential(
            nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, len(heads))
        )
        # Initially N adds next to nothing, and the structures that T lacks are absent everywhere.
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.bias.copy_(torch.tensor([0.0 if head in self.template.heads else -2.0 for head in heads]))
        columns = torch.tensor([self.heads.index(head) for head in self.template.heads])
        self.register_buffer("columns", columns, persistent=False)

    def settings(self) -> dict[str, Any]:
        """Return the arguments that construct this shape again.

        Returns:
            The arguments, by name.
        """
        return {
            "heads": list(self.heads), "template": self.template.settings(), "side": self.side,
            "channels": self.channels, "width": self.width,
        }  # fmt: skip

    def new_codes(self, count: int, seed: int = 0) -> dict[str, Tensor]:
        """Create codes of the identity whose nodes are all open.

        Args:
            count: number of cases.
            seed: seed of the features.

        Returns:
            The codes `affine`, `field`, `slot` and `detail`.
        """
        opened = torch.ones(self.side**3, dtype=torch.bool)
        return {
            **self.template.new_codes(count, seed),
            **stack_details([self.new_details(opened, seed + case) for case in range(count)]),
        }

    def new_details(self, opened: Tensor, seed: int = 0) -> dict[str, Tensor]:
        """Create the details of one case with small random features, on the CPU.

        Args:
            opened: (side³,) bool, the open nodes.
            seed: seed of the features.

        Returns:
            The codes `slot` (1, side³) int32 and `detail` (1, open nodes + 1, channels) float32.
        """
        opened = opened.cpu()
        drawn = torch.randn(int(opened.sum()), self.channels, generator=torch.Generator().manual_seed(seed)) * 0.01
        return make_details(opened, drawn)

    def empty_details(self) -> dict[str, Tensor]:
        """Create the details of one case without open nodes.

        Returns:
            The codes `slot` and `detail`.
        """
        return make_details(torch.zeros(self.side**3, dtype=torch.bool), torch.zeros(0, self.channels))

    def forward(self, points: Tensor, codes: Codes) -> Tensor:
        """Predict signed distances at points of the unit frame.

        Args:
            points: (case, point, 3) unit coordinates.
            codes: codes of these cases.

        Returns:
            (case, point, head) signed distances in mm.
        """
        cases, count, _ = points.shape
        place = self.template.to_template_frame(points, codes).reshape(-1, 3)
        depth = read_table(self.template.table, place, self.template.side)
        detail = codes["detail"]
        # Features of exactly zero belong to closed nodes: without a gradient they stay zero.
        open_features = (detail * (detail != 0)).reshape(-1, self.channels)
        nodes, weights = corners(place, self.side)
        slots = codes["slot"].gather(1, nodes.reshape(cases, count * 8)).long()
        slots += torch.arange(cases, device=points.device)[:, None] * detail.shape[1]
        angle = (place + 1) * (self.side / 2 * torch.pi)
        features = torch.cat(
            [
                read_rows(open_features, slots.reshape(-1, 8), weights), (depth / FAR_MM).clamp(-1.5, 1.5), place,
                angle.sin(), angle.cos(),
            ],
            dim=1,
        )  # fmt: skip
        logits: Tensor = self.net(features)
        return logits.index_add(1, self.columns, depth).reshape(cases, count, len(self.heads))

    def regularisation(self, codes: Codes) -> Tensor:
        """Compute the mean square of the features of all open nodes.

        Args:
            codes: codes of some cases, by name.

        Returns:
            The regularisation, a scalar.
        """
        return codes["detail"].square().sum() / self.regularisation_weight(codes)

    def regularisation_weight(self, codes: Codes) -> Tensor:
        """Compute the weight of these codes' regularisation: the number of features of all open nodes, at least 1.

        Args:
            codes: codes of some cases, by name.

        Returns:
            The weight, a scalar.
        """
        return (codes["detail"] != 0).sum().clamp(min=1)


def make_details(opened: Tensor, values: Tensor) -> dict[str, Tensor]:
    """Make the details of one case from the features of its open nodes.

    Args:
        opened: (side³,) bool, the open nodes.
        values: (open nodes, channels) features, in the order of the nodes.

    Returns:
        The codes `slot` (1, side³) int32 and `detail` (1, open nodes + 1, channels).

    Example:
        >>> details = make_details(torch.tensor([False, True, False, True]), torch.tensor([[0.5], [0.7]]))
        >>> details["slot"].tolist(), details["detail"].shape
        ([[0, 1, 0, 2]], torch.Size([1, 3, 1]))
    """
    slot = torch.where(opened, opened.cumsum(0), 0).int()
    return {"slot": slot[None], "detail": F.pad(values, (0, 0, 1, 0))[None]}


def stack_details(details: Sequence[Codes], slots: int = 0) -> dict[str, Tensor]:
    """Stack the details of several cases.

    Args:
        details: codes `slot` and `detail` of each case.
        slots: smallest number of slots of the result.

    Returns:
        The codes `slot` (cases, side³) and `detail` (cases, slots, channels), with as many slots as the fullest case.
    """
    slots = max([slots, *(case["detail"].shape[1] for case in details)])
    padded = [F.pad(case["detail"], (0, 0, 0, slots - case["detail"].shape[1])) for case in details]
    return {"slot": torch.cat([case["slot"] for case in details]), "detail": torch.cat(padded)}


def blend_details(first: Codes, second: Codes, share: float) -> dict[str, Tensor]:
    """Interpolate linearly between the details of two cases.

    Args:
        first: codes `slot` and `detail` of one case, the result for a share of 0.
        second: codes of another case, the result for a share of 1.
        share: position between the two.

    Returns:
        The codes `slot` and `detail`, open where one of the two is open.
    """
    opened = ((first["slot"] > 0) | (second["slot"] > 0))[0]
    one, other = (case["detail"][0, case["slot"][0, opened].long()] for case in (first, second))
    return make_details(opened, (1 - share) * one + share * other)


@torch.no_grad()
def node_weights(places: Tensor, side: int, weight: Tensor | None = None) -> Tensor:
    """Sum for each node of a grid its trilinear weights at some points.

    Args:
        places: (n, 3) unit coordinates.
        side: nodes along each side of the grid.
        weight: (n,) factor of each point, 1 if not given.

    Returns:
        (side³,) float32.
    """
    nodes, weights = corners(places, side)
    if weight is not None:
        weights = weights * weight[:, None]
    return torch.zeros(side**3, device=places.device).index_add_(0, nodes.reshape(-1), weights.reshape(-1))
