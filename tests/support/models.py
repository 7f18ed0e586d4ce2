"""A small model of hearts with known results: two balls, deformed a little from case to case."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.models.code_book import CodeBook
from heartmend.models.feature_table import cell_centres
from heartmend.models.heart_model import HeartModel, evaluate_labels
from heartmend.models.unified import UnifiedShape, stack_details

SIZE_MM = 64.0
RADIUS_MM = 14.0
CENTRES_MM = {"LV": (-14.0, 0.0, 0.0), "RV": (16.0, 4.0, 0.0)}
SIDE = 32


def ragged(labels: np.ndarray, voxels: float, seed: int) -> np.ndarray:
    """The labels with ragged borders: each voxel takes the value about this many `voxels` away."""
    rng = np.random.default_rng(seed)
    shift = np.stack([gaussian_filter(rng.standard_normal(labels.shape), 1.0) for _ in range(3)])
    at = np.rint(np.indices(labels.shape) + shift * (voxels / shift.std())).astype(int)
    limits = np.array(labels.shape).reshape(3, 1, 1, 1) - 1
    return labels[tuple(np.clip(at, 0, limits))]


def frame(affine: np.ndarray | None = None, side: int = SIDE) -> Roi:
    """Make a box of `side` voxels and `SIZE_MM` along each side, centred at the origin."""
    step = SIZE_MM / side
    given = np.diag([step, step, step, 1.0]) if affine is None else affine
    if affine is None:
        given[:3, 3] = -SIZE_MM / 2 + step / 2
    return Roi(Grid((side,) * 3, given), (0, 0, 0), (side,) * 3)


def two_balls(ids: tuple[str, ...] = ("a", "b", "c", "d"), spread: float = 0.03, seed: int = 0) -> HeartModel:
    """Make a model of LV and RV as balls, without coronaries; each case is deformed by its own smooth field."""
    shape = UnifiedShape(
        ("LV", "RV", "Coronary"), {"heads": ("LV", "RV"), "side": SIDE, "controls": 5}, side=6, channels=2, width=4
    )
    axis = cell_centres(SIDE) * SIZE_MM / 2
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    layers = [
        RADIUS_MM - torch.sqrt((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2) for cx, cy, cz in CENTRES_MM.values()
    ]
    with torch.no_grad():
        shape.template.table.copy_(torch.stack(layers, dim=-1).clamp(-8, 8).reshape(-1, 2))
        shape.net[-1].weight.zero_()
        shape.net[-1].bias.copy_(torch.tensor([0.0, 0.0, -8.0]))
    codes = shape.new_codes(len(ids))
    codes["field"] += spread * torch.randn(codes["field"].shape, generator=torch.Generator().manual_seed(seed))
    # Few nodes are open, and their features are multiples of the quantisation step.
    opened = torch.arange(shape.side**3) % 7 == 0
    codes |= stack_details([shape.new_details(opened, seed) for seed in range(len(ids))])
    codes["detail"] = torch.round(codes["detail"] * 800) / 8
    return HeartModel(
        shape, CodeBook(list(ids), codes), load_anatomy("heart"), {"LV": 0.5, "RV": 0.5}, {id: frame() for id in ids}
    )


def unseen_heart() -> np.ndarray:
    """Labels of a heart of the kind of `two_balls` that its models do not contain, on `frame`."""
    other = two_balls(("x",), spread=0.05, seed=9)
    return evaluate_labels(other, other.heart("x"), frame().grid)
