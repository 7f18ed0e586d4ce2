"""Small hearts made of ellipsoids, which can be fitted in seconds, with the ids of the anatomy `heart`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.run_folder.records import CaseFacts, PreparedCase
from heartmend.training.sampling import CaseSamples, Density, sample_case
from heartmend.types import UNKNOWN, Labels

HEADS = {"LV": 3, "RV": 5}
SIZE_MM = (64.0, 64.0, 64.0)


def ellipsoid(shape: tuple[int, ...], centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    """Make a solid ellipsoid; centre and radii in voxels, the centre of voxel i is i."""
    at = np.moveaxis(np.indices(shape), 0, -1)
    return (((at - np.array(centre)) / np.array(radii)) ** 2).sum(axis=-1) <= 1


def small_heart(seed: int, side: int = 32) -> Labels:
    """Make an LV and an RV that differ from heart to heart by one or two voxels."""
    rng = np.random.default_rng(seed)
    unit = side / 32
    labels = np.zeros((side,) * 3, dtype=np.uint8)
    for id, centre, radii in ((3, (11, 17, 15), (6, 7, 9)), (5, (21, 14, 16), (5, 8, 7))):
        at = (np.array(centre) + rng.uniform(-1, 1, 3)) * unit
        labels[ellipsoid(labels.shape, tuple(at), tuple((np.array(radii) + rng.uniform(-1, 1, 3)) * unit))] = id
    return labels


def on_roi(labels: Labels, size_mm: tuple[float, float, float] = SIZE_MM) -> tuple[Labels, Roi]:
    """Return the source voxels and the ROI whose cells are these labels, which may be unknown at the end of axis 0."""
    known = int((labels != UNKNOWN).any(axis=(1, 2)).sum())
    source = np.ascontiguousarray(labels[:known])
    spacing = [length / n for length, n in zip(size_mm, labels.shape, strict=True)]
    grid = Grid(source.shape, np.diag([*spacing, 1.0]))
    return source, Roi(grid, (0, 0, 0), labels.shape)


def samples_of(
    case_id: str, labels: Labels, ids: Sequence[int], size_mm: tuple[float, ...] = SIZE_MM, **density: float | None
) -> CaseSamples:
    """Sample a case whose labels (n, n, n) are those of the unit frame."""
    source, roi = on_roi(labels, size_mm)
    return sample_case(case_id, source, roi, ids, resolution=labels.shape[0], density=Density(**density))


def prepared(case_id: str, labels: Labels) -> PreparedCase:
    """Make a prepared case of labels (n, n, n) of the unit frame."""
    source, roi = on_roi(labels)
    return PreparedCase(CaseFacts(case_id, roi), labels, source)


def small_hearts(count: int = 3) -> list[PreparedCase]:
    """Make a prepared cohort."""
    return [prepared(f"{n:03d}", small_heart(n)) for n in range(1, count + 1)]


def upright_heart() -> Labels:
    """Make a heart of 1 mm voxels (80, 60, 80) whose axes are known.

    Half an ellipsoid as LV below the plane between z = 50 and 51, an LA above it, an RV at greater x, an aorta, and a
    coronary artery of radius 2 mm along a quarter of a circle of radius 30 mm about (40, 30, 50) in the plane y = 8,
    from the aorta at (70, 8, 50) down to (40, 8, 20).
    """
    x, y, z = np.indices((80, 60, 80))
    labels = np.zeros((80, 60, 80), np.uint8)
    labels[(((x - 40) / 12) ** 2 + ((y - 30) / 12) ** 2 + ((z - 50) / 30) ** 2 <= 1) & (z <= 50)] = 3
    labels[(abs(x - 40) <= 15) & (abs(y - 30) <= 15) & (z > 50) & (z <= 65)] = 2
    labels[(abs(x - 60) <= 5) & (abs(y - 30) <= 5) & (abs(z - 40) <= 9)] = 5
    labels[(abs(x - 70) <= 4) & (abs(y - 8) <= 4) & (z > 52) & (z <= 70)] = 6
    labels[(np.hypot(np.hypot(x - 40, z - 50) - 30, y - 8) <= 2) & (x >= 40) & (z <= 50)] = 9
    return labels
