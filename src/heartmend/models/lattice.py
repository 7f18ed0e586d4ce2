"""From a shape and a code to a volume: coarse to fine, so that only what lies near a surface is asked densely."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from heartmend.geometry.roi import Roi
from heartmend.models.base import Codes, Shape
from heartmend.models.code_book import CodeBook
from heartmend.models.feature_table import cell_centres
from heartmend.run_folder.records import Fields

CHUNK = 1 << 17
STRIDE = 2
STEEPEST = 2.0
"""A distance changes by at most one a mm where space is not bent; the field of a case bends it by less than this."""

Axes = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]


@torch.no_grad()
def render(shape: Shape, code: Codes, axes: Axes, size_mm: tuple[float, float, float]) -> npt.NDArray[np.float32]:
    """Logits (head, nx, ny, nz) of one case on the lattice with the unit coordinates `axes`.

    Where every head is surely far from its surface the value is interpolated from every second point, and has the
    sign that asking would give; elsewhere it is asked. Shapes whose logit is no distance are asked everywhere, and
    those that are not pointwise on the whole lattice at once.
    """
    if not shape.pointwise:
        device = next(iter(code.values())).device
        x, y, z = (torch.from_numpy(axis).to(device) for axis in axes)
        return cast("npt.NDArray[np.float32]", shape.on_lattice((x, y, z), code).cpu().numpy())
    full = tuple(len(axis) for axis in axes)
    if not shape.is_distance or min(full) < 4 * STRIDE:
        return _asked(shape, code, _lattice(axes)).T.reshape(-1, *full)
    coarse_axes = tuple(axis[_every(len(axis))] for axis in axes)
    coarse_shape = tuple(len(axis) for axis in coarse_axes)
    coarse = _asked(shape, code, _lattice(cast(Axes, coarse_axes))).T.reshape(-1, *coarse_shape)
    steps_mm = [np.abs(np.diff(a)).max() / 2 * length for a, length in zip(coarse_axes, size_mm, strict=True)]
    # The corners of a cell lie, weighted as they are interpolated, at most half its diagonal away.
    reach = STEEPEST / 2 * float(np.linalg.norm(steps_mm))
    out = np.stack([_spread(head, axes, cast(Axes, coarse_axes)) for head in coarse])
    near = (np.abs(out) < reach).any(axis=0)
    index = np.nonzero(near)
    points = torch.from_numpy(np.stack([axis[i] for axis, i in zip(axes, index, strict=True)], axis=1))
    out[:, near] = _asked(shape, code, points).T
    return out


def _asked(shape: Shape, code: Codes, points: Tensor) -> npt.NDArray[np.float32]:
    device = next(iter(code.values())).device
    parts = [shape(part[None].to(device), code)[0].float().cpu() for part in points.split(CHUNK)]
    return cast("npt.NDArray[np.float32]", torch.cat(parts).numpy())


def _lattice(axes: Axes) -> Tensor:
    return torch.stack(torch.meshgrid(*map(torch.from_numpy, axes), indexing="ij"), dim=-1).reshape(-1, 3)


def _every(count: int) -> npt.NDArray[np.int64]:
    picks = np.arange(0, count, STRIDE)
    return picks if picks[-1] == count - 1 else np.append(picks, count - 1)


def _spread(values: npt.NDArray[np.float32], axes: Axes, coarse: Axes) -> npt.NDArray[np.float32]:
    """Linear interpolation of (mx, my, mz) values at the coarse coordinates to the full ones, axis by axis."""
    for axis, (wanted, given) in enumerate(zip(axes, coarse, strict=True)):
        order = np.sign(given[-1] - given[0])
        place = np.interp(order * wanted, order * given, np.arange(len(given)))
        low = np.minimum(place.astype(int), len(given) - 2)
        share = (place - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        values = (1 - share) * values.take(low, axis=axis) + share * values.take(low + 1, axis=axis)
    return values


def render_case(shape: Shape, codes: CodeBook, case_id: str, roi: Roi, resolution: int | None = None) -> Fields:
    """Logits of each head: on the source voxels in the ROI (in the source's axes), or (n, n, n) of the unit frame."""
    code = codes.of([case_id])
    if resolution is not None:
        axis = cell_centres(resolution).numpy()
        logits = render(shape, code, (axis, axis, axis), roi.size_mm)
    else:
        source = roi.source_axes()
        x, y, z = (source.coordinates[axis] for axis in source.axes)
        axes: Axes = (x, y, z)
        back = np.argsort(source.axes) + 1
        logits = render(shape, code, axes, roi.size_mm).transpose(0, *back)
    return dict(zip(shape.heads, logits, strict=True))
