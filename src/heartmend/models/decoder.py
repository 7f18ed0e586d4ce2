"""Decoder shape: a vector per case, decoded into dense feature maps that a point network reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heartmend.models.base import Codes, Shape

MAP_WIDTHS = (64, 48, 32, 16)
POINT_WIDTHS = (256, 256, 128, 64)


class DecoderShape(Shape):
    """Auto-decoder of the reference project, made pointwise.

    Each case's vector is decoded into dense maps of 4³ to 32³ cells. A point's features are the values of all maps
    there and its coordinates; a network in -> 256 -> 256 -> skip -> 128 -> 64 -> heads predicts its logits.

    After NeAR (Yang et al., MICCAI 2022), but without its normalisation over the queried points, which made the
    logit at a point depend on the other points of the same call.

    Example:
        >>> shape = DecoderShape(["LV", "RV"], code_size=16)
        >>> codes = shape.new_codes(3)
        >>> shape(torch.zeros(3, 10, 3), codes).shape
        torch.Size([3, 10, 2])
    """

    kind = "decoder"

    def __init__(self, heads: Sequence[str], code_size: int = 256) -> None:
        """Create the networks with random weights.

        Args:
            heads: names of the structures.
            code_size: length of each case's vector.
        """
        super().__init__(heads)
        self.code_size = code_size
        first, *rest = MAP_WIDTHS
        self.seed = nn.Linear(code_size, first * 4**3)
        pairs = zip(MAP_WIDTHS, rest, strict=False)
        self.steps = nn.ModuleList(nn.Conv3d(a, b, kernel_size=3, padding=1) for a, b in pairs)
        features = sum(MAP_WIDTHS) + 3
        a, b, c, d = POINT_WIDTHS
        self.enter = nn.Sequential(nn.Linear(features, a), nn.ReLU(), nn.Linear(a, b), nn.ReLU())
        self.leave = nn.Sequential(
            nn.Linear(b + features, c), nn.ReLU(), nn.Linear(c, d), nn.ReLU(), nn.Linear(d, len(self.heads))
        )
        # The memory layout in which a GPU computes convolutions.
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def settings(self) -> dict[str, Any]:
        """Return the arguments that construct this shape again.

        Returns:
            The arguments, by name.
        """
        return {"heads": list(self.heads), "code_size": self.code_size}

    def new_codes(self, count: int, seed: int = 0) -> dict[str, Tensor]:
        """Create random codes.

        Args:
            count: number of cases.
            seed: seed of the codes.

        Returns:
            The codes `latent` (count, code_size) float32.
        """
        generator = torch.Generator().manual_seed(seed)
        return {"latent": torch.randn(count, self.code_size, generator=generator) * 0.01}

    def forward(self, points: Tensor, codes: Codes) -> Tensor:
        """Predict logits at points of the unit frame.

        Args:
            points: (case, point, 3) unit coordinates.
            codes: codes of these cases.

        Returns:
            (case, point, head) logits.
        """
        maps = [self.seed(codes["latent"]).reshape(-1, MAP_WIDTHS[0], 4, 4, 4)]
        for step in self.steps:
            upsampled = F.interpolate(F.relu(maps[-1]), scale_factor=2, mode="trilinear", align_corners=False)
            maps.append(step(upsampled))
        # grid_sample expects the last axis first. In bfloat16 a position would be exact to 0.2 mm only, and small
        # gradients that are summed in a cell would be lost.
        grid = points.flip(-1)[:, :, None, None]
        read = [F.grid_sample(m.float(), grid, padding_mode="border", align_corners=False)[:, :, :, 0, 0] for m in maps]
        features = torch.cat([points, *[r.transpose(1, 2) for r in read]], dim=-1)
        logits: Tensor = self.leave(torch.cat([self.enter(features), features], dim=-1))
        return logits
