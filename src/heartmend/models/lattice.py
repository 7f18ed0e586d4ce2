"""Evaluation of a shape on a lattice, coarse to fine: only points near a surface are evaluated densely."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from heartmend.geometry.boxes import Box, bounding_box, expand_box, full_box, join_boxes, margin_voxels
from heartmend.geometry.interpolation import interpolate_along
from heartmend.geometry.local_field import LocalField
from heartmend.geometry.roi import Roi, SourceAxes
from heartmend.models.base import Codes, Shape
from heartmend.models.code_book import CodeBook
from heartmend.models.feature_table import cell_centres
from heartmend.types import Mask

CHUNK = 1 << 17
"""Points that are evaluated at once."""
STRIDE = 2
"""Stride of the coarse lattice."""
MAX_SLOPE = 2.0
"""Largest change of a predicted distance per mm: 1 in undeformed space, and deformations less than double it."""

Axes = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""Unit coordinates along each axis of a lattice."""


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
    return _evaluate_in_boxes(shape, code, axes, size_mm, None)[0]


@torch.no_grad()
def _evaluate_in_boxes(
    shape: Shape, code: Codes, axes: Axes, size_mm: tuple[float, float, float], wanted: _Wanted | None
) -> tuple[npt.NDArray[np.float32], list[Box]]:
    """Evaluate as `evaluate_lattice`, in a box of each head; the values outside it are arbitrary."""
    full = tuple(len(axis) for axis in axes)
    everywhere = [full_box(full)] * len(shape.heads)
    if not shape.pointwise:
        device = next(iter(code.values())).device
        x, y, z = (torch.from_numpy(axis).to(device) for axis in axes)
        return shape.on_lattice((x, y, z), code).cpu().numpy(), everywhere
    if not shape.is_distance or min(full) < 4 * STRIDE:
        return _evaluate(shape, code, _lattice(axes)).T.reshape(-1, *full), everywhere
    coarse_axes = cast(Axes, tuple(axis[_every_second(len(axis))] for axis in axes))
    coarse = _evaluate(shape, code, _lattice(coarse_axes)).T.reshape(-1, *(len(axis) for axis in coarse_axes))
    steps_mm = [np.abs(np.diff(a)).max() / 2 * length for a, length in zip(coarse_axes, size_mm, strict=True)]
    # The interpolation-weighted distance to the corners of a cell is at most half its diagonal.
    reach = MAX_SLOPE / 2 * float(np.linalg.norm(steps_mm))
    boxes = everywhere if wanted is None else [wanted.box(*pair, full) for pair in enumerate(coarse > -reach)]
    places = [_places(*pair) for pair in zip(axes, coarse_axes, strict=True)]
    out, near = np.empty((len(coarse), *full), np.float32), np.zeros(full, bool)
    for head, values, box in zip(out, coarse, boxes, strict=True):
        head[box] = _interpolate(values, [at[part] for at, part in zip(places, box, strict=True)])
        near[box] |= np.abs(head[box]) < reach
    index = np.nonzero(near)
    points = torch.from_numpy(np.stack([axis[i] for axis, i in zip(axes, index, strict=True)], axis=1))
    out[:, near] = _evaluate(shape, code, points).T
    return out, boxes


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


def _places(wanted: npt.NDArray[np.float32], given: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Places of the wanted coordinates among the given ones, in steps of these."""
    order = np.sign(given[-1] - given[0])
    return np.interp(order * wanted, order * given, np.arange(len(given)))


def _interpolate(values: npt.NDArray[np.float32], places: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.float32]:
    """Interpolate values (mx, my, mz) linearly at increasing places along each axis."""
    # The part that is read, first: most of the values are outside it.
    first = [int(at[0]) for at in places]
    values = values[tuple(slice(low, int(at[-1]) + 2) for low, at in zip(first, places, strict=True))]
    for axis, (low, at) in enumerate(zip(first, places, strict=True)):
        values = interpolate_along(values, at - low, axis)
    return values


@dataclass(frozen=True, eq=False)
class _Wanted:
    """Where the distances of each head are wanted: about its surface, and about a given box.

    Attributes:
        boxes: a box of the lattice for each head; None where there is none.
        margin: points around both, on each axis.
    """

    boxes: Sequence[Box | None]
    margin: Sequence[int]

    def box(self, head: int, coarse: Mask, full: tuple[int, ...]) -> Box:
        """Box of a head in the lattice; `coarse`: the coarse points that are not certainly far outside."""
        boxes = [self.boxes[head]]
        if (found := bounding_box(coarse, 1)) is not None:
            x, y, z = (slice(STRIDE * s.start, min(STRIDE * s.stop, n)) for s, n in zip(found, full, strict=True))
            boxes.append((x, y, z))
        present = [box for box in boxes if box is not None]
        # Neither a surface nor a given box: any voxel, because no field is empty.
        return expand_box(join_boxes(present), self.margin, full) if present else full_box((1, 1, 1))


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
        logits = evaluate_lattice(shape, code, _unit_axes(source), roi.size_mm)
        logits = logits.transpose(0, *(np.argsort(source.axes) + 1))
    return dict(zip(shape.heads, logits, strict=True))


def evaluate_near_surfaces(
    shape: Shape, codes: CodeBook, case_id: str, roi: Roi, around: Mapping[str, Box], margin_mm: float
) -> dict[str, LocalField]:
    """Evaluate the logits of one case on the voxels about the surface of each structure.

    Args:
        shape: the shape.
        codes: the codes of the cohort.
        case_id: id of the case.
        roi: the case's region of interest.
        around: a box of the ROI that the field of a structure shall contain too, such as that of its label.
        margin_mm: margin around the structure and this box.

    Returns:
        Logits of each structure, of the values of `evaluate_case`; where a logit is no distance, on the whole ROI.

    Raises:
        ConfigError: if the case has no code.
    """
    source = roi.source_axes()
    back = np.argsort(source.axes)
    margin = margin_voxels(margin_mm, roi.grid.spacing_mm)
    boxes = [None if (box := around.get(name)) is None else _reordered(box, source.axes) for name in shape.heads]
    wanted = _Wanted(boxes, [margin[axis] for axis in source.axes])
    logits, found = _evaluate_in_boxes(shape, codes.of([case_id]), _unit_axes(source), roi.size_mm, wanted)
    fields = {}
    for name, values, box in zip(shape.heads, logits, found, strict=True):
        x, y, z = (values.shape[axis] for axis in back)
        local = np.ascontiguousarray(values[box].transpose(back))
        fields[name] = LocalField(local, _reordered(box, back), (x, y, z))
    return fields


def _unit_axes(source: SourceAxes) -> Axes:
    """Coordinates of the source's voxels along the unit axes."""
    x, y, z = (source.coordinates[axis] for axis in source.axes)
    return x, y, z


def _reordered(box: Box, axes: Iterable[int]) -> Box:
    x, y, z = (box[axis] for axis in axes)
    return x, y, z
