"""Region of interest (ROI) of a case, and the exact conversion between its unit frame and the voxels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self

import nibabel as nib
import numpy as np
import numpy.typing as npt

from heartmend.errors import BadInputError
from heartmend.geometry.boxes import Box, full_box
from heartmend.geometry.components import main_components_box
from heartmend.geometry.grid import Grid
from heartmend.geometry.resampling import apply_along_axes, linear_weights, nearest_voxels
from heartmend.types import UNKNOWN, FloatArray, Labels, Triple

CT_WINDOW_HU = (-200.0, 500.0)
"""Window of CT values that is mapped to 0 to 1."""

Resolution = int | Triple
"""Number of cells along the axes of the unit frame, one for all axes or one per axis."""


class HasIds(Protocol):
    """Object with the ids of structures, such as an anatomy."""

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of the structures."""


@dataclass(frozen=True)
class SourceAxes:
    """Unit coordinates of the voxels of `Roi.source_box()`, separately for each axis.

    Voxel (i, j, k) of the box has the unit coordinate `coordinates[axes[u]][(i, j, k)[axes[u]]]` on unit axis u.

    Attributes:
        coordinates: one float32 vector per source axis.
        axes: the source axis of each unit axis.
    """

    coordinates: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]
    axes: Triple


@dataclass(frozen=True)
class Roi:
    """Region of interest: a box of whole voxels on a source grid, which may extend beyond the volume.

    The unit frame is the same box with its axes reordered and flipped to the nearest of right, anterior, superior.
    -1 and 1 are its faces, never voxel centres, so the frame does not depend on the resolution. Unit coordinates and
    source indices differ by a scale, a flip and a permutation only: the conversion is exact on every grid, also on
    oblique ones.

    Attributes:
        grid: grid of the source volume.
        start: first voxel of the box on each source axis; may be negative.
        stop: the voxel after the last one on each source axis; may exceed the volume.

    Raises:
        BadInputError: if the box is empty.

    Example:
        >>> import numpy as np
        >>> roi = Roi(Grid((10, 10, 10), np.diag([-1.0, 1.0, 1.0, 1.0])), start=(2, 2, 2), stop=(6, 6, 6))
        >>> roi.index_to_unit((1.5, 1.5, 1.5)).tolist(), roi.signs
        ([1.0, -1.0, -1.0], (-1, 1, 1))
    """

    grid: Grid
    start: Triple
    stop: Triple

    def __post_init__(self) -> None:
        if any(a >= b for a, b in zip(self.start, self.stop, strict=True)):
            raise BadInputError(f"an ROI needs start < stop on each axis, not {self.start} to {self.stop}")

    @classmethod
    def around(
        cls,
        labels: npt.NDArray[np.integer],
        grid: Grid,
        structures: HasIds | Iterable[int],
        margin_voxels: int = 10,
    ) -> Self:
        """Create the ROI around the main components of the structures of a label map.

        Small components and components far away have no influence (`main_components_box`).

        Args:
            labels: (x, y, z) ids.
            grid: grid of the label map.
            structures: an anatomy, or ids.
            margin_voxels: margin on every side, in voxels.

        Returns:
            The ROI.

        Raises:
            BadInputError: if the label map contains none of the structures, or is not on the grid.

        Example:
            >>> import numpy as np
            >>> labels = np.zeros((20, 20, 20), dtype=np.uint8)
            >>> labels[8:12, 8:12, 8:12] = 3
            >>> roi = Roi.around(labels, Grid((20, 20, 20), np.eye(4)), structures=[3], margin_voxels=2)
            >>> roi.start, roi.stop
            ((6, 6, 6), (14, 14, 14))
        """
        if labels.shape != grid.shape:
            raise BadInputError(f"labels of shape {labels.shape} do not fit a grid of shape {grid.shape}")
        # Not by Iterable: a pydantic model is one too, over its fields.
        ids = tuple(structures.ids if hasattr(structures, "ids") else structures)
        box = main_components_box(labels, ids, grid.spacing_mm)
        if box is None:
            raise BadInputError(f"the label map contains none of the structures {', '.join(map(str, ids))}")
        return cls(
            grid,
            start=_triple([s.start - margin_voxels for s in box]),
            stop=_triple([s.stop + margin_voxels for s in box]),
        )

    @cached_property
    def axes(self) -> Triple:
        """Source axis of each unit axis."""
        return _triple(np.argsort(self._orientation[:, 0]))

    @cached_property
    def signs(self) -> Triple:
        """Sign of each unit axis: 1 where the source index increases with it, -1 where it is flipped."""
        return _triple(self._orientation[list(self.axes), 1])

    @property
    def size_mm(self) -> tuple[float, float, float]:
        """Length of the box in mm along each unit axis."""
        x, y, z = ((self._lengths * self.grid.spacing_mm)[list(self.axes)]).tolist()
        return x, y, z

    def native_resolution(self, max_cells: int) -> Triple:
        """Compute the resolution at which each cell is a voxel of the source.

        Args:
            max_cells: largest number of cells along an axis; above it the cells are larger, with the same proportions.

        Returns:
            Number of cells along each unit axis.

        Example:
            >>> import numpy as np
            >>> roi = Roi(Grid((100, 100, 100), np.eye(4)), start=(0, 0, 0), stop=(80, 40, 40))
            >>> roi.native_resolution(128), roi.native_resolution(20)
            ((80, 40, 40), (20, 10, 10))
        """
        x, y, z = self._lengths[list(self.axes)].tolist()
        share = min(1.0, max_cells / max(x, y, z))
        return max(round(x * share), 1), max(round(y * share), 1), max(round(z * share), 1)

    def unit_to_index(self, points: npt.ArrayLike) -> FloatArray:
        """Convert unit coordinates to source voxel indices.

        Args:
            points: (..., 3) unit coordinates.

        Returns:
            (..., 3) float64, fractional voxel indices.
        """
        points = np.asarray(points, dtype=np.float64)
        index = np.empty_like(points)
        index[..., list(self.axes)] = points * self.signs
        return (index + 1) / 2 * self._lengths + self._low_faces

    def index_to_unit(self, ijk: npt.ArrayLike) -> FloatArray:
        """Convert source voxel indices to unit coordinates: the inverse of `unit_to_index`.

        Args:
            ijk: (..., 3) voxel indices, also fractional ones.

        Returns:
            (..., 3) float64, unit coordinates.
        """
        along = (np.asarray(ijk, dtype=np.float64) - self._low_faces) / self._lengths * 2 - 1
        unit: FloatArray = along[..., list(self.axes)] * self.signs
        return unit

    def box_index_to_unit(self, points: npt.ArrayLike) -> FloatArray:
        """Convert voxel indices within `source_box()` to unit coordinates.

        Args:
            points: (..., 3) voxel indices of an array on that box, also fractional ones.

        Returns:
            (..., 3) float64, unit coordinates.
        """
        return self.index_to_unit(np.asarray(points, dtype=np.float64) + [part.start for part in self.source_box()])

    def grid_at(self, resolution: Resolution) -> Grid:
        """Return the grid of the ROI's cells, which is that of resampled volumes.

        Args:
            resolution: number of cells along the unit axes.

        Returns:
            The grid, with axes in the order of the unit frame.
        """
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
        """Resample a label map to the unit frame, by nearest neighbour.

        Args:
            labels: (x, y, z) ids on the source grid.
            resolution: number of cells along the unit axes.

        Returns:
            (nx, ny, nz) uint8; cells whose centre is outside the volume get 255, unknown.

        Raises:
            BadInputError: if the labels are not on the source grid.

        Example:
            >>> import numpy as np
            >>> roi = Roi(Grid((4, 4, 4), np.eye(4)), start=(0, 0, 0), stop=(4, 4, 4))
            >>> labels = np.zeros((4, 4, 4), dtype=np.uint8)
            >>> labels[1] = 3
            >>> roi.resample_labels(labels, 2)[:, 0, 0].tolist()
            [3, 0]
        """
        self._check_source(labels)
        picks = self._nearest_picks(resolution)
        inside = [(p >= 0) & (p < n) for p, n in zip(picks, self.grid.shape, strict=True)]
        values = labels[np.ix_(*[p[ok] for p, ok in zip(picks, inside, strict=True)])]
        cells = np.full([len(p) for p in picks], UNKNOWN, dtype=np.uint8)
        cells[np.ix_(*inside)] = values
        return np.ascontiguousarray(cells.transpose(self.axes))

    def resample_image(
        self,
        image: npt.NDArray[Any],
        resolution: Resolution = 128,
        window_hu: tuple[float, float] = CT_WINDOW_HU,
    ) -> npt.NDArray[np.float32]:
        """Resample a CT to the unit frame, linearly and without aliasing.

        Args:
            image: (x, y, z) in HU on the source grid.
            resolution: number of cells along the unit axes.
            window_hu: values that are mapped to 0 and 1; values outside are clipped.

        Returns:
            (nx, ny, nz) float32, 0 to 1; 0 outside the volume.

        Raises:
            BadInputError: if the image is not on the source grid.
        """
        self._check_source(image)
        low, high = window_hu
        box = self.source_box()
        windowed = np.nan_to_num(np.asarray(image[box], dtype=np.float32), nan=low, posinf=high, neginf=low)
        np.clip(windowed, low, high, out=windowed)
        windowed -= np.float32(low)
        windowed /= np.float32(high - low)
        return self.resample_field(windowed, resolution)

    def resample_field(
        self,
        field: npt.NDArray[Any],
        resolution: Resolution = 128,
        part: Box | None = None,
        elsewhere: float = 0.0,
    ) -> npt.NDArray[np.float32]:
        """Resample a smooth quantity, such as a distance, to the unit frame, linearly and without aliasing.

        Args:
            field: (bx, by, bz) on the voxels of `source_box()`, or of a part of it.
            resolution: number of cells along the unit axes.
            part: the part, in indices of `source_box()`; None for all of it.
            elsewhere: value of the voxels beside the part.

        Returns:
            (nx, ny, nz) float32; 0 outside the volume.

        Raises:
            BadInputError: if the field is not on the source box, or on its part.
        """
        box = self.source_box()
        part = full_box(tuple(side.stop - side.start for side in box)) if part is None else part
        if field.shape != tuple(side.stop - side.start for side in part):
            raise BadInputError(f"a field of shape {field.shape} does not fit the ROI's source box")
        counts = np.empty(3, dtype=np.int64)
        counts[list(self.axes)] = _counts(resolution)
        weights, inside, reached = [], [], []
        for axis in range(3):
            per_step = self._lengths[axis] / counts[axis]
            at = self._low_faces[axis] + (np.arange(counts[axis]) + 0.5) * per_step
            if self._orientation[axis, 1] < 0:
                at = at[::-1]
            weight, covered = linear_weights(at, box[axis].start, box[axis].stop, per_step)
            weight = weight[:, part[axis]]
            used = np.flatnonzero(np.diff(weight.indptr))
            rows = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0)
            weights.append(weight[rows])
            reached.append(rows)
            inside.append(covered)
        cells = np.full(tuple(counts), elsewhere, dtype=np.float32)
        if field.size:
            # The weights of a cell sum to 1: only the difference from the value elsewhere is resampled.
            change = np.asarray(field, dtype=np.float32) - np.float32(elsewhere)
            cells[tuple(reached)] += apply_along_axes(change, weights)
        for axis, covered in enumerate(inside):
            np.moveaxis(cells, axis, 0)[~covered] = 0
        return np.ascontiguousarray(cells.transpose(self.axes))

    def inside_volume(self, resolution: Resolution = 128) -> npt.NDArray[np.bool_]:
        """Test which cells of the unit frame are inside the volume.

        Args:
            resolution: number of cells along the unit axes.

        Returns:
            (nx, ny, nz) bool, by the centre of each cell.
        """
        picks = self._nearest_picks(resolution)
        inside = [(p >= 0) & (p < n) for p, n in zip(picks, self.grid.shape, strict=True)]
        x, y, z = inside
        cells: npt.NDArray[np.bool_] = x[:, None, None] & y[:, None] & z
        return np.ascontiguousarray(cells.transpose(self.axes))

    def source_box(self) -> Box:
        """Return the part of the source volume that is in the ROI.

        Returns:
            The box; its slices may be empty but are never negative.
        """
        x, y, z = (
            slice(min(max(a, 0), n), max(min(b, n), 0))
            for a, b, n in zip(self.start, self.stop, self.grid.shape, strict=True)
        )
        return x, y, z

    def zero_outside(self, volume: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Set a volume to 0 outside the ROI.

        Args:
            volume: (x, y, z) on the source grid.

        Returns:
            A copy (x, y, z) of the same dtype.

        Raises:
            BadInputError: if the volume is not on the source grid.
        """
        self._check_source(volume)
        masked = np.zeros_like(volume)
        masked[self.source_box()] = volume[self.source_box()]
        return masked

    def source_grid(self) -> Grid:
        """Return the grid of `source_box()`.

        Returns:
            The grid.

        Raises:
            BadInputError: if the ROI contains no voxel of the volume.
        """
        return self.grid.crop(self.source_box())

    def source_axes(self) -> SourceAxes:
        """Compute the unit coordinates of the voxel centres of `source_box()`.

        Returns:
            The coordinates, one vector per axis.
        """
        vectors: list[npt.NDArray[np.float32]] = []
        for axis, part in enumerate(self.source_box()):
            along = (np.arange(part.start, part.stop) - self._low_faces[axis]) / self._lengths[axis] * 2 - 1
            vectors.append((along * self._orientation[axis, 1]).astype(np.float32))
        x, y, z = vectors
        return SourceAxes(coordinates=(x, y, z), axes=self.axes)

    def image_to_source(self, cells: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Resample a volume of the unit frame to the voxels of `source_box()`, linearly.

        Args:
            cells: (nx, ny, nz) in the unit frame.

        Returns:
            (bx, by, bz) float32.
        """
        cells = np.asarray(cells, dtype=np.float32).transpose(np.argsort(self.axes))
        weights = []
        for axis, coordinates in enumerate(self.source_axes().coordinates):
            count = cells.shape[axis]
            signed = coordinates.astype(np.float64)
            weights.append(linear_weights((signed + 1) / 2 * count - 0.5, 0, count, count / self._lengths[axis])[0])
        return apply_along_axes(np.ascontiguousarray(cells), weights)

    def to_dict(self) -> dict[str, Any]:
        """Convert the ROI to a table for JSON, without loss.

        Returns:
            The table; `from_dict` is the inverse.
        """
        return {"grid": self.grid.to_dict(), "start": list(self.start), "stop": list(self.stop)}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        """Create the ROI from the table of `to_dict`.

        Args:
            table: the table.

        Returns:
            The same ROI.
        """
        return cls(Grid.from_dict(table["grid"]), start=_triple(table["start"]), stop=_triple(table["stop"]))

    @cached_property
    def _orientation(self) -> FloatArray:
        """(3, 2): for each source axis its unit axis, and its sign."""
        return np.asarray(nib.orientations.io_orientation(self.grid.affine), dtype=np.float64)

    @property
    def _lengths(self) -> FloatArray:
        return np.array(self.stop, dtype=np.float64) - self.start

    @property
    def _low_faces(self) -> FloatArray:
        return np.array(self.start, dtype=np.float64) - 0.5

    def _nearest_picks(self, resolution: Resolution) -> list[npt.NDArray[np.int64]]:
        """For each source axis the voxel of each cell along it, possibly outside the volume.

        Counted from the low face of the unit axis, so that a volume that is stored flipped gives the same cells.
        """
        picks: list[npt.NDArray[np.int64]] = [np.empty(0, dtype=np.int64)] * 3
        for axis, sign, count in zip(self.axes, self.signs, _counts(resolution), strict=True):
            steps = nearest_voxels(self.stop[axis] - self.start[axis], count)
            picks[axis] = self.start[axis] + steps if sign > 0 else self.stop[axis] - 1 - steps
        return picks

    def _check_source(self, volume: npt.NDArray[Any]) -> None:
        if volume.shape != self.grid.shape:
            raise BadInputError(
                f"a volume of shape {volume.shape} does not fit the ROI's grid of shape {self.grid.shape}"
            )


def _triple(values: npt.ArrayLike) -> Triple:
    x, y, z = (int(v) for v in np.asarray(values))
    return x, y, z


def _counts(resolution: Resolution) -> Triple:
    counts = (resolution,) * 3 if isinstance(resolution, int) else resolution
    if min(counts) < 1:
        raise BadInputError(f"the resolution must be at least 1, not {resolution}")
    return counts
