"""Sampling of one case: the points that a fit may sample and the signed distances there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from heartmend.geometry.boxes import EMPTY_BOX, Box, boxes_by_id, nested_box
from heartmend.geometry.components import without_small_components
from heartmend.geometry.distance import DistanceMap, mask_distance_in_unit_frame_mm
from heartmend.types import Labels, Mask, Triple

if TYPE_CHECKING:  # it needs nibabel, which the GPU benchmark does without
    from heartmend.geometry.roi import Resolution, Roi

BAND_MM = 4.0
"""Half width of the band about the boundaries, in mm."""


@dataclass(frozen=True)
class Density:
    """How many cells of a case are sampled, and where.

    Attributes:
        band_mm: half width of the band about the boundaries, in mm.
        far_share: share of the known cells outside the band that are sampled.
        max_points: most cells of a case; where there are more, a random part is sampled, inside the band and outside.
    """

    band_mm: float = BAND_MM
    far_share: float = 0.05
    max_points: int | None = None


FUSED_DENSITY = Density(band_mm=2.0, far_share=0.03)
"""For fused maps, whose labels are decided within one voxel of a boundary; what is far from it is learned quickly."""


@dataclass(frozen=True)
class CaseSummary:
    """Summary of one case without its points, small enough to be sent to every process.

    Attributes:
        case_id: id of the case.
        side: largest number of cells along an axis.
        size_mm: extent of the case's box along each axis, in mm.
        centroids: (heads, 3) float32, unit coordinates; NaN where the structure is absent or cut by the field of view.
        present: (heads,) bool.
        volumes: (heads,) float64, cells inside each structure.
    """

    case_id: str
    side: int
    size_mm: tuple[float, float, float]
    centroids: npt.NDArray[np.float32]
    present: npt.NDArray[np.bool_]
    volumes: npt.NDArray[np.float64]

    def select_heads(self, columns: Sequence[int]) -> CaseSummary:
        """Select some of the structures.

        Args:
            columns: columns of the structures.

        Returns:
            The summary of these structures.
        """
        picked = list(columns)
        return replace(
            self, centroids=self.centroids[picked], present=self.present[picked], volumes=self.volumes[picked]
        )


@dataclass(frozen=True)
class CaseSamples:
    """Sampled points of one case, whose box is divided into `counts` cells.

    Attributes:
        case_id: id of the case.
        counts: number of cells along each axis.
        size_mm: extent of the case's box along each axis, in mm.
        voxels: (points,) int32, flat indices of the sampled cells in C order, the cells of the band first.
        band: number of sampled cells within the band about a boundary.
        distances: (points, heads) int8, signed distance to the boundary in steps of 8/127 mm, positive inside.
        shares: share of the known cells that are sampled, within the band and outside it.
        centroids: (heads, 3) float32, unit coordinates; NaN where the structure is absent or cut by the field of view.
        present: (heads,) bool.
    """

    case_id: str
    counts: Triple
    size_mm: tuple[float, float, float]
    voxels: npt.NDArray[np.int32]
    band: int
    distances: npt.NDArray[np.int8]
    shares: tuple[float, float]
    centroids: npt.NDArray[np.float32]
    present: npt.NDArray[np.bool_]

    @property
    def side(self) -> int:
        """The largest number of cells along an axis."""
        return max(self.counts)

    @property
    def volumes(self) -> npt.NDArray[np.float64]:
        """(heads,) number of cells inside each structure, estimated from the sampled cells."""
        inside = self.distances > 0
        near, far = (max(share, 1e-6) for share in self.shares)
        return inside[: self.band].sum(axis=0) / near + inside[self.band :].sum(axis=0) / far

    @property
    def summary(self) -> CaseSummary:
        """The case without its points."""
        return CaseSummary(self.case_id, self.side, self.size_mm, self.centroids, self.present, self.volumes)

    def select_heads(self, columns: Sequence[int]) -> CaseSamples:
        """Select some of the structures.

        Args:
            columns: columns of the structures.

        Returns:
            The same points with these structures.
        """
        picked = list(columns)
        return replace(
            self, distances=np.ascontiguousarray(self.distances[:, picked]), centroids=self.centroids[picked],
            present=self.present[picked],
        )  # fmt: skip


def sample_case(
    case_id: str,
    source: Labels,
    roi: Roi,
    ids: Sequence[int],
    *,
    resolution: Resolution = 128,
    density: Density | None = None,
    seed: int = 0,
) -> CaseSamples:
    """Sample the points of one case: all cells near a boundary, and a random share of the others.

    Args:
        case_id: id of the case.
        source: (x, y, z) uint8 labels on the voxels of `roi.source_box()`.
        roi: the case's region of interest.
        ids: label id of each head, in the order of the heads.
        resolution: cells along the longest side, or along each axis.
        density: how many cells are sampled; that of the fit if None.
        seed: seed of the random choice.

    Returns:
        The samples of the case.
    """
    density = density or Density()
    known = roi.inside_volume(resolution)
    near = np.zeros(known.shape, dtype=bool)
    layers, centroids, present, boxes = [], [], [], boxes_by_id(source, max(ids))
    for id in ids:
        box = boxes.get(id, EMPTY_BOX)
        mask = without_small_components(source[box] == id)
        distance = mask_distance_in_unit_frame_mm(mask, box, roi, resolution)
        near |= np.abs(distance) < density.band_mm
        layers.append(DistanceMap.of_mm(distance).steps)
        present.append(bool(mask.any()))
        centroids.append(_centroid(mask, box, roi))
    near &= known
    far = known & ~near
    rng = np.random.default_rng(seed)
    band, rest = np.flatnonzero(near), np.flatnonzero(far)
    wanted = len(band) + density.far_share * len(rest)
    kept = 1.0 if density.max_points is None else min(density.max_points / max(wanted, 1.0), 1.0)
    shares = kept, kept * density.far_share
    band, rest = (
        cells if share == 1 or not len(cells) else np.sort(rng.choice(cells, round(share * len(cells)), replace=False))
        for cells, share in zip((band, rest), shares, strict=True)
    )
    voxels = np.concatenate([band, rest]).astype(np.int32)
    distances = np.stack([layer.reshape(-1)[voxels] for layer in layers], axis=1)
    return CaseSamples(
        case_id=case_id, counts=known.shape, size_mm=roi.size_mm, voxels=voxels, band=len(band), distances=distances,
        shares=shares, centroids=np.array(centroids, dtype=np.float32), present=np.array(present),
    )  # fmt: skip


def sample_fused_case(
    case_id: str, fused: Labels, roi: Roi, ids: Sequence[int], resolution: int, seed: int
) -> CaseSamples:
    """Sample the points of a fused label map, from a narrower band and at a finer resolution than `sample_case`.

    Args:
        case_id: id of the case.
        fused: (x, y, z) uint8 fused labels on the voxels of `roi.source_box()`.
        roi: the case's region of interest.
        ids: label id of each head, in the order of the heads.
        resolution: largest number of cells along the longest side; the map's own voxels where they are coarser.
        seed: seed of the random choice.

    Returns:
        The samples of the case.
    """
    return sample_case(
        case_id, fused, roi, ids,
        resolution=roi.native_resolution(resolution), density=FUSED_DENSITY, seed=seed,
    )  # fmt: skip


def _centroid(mask: Mask, box: Box, roi: Roi) -> tuple[float, float, float]:
    """Compute the centroid in unit coordinates; NaN for a structure that is absent or cut by the field of view."""
    if not mask.any() or _is_cut(mask, box, roi):
        return (float("nan"),) * 3
    source = roi.source_axes()
    sums = [mask.sum(axis=tuple({0, 1, 2} - {a})) for a in range(3)]
    along = [float(s @ c[part] / s.sum()) for s, c, part in zip(sums, source.coordinates, box, strict=True)]
    x, y, z = (along[axis] for axis in source.axes)
    return x, y, z


def _is_cut(mask: Mask, box: Box, roi: Roi, share: float = 0.005) -> bool:
    """Whether more than `share` of the structure's voxels lie on the faces of the volume."""
    on_faces = 0
    for axis, (part, count) in enumerate(zip(nested_box(roi.source_box(), box), roi.grid.shape, strict=True)):
        planes = np.moveaxis(mask, axis, 0)
        on_faces += int(planes[0].sum()) if part.start == 0 else 0
        on_faces += int(planes[-1].sum()) if part.stop == count else 0
    return on_faces > share * int(mask.sum())
