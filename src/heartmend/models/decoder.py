"""The auto-decoder of the reference project, made pointwise: a code, a decoder of dense maps, a small point network."""

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
    """A vector for each case is decoded into dense maps of 4³ to 32³ cells; a point reads all of them and its own
    coordinates, and a network in -> 256 -> 256 -> skip -> 128 -> 64 -> heads answers for it.

    After NeAR (Yang et al., MICCAI 2022) but without its normalisation over the queried points, which made the
    answer at a point depend on which other points were asked.
    """

    kind = "decoder"

    def __init__(self, heads: Sequence[str], code_size: int = 256) -> None:
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
        # The layout that a GPU's convolutions compute in.
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def settings(self) -> dict[str, Any]:
        return {"heads": list(self.heads), "code_size": self.code_size}

    def new_codes(self, count: int, seed: int = 0) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return {"latent": torch.randn(count, self.code_size, generator=generator) * 0.01}

    def forward(self, points: Tensor, codes: Codes) -> Tensor:
        maps = [self.seed(codes["latent"]).reshape(-1, MAP_WIDTHS[0], 4, 4, 4)]
        for step in self.steps:
            grown = F.interpolate(F.relu(maps[-1]), scale_factor=2, mode="trilinear", align_corners=False)
            maps.append(step(grown))
        # grid_sample names the last axis first. In bfloat16 a place would be known to 0.2 mm only, and small gradients
        # that meet in a cell would be lost.
        grid = points.flip(-1)[:, :, None, None]
        read = [F.grid_sample(m.float(), grid, padding_mode="border", align_corners=False)[:, :, :, 0, 0] for m in maps]
        features = torch.cat([points, *[r.transpose(1, 2) for r in read]], dim=-1)
        logits: Tensor = self.leave(torch.cat([self.enter(features), features], dim=-1))
        return logits
