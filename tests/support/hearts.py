"""Hearts made of ellipsoids: small enough to fit in seconds, with the ids of the heart's anatomy."""

from __future__ import annotations

import numpy as np

from heartmend.types import Labels

HEADS = {"LV": 3, "RV": 5}
SIZE_MM = (64.0, 64.0, 64.0)


def ellipsoid(shape: tuple[int, ...], centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    """A solid ellipsoid; centre and radii in voxels, the centre of voxel i being i."""
    at = np.moveaxis(np.indices(shape), 0, -1)
    return (((at - np.array(centre)) / np.array(radii)) ** 2).sum(axis=-1) <= 1


def small_heart(seed: int, side: int = 32) -> Labels:
    """An LV and an RV beside it that differ from heart to heart by a voxel or two."""
    rng = np.random.default_rng(seed)
    unit = side / 32
    labels = np.zeros((side,) * 3, dtype=np.uint8)
    for id, centre, radii in ((3, (11, 17, 15), (6, 7, 9)), (5, (21, 14, 16), (5, 8, 7))):
        at = (np.array(centre) + rng.uniform(-1, 1, 3)) * unit
        labels[ellipsoid(labels.shape, tuple(at), tuple((np.array(radii) + rng.uniform(-1, 1, 3)) * unit))] = id
    return labels


def small_hearts(count: int = 3) -> list[tuple[str, Labels, tuple[float, float, float]]]:
    """A prepared cohort as `fit` takes it."""
    return [(f"{n:03d}", small_heart(n), SIZE_MM) for n in range(1, count + 1)]
