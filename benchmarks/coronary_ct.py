"""Phantom coronary trees with a CT: partial volume, falling contrast, plaques. A module of the coronary benchmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from heartmend.geometry.centrelines.tree import voxel_points
from heartmend.geometry.masks import grow_mask
from heartmend.phantom import ct
from heartmend.phantom.coronary_tree import STEP_MM, Branch, CoronaryPhantom, draw_tree, sample_tree
from heartmend.phantom.plan import Label

CONTRAST_LOSS = (0.0, 0.25)
"""Contrast that is lost over `LOSS_MM` of a vessel."""
LOSS_MM = 150.0
PLAQUES_PER_MM = 1 / 60
PLAQUE_HU = (400.0, 1200.0)


@dataclass(frozen=True, eq=False)
class ScannedTree:
    """A phantom tree with its CT.

    Attributes:
        phantom: the tree as it was drawn; its label contains the part of the plaques that is inside its wall.
        heart: (x, y, z) uint8, chambers, aorta and muscle without the coronaries.
        image: (x, y, z) int16, in HU.
        plaque: (x, y, z) bool, calcified plaques.
    """

    phantom: CoronaryPhantom
    heart: np.ndarray
    image: np.ndarray
    plaque: np.ndarray

    def truth(self, calcium: str) -> np.ndarray:
        """Return the true label (x, y, z) bool, with the plaques ("included") or without ("excluded")."""
        tree = self.phantom.labels == Label.CORONARY
        beside = self.plaque & (self.phantom.labels != Label.AORTA)
        return np.asarray(tree | beside if calcium == "included" else tree & ~self.plaque)


def scan_tree(seed: int, spacing_mm: float) -> ScannedTree:
    """Make a tree and its CT.

    Args:
        seed: of the tree.
        spacing_mm: voxel size.

    Returns:
        The tree with its CT.
    """
    rng = np.random.default_rng(seed)
    phantom = draw_tree(sample_tree(rng), (spacing_mm,) * 3, rng)
    muscle = (phantom.labels == Label.MYOCARDIUM) | (phantom.labels == Label.CORONARY) & _in_heart(phantom)
    heart = np.where(phantom.chambers > 0, phantom.chambers, np.where(muscle, Label.MYOCARDIUM, 0)).astype(np.uint8)
    share = np.clip(0.5 - phantom.wall_mm / spacing_mm, 0, 1).astype(np.float32)
    share[phantom.labels == Label.AORTA] = 0
    plaque_mm, plaque_hu = _plaques(phantom, rng)
    vessels = ct.ThinVessels(
        share, _contrast(phantom, float(rng.uniform(*CONTRAST_LOSS))),
        np.clip(0.5 - plaque_mm / spacing_mm, 0, 1).astype(np.float32), plaque_hu,
    )  # fmt: skip
    image = ct.scan(heart, phantom.spacing_mm, rng, vessels)
    return ScannedTree(phantom, heart, image, plaque_mm < 0)


def _in_heart(phantom: CoronaryPhantom) -> np.ndarray:
    """Whether the voxels of the vessels are within the muscle: nearer to it than to the outside."""
    spacing = tuple(phantom.spacing_mm)
    vessel, muscle = phantom.labels == Label.CORONARY, phantom.labels == Label.MYOCARDIUM
    outside = phantom.labels == 0
    points = voxel_points(vessel, spacing)
    near = grow_mask(vessel, 1.5 * float(max(spacing)), spacing)
    apart = [cKDTree(voxel_points(part & near, spacing)).query(points)[0] for part in (muscle, outside)]
    found = np.zeros_like(vessel)
    found[vessel] = apart[0] < apart[1]
    return found


def _contrast(phantom: CoronaryPhantom, loss: float) -> np.ndarray:
    """Contrast of each voxel, from that of the nearest point of the centrelines."""
    done: list[Branch] = []
    levels: list[np.ndarray] = []
    for branch in phantom.branches:
        start = 1.0
        if done:
            apart, at = cKDTree(np.concatenate([one.path for one in done])).query(branch.path[0])
            start = float(np.concatenate(levels)[at]) if apart < 3.0 else 1.0
        levels.append(start - loss * STEP_MM * np.arange(len(branch.path)) / LOSS_MM)
        done.append(branch)
    result = np.ones(phantom.labels.shape, np.float32)
    near = phantom.wall_mm < 2.0
    nearest = cKDTree(np.concatenate([one.path for one in done])).query(np.argwhere(near) * phantom.spacing_mm)[1]
    result[near] = np.concatenate(levels)[nearest]
    return result


def _plaques(phantom: CoronaryPhantom, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance in mm to the plaques, negative inside, and their intensity."""
    shape, spacing = phantom.labels.shape, phantom.spacing_mm
    apart = np.full(shape, 1e3, np.float32)
    hu = np.zeros(shape, np.float32)
    length_mm = sum(len(branch.path) for branch in phantom.branches) * STEP_MM
    for _ in range(int(rng.poisson(length_mm * PLAQUES_PER_MM))):
        branch = phantom.branches[int(rng.integers(len(phantom.branches)))]
        at = int(rng.integers(len(branch.path) // 20, len(branch.path) * 9 // 10))
        angle, depth = rng.uniform(0, 2 * np.pi), rng.uniform(-0.4, 0.3)
        first, second = branch.frame[at]
        outward = np.cos(angle) * first + np.sin(angle) * second
        beside = np.cos(angle) * second - np.sin(angle) * first
        centre = branch.path[at] + (branch.radius_mm[at] + depth) * outward
        half = rng.uniform(0.45, 0.9), rng.uniform(0.5, 1.3), rng.uniform(0.8, 3.0)
        low = np.maximum(np.floor((centre - 4.0) / spacing).astype(int), 0)
        high = np.minimum(np.ceil((centre + 4.0) / spacing).astype(int) + 1, shape)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        offset = np.moveaxis(np.indices(high - low, float), 0, -1) * spacing + low * spacing - centre
        axes = np.stack([outward, beside, np.cross(outward, beside)])
        scaled = np.linalg.norm(offset @ axes.T / half, axis=-1)
        distance = ((scaled - 1) * half[0]).astype(np.float32)
        hu[box] = np.where(distance < apart[box], rng.uniform(*PLAQUE_HU), hu[box])
        apart[box] = np.minimum(apart[box], distance)
    return apart, hu
