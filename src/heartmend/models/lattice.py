"""Evaluation of a shape on a lattice, coarse to fine: only points near a surface are evaluated densely."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from heartmend.geometry.interpolation import interpolate_along
from heartmend.geometry.roi import Roi
from heartmend.models.base import Codes, Shape
from heartmend.models.code_book import CodeBook
from heartmend.models.feature_table import cell_centres

CHUNK = 1 << 17
"""Points that are evaluated at once."""
STRIDE = 2
"""Stride of the coarse lattice."""
MAX_SLOPE = 2.0
"""Largest change of a predicted distance per mm: 1 in undeformed space, and deformations less than double it."""

Axes = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""Unit coordinates along each axis of a lattice."""


@torch.no_grad()
def evaluate_lattice(
    shape: Shape, code: Codes, axes: Axes, size_mm: tuple[float, float, float]
) -> npt.NDArray[np.float32]:
    """Evaluate the logits of one case on a lattice.

    Where every head is certainly far from its surface, the values are interpolated from every second point and have
    the correct sign. Shapes whose logit is not a distance are evaluated everywhere, and those that are not pointwise
    on the whole lattice at once.

    Args:
        shape: the shape.
        code: code of one case.
        axes: unit coordinates (nx,), (ny,), (nz,) float32, increasing or decreasing.
        size_mm: extent of the case's box, in mm.

    Returns:
        (head, nx, ny, nz) float32 logits.
    """
    if not shape.pointwise:
        device = next(iter(code.values())).device
        x, y, z = (torch.from_numpy(axis).to(device) for axis in axes)
        return cast("npt.NDArray[np.float32]", shape.on_lattice((x, y, z), code).cpu().numpy())
    full = tuple(len(axis) for axis in axes)
    if not shape.is_distance or min(full) < 4 * STRIDE:
        return _evaluate(shape, code, _lattice(axes)).T.reshape(-1, *full)
    coarse_axes = tuple(axis[_every_second(len(axis))] for axis in axes)
    coarse_shape = tuple(len(axis) for axis in coarse_axes)
    coarse = _evaluate(shape, code, _lattice(cast(Axes, coarse_axes))).T.reshape(-1, *coarse_shape)
    steps_mm = [np.abs(np.diff(a)).max() / 2 * length for a, length in zip(coarse_axes, size_mm, strict=True)]
    # The interpolation-weighted distance to the corners of a cell is at most half its diagonal.
    reach = MAX_SLOPE / 2 * float(np.linalg.norm(steps_mm))
    out = np.stack([_interpolate(head, axes, cast(Axes, coarse_axes)) for head in coarse])
    near = (np.abs(out) < reach).any(axis=0)
    index = np.nonzero(near)
    points = torch.from_numpy(np.stack([axis[i] for axis, i in zip(axes, index, strict=True)], axis=1))
    out[:, near] = _evaluate(shape, code, points).T
    return out


def _evaluate(shape: Shape, code: Codes, points: Tensor) -> npt.NDArray[np.float32]:
    """Evaluate logits (n, head) of points (n, 3), in chunks."""
    device = next(iter(code.values())).device
    parts = [shape(part[None].to(device), code)[0].float().cpu() for part in points.split(CHUNK)]
    return cast("npt.NDArray[np.float32]", torch.cat(parts).numpy())


def _lattice(axes: Axes) -> Tensor:
    return torch.stack(torch.meshgrid(*map(torch.from_numpy, axes), indexing="ij"), dim=-1).reshape(-1, 3)


def _every_second(count: int) -> npt.NDArray[np.int64]:
    picks = np.arange(0, count, STRIDE)
    return picks if picks[-1] == count - 1 else np.append(picks, count - 1)


def _interpolate(values: npt.NDArray[np.float32], axes: Axes, coarse: Axes) -> npt.NDArray[np.float32]:
    """Interpolate values (mx, my, mz) linearly from the coarse coordinates to the full ones, axis by axis."""
    for axis, (wanted, given) in enumerate(zip(axes, coarse, strict=True)):
        order = np.sign(given[-1] - given[0])
        places = np.interp(order * wanted, order * given, np.arange(len(given)))
        values = interpolate_along(values, places, axis)
    return values


def evaluate_case(
    shape: Shape, codes: CodeBook, case_id: str, roi: Roi, resolution: int | None = None
) -> dict[str, npt.NDArray[np.float32]]:
    """Evaluate the logits of one case on its own voxels or on the cells of its unit frame.

    Args:
        shape: the shape.
        codes: the codes of the cohort.
        case_id: id of the case.
        roi: the case's region of interest.
        resolution: cells along each axis of the unit frame; None for the source voxels in the ROI, in the source's
            axes.

    Returns:
        Logits (x, y, z) float32 by structure.

    Raises:
        ConfigError: if the case has no code.
    """
    code = codes.of([case_id])
    if resolution is not None:
        axis = cell_centres(resolution).numpy()
        logits = evaluate_lattice(shape, code, (axis, axis, axis), roi.size_mm)
    else:
        source = roi.source_axes()
        x, y, z = (source.coordinates[axis] for axis in source.axes)
        axes: Axes = (x, y, z)
        back = np.argsort(source.axes) + 1
        logits = evaluate_lattice(shape, code, axes, roi.size_mm).transpose(0, *back)
    return dict(zip(shape.heads, logits, strict=True))
