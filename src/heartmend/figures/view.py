"""Volumes in the orientation of radiology: axes to the left, posterior and superior, cropped to the structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from nibabel.orientations import axcodes2ornt, ornt_transform
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Volume = NDArray[Any]
AxCodes = tuple[str, str, str]


@dataclass(frozen=True, eq=False)
class BeforeAfter:
    """Label maps of one case before and after, on one grid.

    Attributes:
        before: label map (x, y, z).
        after: label map of the same shape.
        spacing_mm: voxel size along x, y and z in mm.
        axcodes: anatomical direction of each axis, such as ("L", "P", "S").
        image: CT of the same shape in HU; None without one.
        truth: true label map of the same shape; None without one.
    """

    before: Volume
    after: Volume
    spacing_mm: Sequence[float]
    axcodes: AxCodes = ("L", "P", "S")
    image: Volume | None = None
    truth: Volume | None = None


def to_lps(
    volumes: Sequence[Volume], spacing_mm: Sequence[float], axcodes: AxCodes
) -> tuple[list[Volume], NDArray[np.float64]]:
    """Reorient volumes to the axes (left, posterior, superior).

    Args:
        volumes: arrays (x, y, z) of one grid.
        spacing_mm: voxel size along x, y and z in mm.
        axcodes: anatomical direction of each axis.

    Returns:
        Views of the volumes, and their voxel size in mm in the new order (3,).
    """
    turn = ornt_transform(axcodes2ornt(axcodes), axcodes2ornt(("L", "P", "S"))).astype(int)
    order = np.argsort(turn[:, 0])
    flip = tuple(slice(None, None, int(turn[axis, 1])) for axis in order)
    return [volume.transpose(order)[flip] for volume in volumes], np.asarray(spacing_mm, float)[order]


def voxel_in_lps(voxel: Sequence[int], shape: Sequence[int], axcodes: AxCodes) -> NDArray[np.int64]:
    """Convert a voxel index to the orientation of `to_lps`.

    Args:
        voxel: index in the volume's own order.
        shape: shape of the volume in its own order.
        axcodes: anatomical direction of each axis.

    Returns:
        (3,) index in the reoriented volume.

    Example:
        >>> voxel_in_lps((0, 1, 2), (10, 10, 10), ("R", "P", "S")).tolist()
        [9, 1, 2]
    """
    turn = ornt_transform(axcodes2ornt(axcodes), axcodes2ornt(("L", "P", "S"))).astype(int)
    order = np.argsort(turn[:, 0])
    at, size = np.asarray(voxel)[order], np.asarray(shape)[order]
    return np.where(turn[order, 1] > 0, at, size - 1 - at)


def largest_change(before: Volume, after: Volume, spacing_mm: Volume) -> NDArray[np.int64]:
    """Find the centre of the largest change.

    Args:
        before: label map or mask (x, y, z).
        after: an array of the same shape.
        spacing_mm: (3,) voxel size in mm.

    Returns:
        (3,) index of the voxel with the largest density of changed voxels (Gaussian, 3 mm); the median voxel of the
        structures if nothing changed.
    """
    changed = (before != after).astype(np.float32)
    if changed.any():
        density = gaussian_filter(changed, 3.0 / spacing_mm, truncate=2.5)
        return np.array(np.unravel_index(int(density.argmax()), density.shape))
    filled = np.argwhere(after > 0)
    return np.median(filled, axis=0).astype(int) if len(filled) else np.array(after.shape) // 2


def box_about(mask: NDArray[np.bool_], margin: NDArray[np.int64]) -> tuple[slice, ...]:
    """Compute the bounding box of a mask with a margin.

    Args:
        mask: boolean array (x, y, z).
        margin: (3,) margin in voxels.

    Returns:
        Slices along x, y and z; of the full volume if the mask is empty.
    """
    if not mask.any():
        return tuple(slice(0, n) for n in mask.shape)
    lines = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    return tuple(slice(max(int(line[0] - m), 0), int(line[-1] + m) + 1) for line, m in zip(lines, margin, strict=True))
