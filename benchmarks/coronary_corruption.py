"""Corruption of a phantom coronary tree as networks and quick drawings corrupt it: a module of `coronary_trees.py`."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion
from scipy.spatial import cKDTree

from heartmend.phantom.coronary_tree import STEP_MM, CoronaryPhantom
from heartmend.phantom.corruption.patches import small_component
from heartmend.phantom.corruption.surfaces import rough_structure, rough_surfaces
from heartmend.phantom.plan import Label

NOISE = ("normal", "warp", "white")
"""Surface noise: smooth displacement along the normal, smooth displacement of space, independent voxels."""


def corrupt_tree(phantom: CoronaryPhantom, rng: np.random.Generator, noise: str, size_mm: float) -> np.ndarray:
    """Displace the surface of the coronaries, interrupt them, add islands.

    Args:
        phantom: the true map.
        rng: random generator.
        noise: one of `NOISE`.
        size_mm: rms displacement of the surface.

    Returns:
        The corrupted map.
    """
    return corrupt_in_stages(phantom, rng, noise, size_mm)[1]


def corrupt_in_stages(
    phantom: CoronaryPhantom, rng: np.random.Generator, noise: str, size_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """As `corrupt_tree`, with the map before gaps and islands in front.

    Args:
        phantom: the true map.
        rng: random generator.
        noise: one of `NOISE`.
        size_mm: rms displacement of the surface.

    Returns:
        The map with the noise of the surface alone, and the corrupted map.
    """
    labels, spacing_mm = phantom.labels, phantom.spacing_mm
    length = float(rng.uniform(1.2, 3.0))
    if noise == "normal":
        noisy = rough_structure(labels, spacing_mm, rng, Label.CORONARY, size_mm, length)
    elif noise == "warp":  # thin vessels move by 0.4 of it
        noisy = rough_surfaces(labels, spacing_mm, rng, size_mm / 0.4, length)
        noisy[(noisy != Label.CORONARY) & (labels != Label.CORONARY)] = labels[
            (noisy != Label.CORONARY) & (labels != Label.CORONARY)
        ]
    else:
        noisy = _white(labels, rng, size_mm / float(spacing_mm.mean()))
    rough = noisy.copy()
    for _ in range(int(rng.integers(2, 7))):
        _interrupt(noisy, phantom, rng, float(rng.uniform(1.0, 7.0)))
    coronaries = np.where(noisy == Label.CORONARY, noisy, 0)
    for _ in range(int(rng.integers(1, 5))):
        coronaries = small_component(coronaries, spacing_mm, rng, float(rng.uniform(0.8, 3.0)))
    noisy[(coronaries > 0) & (noisy == 0)] = Label.CORONARY
    return rough, noisy


def _interrupt(noisy: np.ndarray, phantom: CoronaryPhantom, rng: np.random.Generator, length_mm: float) -> None:
    """Remove a section of a vessel across its full width."""
    number = int(rng.integers(len(phantom.branches)))
    branch = phantom.branches[number]
    centre = int(rng.integers(len(branch.path) // 10, len(branch.path)))
    half = max(round(0.5 * length_mm / STEP_MM), 1)
    voxels = np.argwhere(noisy == Label.CORONARY)
    everything = np.concatenate([other.path for other in phantom.branches])
    first = sum(len(other.path) for other in phantom.branches[:number])
    nearest = cKDTree(everything).query(voxels * phantom.spacing_mm)[1]
    lost = np.abs(nearest - (first + centre)) <= half
    lost &= (nearest >= first) & (nearest < first + len(branch.path))
    noisy[tuple(voxels[lost].T)] = Label.BACKGROUND


def _white(labels: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """Move single voxels of the surface in and out."""
    noisy, vessel = labels.copy(), labels == Label.CORONARY
    inner, outer = vessel & ~binary_erosion(vessel), binary_dilation(vessel) & (labels == 0)
    chosen = rng.random(labels.shape) < 0.5 * share
    noisy[inner & chosen] = Label.BACKGROUND
    noisy[outer & chosen] = Label.CORONARY
    return noisy
