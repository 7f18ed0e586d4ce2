"""Thin curved sheets without a common shape, for structures without a template."""

from __future__ import annotations

import numpy as np

from heartmend.types import Mask


def sheet(seed: int, side: int = 28) -> Mask:
    """Make a round sheet, about five voxels thick, with a random curvature and rotation."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    x, y, z = np.moveaxis((np.moveaxis(np.indices((side,) * 3), 0, -1) - (side - 1) / 2) @ turn, -1, 0)
    bent = z - rng.uniform(-0.04, 0.04) * x**2 - rng.uniform(-0.03, 0.03) * x * y
    return (np.abs(bent) < 2.6) & (x**2 + y**2 < (side / 2.6) ** 2)


def sheets(count: int, side: int = 28) -> list[Mask]:
    """Make several sheets."""
    return [sheet(seed, side) for seed in range(count)]
