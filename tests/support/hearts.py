"""Small hearts made of ellipsoids, which can be fitted in seconds, with the ids of the anatomy `heart`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.run_folder.records import CaseFacts, PreparedCase
from heartmend.training.sampling import CaseSamples, sample_case
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
    case_id: str, labels: Labels, ids: Sequence[int], size_mm: tuple[float, ...] = SIZE_MM, **more: float
) -> CaseSamples:
    """Sample a case whose labels (n, n, n) are those of the unit frame."""
    source, roi = on_roi(labels, size_mm)
    return sample_case(case_id, source, roi, ids, resolution=labels.shape[0], **more)


def prepared(case_id: str, labels: Labels) -> PreparedCase:
    """Make a prepared case of labels (n, n, n) of the unit frame."""
    source, roi = on_roi(labels)
    return PreparedCase(CaseFacts(case_id, roi), labels, source)


def small_hearts(count: int = 3) -> list[PreparedCase]:
    """Make a prepared cohort."""
    return [prepared(f"{n:03d}", small_heart(n)) for n in range(1, count + 1)]
