"""The published NeAR: a code, a decoder of dense maps, and a point network that normalises over the queried points."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heartmend.models.base import Codes, Shape

MAP_WIDTHS = (64, 48, 32, 16)
POINT_WIDTHS = (64, 32)
GROUPS = 8


class NearShape(Shape):
    """Shape of Neural Annotation Refinement (Yang et al., MICCAI 2022), for comparison.

    A vector of 256 for each case is decoded into dense maps of 4³ to 32³ cells. A point's features are the values of
    the four maps and, optionally, of the image there, and its coordinates; a network 64 -> 32 -> heads predicts its
    logits. Widths, normalisation and initial codes are those of its code (github.com/M3DV/NeAR). Its group
    normalisation computes mean and variance over all points of a call, so it is not pointwise: on other points than the
    regular lattice of its training the logits differ. -1 and 1 are the centres of the outermost map cells; outside of
    them the maps decrease to zero.

    With `image_side` > 0 it is appearance-aware: a case's image (case, side, side, side), of unit scale, is one of its
    codes, which is not optimised.

    Attributes:
        code_size: length of each case's vector.
        image_side: voxels along each side of the image; 0 for none.
    """

    kind = "near"
    pointwise = False
    frozen = ("image",)

    def __init__(self, heads: Sequence[str], code_size: int = 256, image_side: int = 0) -> None:
        super().__init__(heads)
        self.code_size, self.image_side = code_size, image_side
        self.seed = nn.ModuleList([_block(code_size, 4 * code_size, 1), _block(code_size // 2, 2 * code_size, 1)])
        self.steps = nn.ModuleList([_block(code_size // 4, MAP_WIDTHS[0], 3)])
        for before, width in pairwise(MAP_WIDTHS):
            self.steps.append(nn.Sequential(_block(before, width, 3), _block(width, width, 3)))
        first, second = POINT_WIDTHS
        self.enter = nn.Linear(3 + sum(MAP_WIDTHS) + (image_side > 0), first)
        self.leave = nn.Sequential(
            nn.GroupNorm(GROUPS, first), nn.LeakyReLU(), nn.Conv1d(first, second, 1),
            nn.GroupNorm(GROUPS, second), nn.LeakyReLU(), nn.Conv1d(second, len(self.heads), 1),
        )  # fmt: skip

    def settings(self) -> dict[str, Any]:
        return {"heads": list(self.heads), "code_size": self.code_size, "image_side": self.image_side}

    def new_codes(self, count: int, seed: int = 0) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        codes = {"latent": torch.randn(count, self.code_size, generator=generator)}
        return codes | ({"image": torch.zeros(count, *(self.image_side,) * 3)} if self.image_side else {})

    def forward(self, points: Tensor, codes: Codes) -> Tensor:
        # grid_sample expects the last axis first.
        grid = points.flip(-1)[:, :, None, None]
        read = [F.grid_sample(m, grid, align_corners=True)[:, :, :, 0, 0].transpose(1, 2) for m in self._maps(codes)]
        logits: Tensor = self.leave(self.enter(torch.cat([points, *read], dim=-1)).transpose(1, 2)).transpose(1, 2)
        return logits

    def on_lattices(self, axes: tuple[Tensor, Tensor, Tensor], codes: Codes) -> Tensor:
        """Predict logits on one lattice for each case; equal to `forward` at its points, but several times faster.

        The operations that are linear in a map (interpolation and the first layer) are done axis by axis.

        Args:
            axes: coordinates (case, n) along each axis.
            codes: codes of the cases.

        Returns:
            (case, head, nx, ny, nz) logits.
        """
        x, y, z = axes
        counts = (x.shape[1], y.shape[1], z.shape[1])
        place, *parts = self.enter.weight.split([3, *MAP_WIDTHS, *([1] if self.image_side else [])], dim=1)
        planes, lines = [], []
        for values, weight in zip(self._maps(codes), parts, strict=True):
            side = values.shape[-1]
            mixed = torch.einsum("oc,bcijk->boijk", weight, values)
            mixed = torch.einsum("boijk,bxi->boxjk", mixed, _tents(x, side))
            planes.append(torch.einsum("boxjk,byj->boxyk", mixed, _tents(y, side)))
            lines.append(_tents(z, side))
        hidden = torch.einsum("boxyk,bzk->boxyz", torch.cat(planes, dim=-1), torch.cat(lines, dim=-1))
        for axis, at in enumerate(axes):
            along = torch.einsum("o,bn->bon", place[:, axis], at)
            hidden = hidden + along.reshape(*along.shape[:2], *(at.shape[1] if a == axis else 1 for a in range(3)))
        hidden = hidden + self.enter.bias[:, None, None, None]
        logits: Tensor = self.leave(hidden.flatten(2))
        return logits.reshape(*logits.shape[:2], *counts)

    def on_lattice(self, axes: tuple[Tensor, Tensor, Tensor], codes: Codes) -> Tensor:
        x, y, z = axes
        return self.on_lattices((x[None], y[None], z[None]), codes)[0]

    def regularisation(self, codes: Codes) -> Tensor:
        """Compute the mean length |z| of the codes."""
        return codes["latent"].norm(dim=1).mean()

    def _maps(self, codes: Codes) -> list[Tensor]:
        """Decode the four maps (case, width, side, side, side); the image is a fifth one."""
        features = codes["latent"][:, :, None, None, None]
        for side, block in zip((2, 4), self.seed, strict=True):
            features = block(features).reshape(len(features), -1, side, side, side)
        maps = [self.steps[0](features)]
        for step in self.steps[1:]:
            maps.append(step(F.interpolate(maps[-1], scale_factor=2, mode="trilinear", align_corners=True)))
        return maps + ([codes["image"][:, None]] if self.image_side else [])


def _block(before: int, width: int, kernel: int) -> nn.Sequential:
    """Make a block of convolution, group normalisation and leaky ReLU."""
    return nn.Sequential(
        nn.Conv3d(before, width, kernel, padding=kernel // 2), nn.GroupNorm(GROUPS, width), nn.LeakyReLU()
    )


def _tents(at: Tensor, side: int) -> Tensor:
    """Compute weights (case, n, side) of linear interpolation between `side` cells at unit coordinates (case, n)."""
    cell = (at[..., None] + 1) * ((side - 1) / 2)
    return (1 - (cell - torch.arange(side, device=at.device)).abs()).clamp(min=0)
