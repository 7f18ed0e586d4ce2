"""A heart of three balls, its CT, and a template of it."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from heartmend.geometry.distance import signed_distance_mm
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.models.template import TemplateShape
from heartmend.types import Labels

SIDE = 64
MM = (1.0, 1.0, 1.0)
ROI = Roi(Grid((SIDE,) * 3, np.eye(4)), (0, 0, 0), (SIDE,) * 3)
HEADS = {"LA": 2, "LV": 3, "Myocardium": 1}


def heart(shift: tuple[int, int, int] = (0, 0, 0)) -> Labels:
    """An atrium above a larger ventricle, and muscle at one side of the ventricle only."""
    x, y, z = (axis - step for axis, step in zip(np.indices((SIDE,) * 3), shift, strict=True))
    across = (x - 29) ** 2 + (y - 32) ** 2
    labels = np.zeros((SIDE,) * 3, np.uint8)
    labels[(x - 41) ** 2 + (y - 36) ** 2 + (z - 23) ** 2 < 10**2] = 1
    labels[across + (z - 25) ** 2 < 13**2] = 3
    labels[across + (z - 43) ** 2 < 9**2] = 2
    return labels


def ct(labels: Labels, blur_mm: float = 0.0) -> np.ndarray:
    levels = np.array([-80.0, 110.0, 350.0, 350.0])
    return gaussian_filter(levels[labels], blur_mm) + np.random.default_rng(0).normal(0, 20, labels.shape)


def ball_template() -> TemplateShape:
    """The heart as a template whose code is the identity."""
    shape = TemplateShape(tuple(HEADS), side=SIDE, controls=12)
    distances = [signed_distance_mm(heart() == id, MM) for id in HEADS.values()]
    with torch.no_grad():
        shape.table.copy_(torch.from_numpy(np.stack(distances, axis=-1).reshape(shape.table.shape)))
    return shape
