"""Phantom hearts of ten structures made on a device: a few of ellipsoids and tubes, and smooth warps of them.

They are simpler than those of `heartmend phantom`, but need torch only, and a thousand take a minute.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from heartmend.models.feature_table import cell_centres

HEADS = {"Myocardium": 1, "LA": 2, "LV": 3, "RA": 4, "RV": 5, "Aorta": 6, "PA": 7, "LAA": 8, "Coronary": 9, "PV": 10}
PHANTOMS = 4
SHIFT_MM = 5.0
"""Standard deviation of the displacement along each axis."""
WAVES, LENGTHS_MM = 8, (70.0, 160.0)
"""Number of plane waves of a warp, and the range of their lengths."""


def make_cohort(cases: int, side: int, size_mm: float, device: torch.device, seed: int = 0) -> Tensor:
    """Make the label maps (cases, side, side, side) uint8 of hearts, each a warp of one of a few phantoms.

    Args:
        cases: number of hearts.
        side: cells along each axis.
        size_mm: extent of the cube, in mm.
        device: where to make them.
        seed: seed of the warps.

    Returns:
        The label maps.
    """
    axis = cell_centres(side, device)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    phantoms = [
        _phantom(grid * (size_mm / 2), torch.Generator().manual_seed(100 + n)) for n in range(min(PHANTOMS, cases))
    ]
    maps = torch.empty(cases, side, side, side, dtype=torch.uint8, device=device)
    for row in range(cases):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + row)
        linear = torch.eye(3) * (1 + 0.06 * torch.randn(1, generator=generator))
        linear = linear + 0.05 * torch.randn(3, 3, generator=generator)
        places = grid @ linear.to(device).T + _warp_mm(axis * (size_mm / 2), generator) * (2 / size_mm)
        # grid_sample expects the last axis first.
        source = phantoms[row % len(phantoms)][None, None].float()
        maps[row] = F.grid_sample(source, places.flip(-1)[None], mode="nearest", align_corners=False)[0, 0].byte()
    return maps


def _warp_mm(axis_mm: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a smooth random field of displacements (n, n, n, 3) in mm."""
    directions = F.normalize(torch.randn(WAVES, 3, generator=generator), dim=1)
    shortest, longest = LENGTHS_MM
    lengths = shortest + (longest - shortest) * torch.rand(WAVES, 1, generator=generator)
    phases = 2 * math.pi * torch.rand(WAVES, 1, generator=generator)
    amplitudes = SHIFT_MM * math.sqrt(2 / WAVES) * torch.randn(WAVES, 3, generator=generator)
    wave_vectors = (2 * math.pi * directions / lengths).to(axis_mm.device)
    # As complex numbers, a plane wave is a product of one wave along each axis.
    x, y, z = (torch.polar(torch.ones_like(at), at) for at in (wave_vectors[:, a, None] * axis_mm for a in range(3)))
    x = x * torch.polar(torch.ones(()), phases).to(x)
    planes = torch.einsum("wx,wy->wxy", x, y)
    return torch.einsum("wc,wxy,wz->xyzc", amplitudes.to(x), planes, z).real


def _phantom(at: Tensor, generator: torch.Generator) -> Tensor:
    """Make labels at points (n, n, n, 3) in mm; structures that are named first have priority."""

    def vary(*numbers: float, by: float = 2.0) -> Tensor:
        shift = by * torch.randn(len(numbers), generator=generator)
        return (torch.tensor(numbers) + shift).to(at.device)

    def ellipsoid(centre: Tensor, radii: Tensor) -> Tensor:
        """Approximate distance to the surface in mm, negative inside."""
        return (((at - centre) / radii).norm(dim=-1) - 1) * radii.min()

    def tube(radius: float, *corners: Tensor) -> Tensor:
        """Approximate distance to a tube along straight segments, in mm."""
        parts = []
        for a, b in pairwise(corners):
            along = ((at - a) @ (b - a) / (b - a).square().sum()).clamp(0, 1)
            parts.append((at - a - along[..., None] * (b - a)).norm(dim=-1))
        return torch.stack(parts).amin(dim=0) - radius

    lv, lv_radii = vary(14, -4, -18), vary(20, 21, 33, by=1.5)
    la, ra, rv = vary(12, 28, 18), vary(-28, 16, 12), vary(-20, -14, -14)
    root = vary(2, 2, 16, by=1)
    aorta = tube(
        11.5, root, vary(-4, -2, 40, by=1), vary(0, 12, 58), vary(10, 34, 56), vary(14, 44, 30), vary(14, 46, -40)
    )
    pa = tube(10.5, vary(-6, -24, 16, by=1), vary(0, -14, 36), vary(4, 6, 42), vary(34, 14, 42))
    veins = [tube(5.5, la + vary(x, 6, z, by=1), la + vary(2.1 * x, 14, 1.6 * z)) for x in (-18, 18) for z in (-9, 9)]
    appendage = torch.minimum(tube(6.0, la + vary(20, -8, 4, by=1), la + vary(32, -22, 6)),
                              ellipsoid(la + vary(33, -22, 6), vary(8, 7, 9, by=1)))  # fmt: skip
    shell = ellipsoid(lv, lv_radii) - 9

    def on_heart(*steps: tuple[float, float]) -> list[Tensor]:
        """Make a path on the outside of the ventricle from longitudes and latitudes."""
        path = []
        for longitude, latitude in torch.tensor(steps).tolist():
            angle = torch.tensor([longitude, latitude]).deg2rad()
            x, y = angle[0].cos() * angle[1].cos(), angle[0].sin() * angle[1].cos()
            outward = torch.stack([x, y, angle[1].sin()]).to(at.device)
            path.append(lv + outward * (lv_radii + 11))
        return path

    coronary = torch.minimum(
        tube(1.9, root + vary(8, -6, 2, by=0.5), *on_heart((-60, 45), (-80, 10), (-85, -30), (-90, -60))),
        tube(1.9, root + vary(8, -4, 2, by=0.5), *on_heart((-20, 45), (30, 35), (70, 30), (80, -10))),
    )
    coronary = torch.minimum(
        coronary, tube(1.9, root + vary(-9, -6, 1, by=0.5), rv + vary(-26, 4, 16), rv + vary(-24, 20, -6))
    )
    labels = torch.zeros(at.shape[:3], dtype=torch.uint8, device=at.device)
    for head, distance in (
        ("Coronary", coronary), ("LV", ellipsoid(lv, lv_radii)), ("Aorta", aorta), ("Myocardium", shell), ("PA", pa),
        ("LA", ellipsoid(la, vary(26, 20, 20, by=1.5))), ("LAA", appendage), ("PV", torch.stack(veins).amin(dim=0)),
        ("RV", ellipsoid(rv, vary(25, 22, 30, by=1.5))), ("RA", ellipsoid(ra, vary(22, 22, 26, by=1.5))),
    ):  # fmt: skip
        labels[(distance < 0) & (labels == 0)] = HEADS[head]
    return labels
