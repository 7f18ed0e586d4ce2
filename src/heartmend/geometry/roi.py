"""The box of a case in which the shapes live, and the exact way there and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self

import nibabel as nib
import numpy as np
import numpy.typing as npt

from heartmend.errors import BadInputError
from heartmend.geometry.components import main_components_box
from heartmend.geometry.grid import Grid
from heartmend.geometry.resampling import apply_along_axes, linear_weights, nearest_voxels
from heartmend.types import UNKNOWN, FloatArray, Labels, Triple

CT_WINDOW_HU = (-200.0, 500.0)

Resolution = int | Triple


class HasIds(Protocol):
    """What knows the ids of its structures, such as an anatomy."""

    @property
    def ids(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class SourceAxes:
    """Unit coordinates of the voxels of `Roi.source_box()`, kept apart by axis because they are separable.

    Voxel (i, j, k) of the box lies at unit coordinate `coordinates[axes[u]][(i, j, k)[axes[u]]]` on unit axis u.
    """

    coordinates: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]
    """One vector for each source axis."""
    axes: Triple
    """Which source axis carries unit axis u."""


@dataclass(frozen=True)
class Roi:
    """A box of whole voxels on a source grid, which may reach beyond the volume, seen in RAS-like axes.

    Source voxel indices `start` (inside) to `stop` (behind), on the source's own axes. The unit frame is the same
    box with its axes reordered and flipped to the nearest of right, anterior, superior; -1 and 1 are its faces,
    never voxel centres, so the frame does not move with the resolution. Between the unit frame and the source index
    lie a scale, a flip and a permutation only: the way back is exact on every grid, oblique ones too.
    """

    grid: Grid
    start: Triple
    stop: Triple

    def __post_init__(self) -> None:
        if any(a >= b for a, b in zip(self.start, self.stop, strict=True)):
            raise BadInputError(f"an ROI has start < stop on each axis, not {self.start} to {self.stop}")

    @classmethod
    def around(
        cls,
        labels: npt.NDArray[np.integer],
        grid: Grid,
        structures: HasIds | Iterable[int],
        margin_voxels: int = 10,
    ) -> Self:
        """The box about the bulk of the structures in `labels` (x, y, z), with a margin on every side.

        structures: an anatomy, or ids. Islands and crumbs do not move the box (`main_components_box`), nor do absent
        structures. Raises BadInputError when none of the structures is there.
        """
        if labels.shape != grid.shape:
            raise BadInputError(f"labels of shape {labels.shape} are not on a grid of shape {grid.shape}")
        # Not by Iterable: a pydantic model is one too, over its fields.
        ids = tuple(structures.ids if hasattr(structures, "ids") else structures)
        box = main_components_box(labels, ids, grid.spacing_mm)
        if box is None:
            raise BadInputError(f"the label map holds none of the structures {', '.join(map(str, ids))}")
        return cls(grid, start=_triple([s.start - margin_voxels for s in box]), stop=_triple([s.stop + margin_voxels for s in box]))

    @cached_property
    def axes(self) -> Triple:
        """Which source axis carries each unit axis."""
        return _triple(np.argsort(self._orientation[:, 0]))

    @cached_property
    def signs(self) -> Triple:
        """For each unit axis: 1 where the source index grows with it, -1 where it is flipped."""
        return _triple(self._orientation[list(self.axes), 1])

    @property
    def size_mm(self) -> tuple[float, float, float]:
        """The length of the box along each unit axis."""
        x, y, z = ((self._lengths * self.grid.spacing_mm)[list(self.axes)]).tolist()
        return x, y, z

    def native_resolution(self, most: int) -> Triple:
        """The resolution at which each cell is a voxel of the source; where that makes more than `most` cells along an
        axis, one with `most` there and cells of the same proportions."""
        x, y, z = self._lengths[list(self.axes)].tolist()
        share = min(1.0, most / max(x, y, z))
        return max(round(x * share), 1), max(round(y * share), 1), max(round(z * share), 1)

    def unit_to_index(self, points: npt.ArrayLike) -> FloatArray:
        """Continuous source voxel indices (..., 3) of unit coordinates (..., 3)."""
        points = np.asarray(points, dtype=np.float64)
        index = np.empty_like(points)
        index[..., list(self.axes)] = points * self.signs
        return (index + 1) / 2 * self._lengths + self._low_faces

    def index_to_unit(self, ijk: npt.ArrayLike) -> FloatArray:
        """Unit coordinates (..., 3) of continuous source voxel indices (..., 3)."""
        along = (np.asarray(ijk, dtype=np.float64) - self._low_faces) / self._lengths * 2 - 1
        unit: FloatArray = along[..., list(self.axes)] * self.signs
        return unit

    def grid_at(self, resolution: Resolution) -> Grid:
        """The grid of the box cut into `resolution` cells a side: the one on which resampled volumes lie."""
        counts = np.array(_counts(resolution))
        # A step of one cell along unit axis u is 2 / n in the unit frame.
        corner = self.unit_to_index(1 / counts - 1)
        steps = np.stack([self.unit_to_index(np.eye(3)[u] * 2 / counts[u]) - self.unit_to_index(np.zeros(3))
                          for u in range(3)], axis=1)  # fmt: skip
        affine = np.eye(4)
        affine[:3, :3] = self.grid.affine[:3, :3] @ steps
        affine[:3, 3] = self.grid.index_to_world(corner)
        return Grid(_triple(counts), affine)

    def resample_labels(self, labels: npt.NDArray[Any], resolution: Resolution = 128) -> Labels:
        """Labels (x, y, z) of the source to (n, n, n) of the unit frame: each cell takes the voxel at its centre.

        Cells whose centre lies outside the volume get 255, unknown.
        """
        self._check_source(labels)
        picks = self._nearest_picks(resolution)
        inside = [(p >= 0) & (p < n) for p, n in zip(picks, self.grid.shape, strict=True)]
        kept = labels[np.ix_(*[p[ok] for p, ok in zip(picks, inside, strict=True)])]
        cells = np.full([len(p) for p in picks], UNKNOWN, dtype=np.uint8)
        cells[np.ix_(*inside)] = kept
        return np.ascontiguousarray(cells.transpose(self.axes))

    def resample_image(
        self,
        image: npt.NDArray[Any],
        resolution: Resolution = 128,
        window_hu: tuple[float, float] = CT_WINDOW_HU,
    ) -> npt.NDArray[np.float32]:
        """CT (x, y, z) in HU to (n, n, n) of the unit frame, the window going to [0, 1]; 0 outside the volume.

        Linear, with a kernel that widens where cells are larger than voxels, so that nothing aliases.
        """
        self._check_source(image)
        low, high = window_hu
        box = self.source_box()
        windowed = np.nan_to_num(np.asarray(image[box], dtype=np.float32), nan=low, posinf=high, neginf=low)
        np.clip(windowed, low, high, out=windowed)
        windowed -= np.float32(low)
        windowed /= np.float32(high - low)
        return self.resample_field(windowed, resolution)

    def resample_field(self, field: npt.NDArray[Any], resolution: Resolution = 128) -> npt.NDArray[np.float32]:
        """A smooth quantity on the voxels of `source_box()`, such as a distance, read at the cells of the unit frame.

        Linear, with a kernel that widens where cells are larger than voxels, so that nothing aliases. 0 outside the
        volume.
        """
        box = self.source_box()
        if field.shape != tuple(part.stop - part.start for part in box):
            raise BadInputError(f"a field of shape {field.shape} is not on the ROI's source box")
        counts = np.empty(3, dtype=np.int64)
        counts[list(self.axes)] = _counts(resolution)
        weights, inside = [], []
        for axis in range(3):
            per_step = self._lengths[axis] / counts[axis]
            at = self._low_faces[axis] + (np.arange(counts[axis]) + 0.5) * per_step
            if self._orientation[axis, 1] < 0:
                at = at[::-1]
            weight, covered = linear_weights(at, box[axis].start, box[axis].stop, per_step)
            weights.append(weight)
            inside.append(covered)
        cells = apply_along_axes(np.asarray(field, dtype=np.float32), weights)
        for axis, covered in enumerate(inside):
            np.moveaxis(cells, axis, 0)[~covered] = 0
        return np.ascontiguousarray(cells.transpose(self.axes))

    def inside_volume(self, resolution: Resolution = 128) -> npt.NDArray[np.bool_]:
        """(n, n, n) of the unit frame: which cells have their centre in the volume."""
        picks = self._nearest_picks(resolution)
        inside = [(p >= 0) & (p < n) for p, n in zip(picks, self.grid.shape, strict=True)]
        x, y, z = inside
        cells: npt.NDArray[np.bool_] = x[:, None, None] & y[:, None] & z
        return np.ascontiguousarray(cells.transpose(self.axes))

    def source_box(self) -> tuple[slice, slice, slice]:
        """The part of the source volume that lies in the ROI; its slices may be empty but are never negative."""
        x, y, z = (
            slice(min(max(a, 0), n), max(min(b, n), 0))
            for a, b, n in zip(self.start, self.stop, self.grid.shape, strict=True)
        )
        return x, y, z

    def zero_outside(self, volume: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A volume (x, y, z) of the source with 0 wherever it lies outside the ROI."""
        self._check_source(volume)
        shown = np.zeros_like(volume)
        shown[self.source_box()] = volume[self.source_box()]
        return shown

    def source_grid(self) -> Grid:
        """The grid of `source_box()`; BadInputError where the box holds no voxel of the volume."""
        return self.grid.crop(self.source_box())

    def source_axes(self) -> SourceAxes:
        """Unit coordinates of the voxel centres of `source_box()`, as three vectors."""
        vectors: list[npt.NDArray[np.float32]] = []
        for axis, part in enumerate(self.source_box()):
            along = (np.arange(part.start, part.stop) - self._low_faces[axis]) / self._lengths[axis] * 2 - 1
            vectors.append((along * self._orientation[axis, 1]).astype(np.float32))
        x, y, z = vectors
        return SourceAxes(coordinates=(x, y, z), axes=self.axes)

    def source_points(self) -> npt.NDArray[np.float32]:
        """Unit coordinates (bx, by, bz, 3) of the voxel centres of `source_box()`; `source_axes` is far smaller."""
        lattice = np.stack(np.meshgrid(*self.source_axes().coordinates, indexing="ij"), axis=-1)
        return np.ascontiguousarray(lattice[..., list(self.axes)])

    def image_to_source(self, cells: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """A volume (n, n, n) of the unit frame, read linearly at the voxels of `source_box()`: (bx, by, bz)."""
        cells = np.asarray(cells, dtype=np.float32).transpose(np.argsort(self.axes))
        weights = []
        for axis, coordinates in enumerate(self.source_axes().coordinates):
            count = cells.shape[axis]
            signed = coordinates.astype(np.float64)
            weights.append(linear_weights((signed + 1) / 2 * count - 0.5, 0, count, count / self._lengths[axis])[0])
        return apply_along_axes(np.ascontiguousarray(cells), weights)

    def labels_to_source(self, cells: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Labels (n, n, n) of the unit frame at the voxels of `source_box()`: each takes the cell that it lies in."""
        cells = np.asarray(cells).transpose(np.argsort(self.axes))
        picks = []
        for axis, coordinates in enumerate(self.source_axes().coordinates):
            count = cells.shape[axis]
            held = np.floor((coordinates.astype(np.float64) + 1) / 2 * count).astype(np.int64)
            picks.append(held.clip(0, count - 1))
        return cells[np.ix_(*picks)]

    def to_dict(self) -> dict[str, Any]:
        """A table for JSON; `from_dict` gives the same ROI back, to the last bit."""
        return {"grid": self.grid.to_dict(), "start": list(self.start), "stop": list(self.stop)}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        """The ROI that `to_dict` wrote."""
        return cls(Grid.from_dict(table["grid"]), start=_triple(table["start"]), stop=_triple(table["stop"]))

    @cached_property
    def _orientation(self) -> FloatArray:
        """(3, 2): for each source axis the unit axis that it carries, and 1 or -1."""
        return np.asarray(nib.orientations.io_orientation(self.grid.affine), dtype=np.float64)

    @property
    def _lengths(self) -> FloatArray:
        return np.array(self.stop, dtype=np.float64) - self.start

    @property
    def _low_faces(self) -> FloatArray:
        return np.array(self.start, dtype=np.float64) - 0.5

    def _nearest_picks(self, resolution: Resolution) -> list[npt.NDArray[np.int64]]:
        """For each source axis the voxel index, maybe outside the volume, that each cell along it takes.

        Counted from the low face of the unit axis, so that a volume stored flipped gives the same cells.
        """
        picks: list[npt.NDArray[np.int64]] = [np.empty(0, dtype=np.int64)] * 3
        for axis, sign, count in zip(self.axes, self.signs, _counts(resolution), strict=True):
            steps = nearest_voxels(self.stop[axis] - self.start[axis], count)
            picks[axis] = self.start[axis] + steps if sign > 0 else self.stop[axis] - 1 - steps
        return picks

    def _check_source(self, volume: npt.NDArray[Any]) -> None:
        if volume.shape != self.grid.shape:
            raise BadInputError(f"a volume of shape {volume.shape} is not on the ROI's grid of {self.grid.shape}")


def _triple(values: npt.ArrayLike) -> Triple:
    x, y, z = (int(v) for v in np.asarray(values))
    return x, y, z


def _counts(resolution: Resolution) -> Triple:
    counts = (resolution,) * 3 if isinstance(resolution, int) else resolution
    if min(counts) < 1:
        raise BadInputError(f"a resolution is at least 1, not {resolution}")
    return counts
