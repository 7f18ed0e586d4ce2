"""Volumes as a radiologist looks at them: axes to the left, the back and the head, cropped to what matters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Patch
from nibabel.orientations import axcodes2ornt, ornt_transform
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Volume = NDArray[Any]
AxCodes = tuple[str, str, str]
INK, PAPER, EDGE = "#222222", "white", "#8a8a8a"


def swatch(colour: Sequence[float], label: str, alpha: float = 1.0) -> Patch:
    """A structure's patch in a legend, with a rim, so that a white vein shows on white paper."""
    red, green, blue = (float(part) for part in colour)
    return Patch(facecolor=(red, green, blue, alpha), edgecolor=EDGE, linewidth=0.6, label=label)


def to_lps(
    volumes: Sequence[Volume], spacing_mm: Sequence[float], axcodes: AxCodes
) -> tuple[list[Volume], NDArray[np.float64]]:
    """Views of the volumes with axes (left, posterior, superior), and the spacing in that order."""
    turn = ornt_transform(axcodes2ornt(axcodes), axcodes2ornt(("L", "P", "S"))).astype(int)
    order = np.argsort(turn[:, 0])
    flip = tuple(slice(None, None, int(turn[axis, 1])) for axis in order)
    return [volume.transpose(order)[flip] for volume in volumes], np.asarray(spacing_mm, float)[order]


def voxel_in_lps(voxel: Sequence[int], shape: Sequence[int], axcodes: AxCodes) -> NDArray[np.int64]:
    """Where a voxel of a volume of this shape lies in the view that `to_lps` makes of it."""
    turn = ornt_transform(axcodes2ornt(axcodes), axcodes2ornt(("L", "P", "S"))).astype(int)
    order = np.argsort(turn[:, 0])
    at, size = np.asarray(voxel)[order], np.asarray(shape)[order]
    return np.where(turn[order, 1] > 0, at, size - 1 - at)


def largest_change(before: Volume, after: Volume, spacing_mm: Volume) -> NDArray[np.int64]:
    """The voxel about which most changed (Gaussian weights, 3 mm); the middle of the structures if nothing did."""
    changed = (before != after).astype(np.float32)
    if changed.any():
        density = gaussian_filter(changed, 3.0 / spacing_mm, truncate=2.5)
        return np.array(np.unravel_index(int(density.argmax()), density.shape))
    here = np.argwhere(after > 0)
    return np.median(here, axis=0).astype(int) if len(here) else np.array(after.shape) // 2


def box_about(mask: NDArray[np.bool_], margin: NDArray[np.int64]) -> tuple[slice, ...]:
    """The box of a mask with a margin (voxels per axis); the whole volume if the mask is empty."""
    if not mask.any():
        return tuple(slice(0, n) for n in mask.shape)
    lines = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    return tuple(slice(max(int(line[0] - m), 0), int(line[-1] + m) + 1) for line, m in zip(lines, margin, strict=True))
