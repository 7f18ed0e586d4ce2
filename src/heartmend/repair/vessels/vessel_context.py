"""Context of a vessel tree, as far as it is known: aorta, surface of the heart, bright lumen in the CT image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_erosion, gaussian_filter, gaussian_filter1d
from skimage.graph import MCP_Geometric

from heartmend.geometry.centrelines.tree import CentreTree, IntArray, Spacing, voxel_points
from heartmend.geometry.components import without_small_components
from heartmend.geometry.distance import distance_to_other_label_mm
from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.geometry.scalar_field import ScalarField
from heartmend.types import FloatArray, Mask

_DEEP_MM = 2.0
"""Depth inside the heart's structures from which on no coronary runs."""
_CORRIDOR_MM = 3.0
"""Largest distance of a path along the lumen from the arc of its bridge."""
_SAMPLING_MM = 0.5
"""Standard deviation of the smoothing of an image for single samples."""
_COARSE_MM = 2.0
"""Voxel spacing of the distance to the heart: fine enough to separate deep from far."""
_SMALL_SHARE = 0.05
"""Components of the aorta below this share of its largest one are ignored."""


@dataclass(frozen=True)
class Lumen:
    """Contrast CT image with the intensities of a vessel and of its surroundings.

    Attributes:
        image: the CT image.
        inside: median intensity in the vessel.
        outside: median intensity around the vessel.
    """

    image: ScalarField
    inside: float
    outside: float

    @cached_property
    def smooth(self) -> FloatArray:
        """(x, y, z) intensities for single samples: without most of their noise."""
        return gaussian_filter(self.image.values, [_SAMPLING_MM / step for step in self.image.spacing_mm])

    @classmethod
    def of(cls, image: npt.NDArray[np.generic], label: Mask, spacing_mm: Spacing) -> Lumen | None:
        """Measure the intensities in the label and in the shell 2 to 4 mm outside it.

        Args:
            image: (x, y, z) CT image.
            label: (x, y, z) bool, label of the vessel.
            spacing_mm: voxel spacing.

        Returns:
            The image with its intensities; None if the vessel is not brighter than its surroundings.
        """
        volume = np.asarray(image, np.float32)
        distance = distance_transform_mm(~label, spacing_mm)
        shell = (distance > 2.0) & (distance < 4.0)
        if not label.any() or not shell.any():
            return None
        inside, outside = float(np.median(volume[label])), float(np.median(volume[shell]))
        spread = 1.4826 * float(np.median(np.abs(volume[shell] - outside)))
        return cls(ScalarField(volume, spacing_mm), inside, outside) if inside - outside > spread else None

    def path(self, arc: FloatArray, start: FloatArray, end: FloatArray) -> FloatArray:
        """Find the minimal path along bright voxels in a corridor around an arc.

        Args:
            arc: (n, 3) points of the arc in mm, its ends excluded.
            start: (3,) start of the arc.
            end: (3,) end of the arc.

        Returns:
            (m, 3) points of the path, its ends excluded; the arc itself if the path is dark.
        """
        spacing = np.array(self.image.spacing_mm)
        full_arc = np.concatenate([start[None], arc, end[None]])
        shape = np.array(self.image.values.shape)
        low = np.clip(np.floor((full_arc.min(axis=0) - _CORRIDOR_MM) / spacing).astype(int), 0, shape - 1)
        high = np.clip(np.ceil((full_arc.max(axis=0) + _CORRIDOR_MM) / spacing).astype(int) + 1, low + 1, shape)
        part = self.image.values[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        line = np.zeros(part.shape, bool)
        line[tuple(np.clip(np.round(full_arc / spacing).astype(int) - low, 0, high - low - 1).T)] = True
        off = distance_transform_mm(~line, self.image.spacing_mm)
        # Blurred by about the radius of the lumen, the centre of the vessel is brightest.
        blurred = gaussian_filter(part, [0.5 / s for s in self.image.spacing_mm])
        darkness = np.clip((self.inside - blurred) / (self.inside - self.outside), 0.0, 1.0)
        # A negative cost excludes a voxel.
        cost = np.where(off <= _CORRIDOR_MM, 0.1 + darkness + 0.1 * off, -1.0)
        first, last = (np.clip(np.round(p / spacing).astype(int) - low, 0, high - low - 1) for p in (start, end))
        route = MCP_Geometric(cost, sampling=self.image.spacing_mm)
        route.find_costs([tuple(first)], [tuple(last)])
        voxels = np.array(route.traceback(tuple(last)))
        if darkness[tuple(voxels.T)].mean() > 0.5 or len(voxels) < 3:
            return arc
        smooth = gaussian_filter1d((voxels + low) * spacing, 2.0, axis=0, mode="nearest")
        return np.asarray(smooth[1:-1])


@dataclass(frozen=True)
class VesselContext:
    """Structures around a vessel tree.

    Attributes:
        aorta_mm: (k, 3) positions on the surface of the aorta; empty if it is unknown.
        heart: signed distance in mm to the structures of the heart, negative inside; None if they are unknown.
        lumen: the vessel in the CT image; None without an image.
        sides: finds the certain `Side` of each point of a forest; None where nothing is known about sides.
    """

    aorta_mm: FloatArray
    heart: ScalarField | None = None
    lumen: Lumen | None = None
    sides: Callable[[CentreTree], IntArray] | None = None

    @classmethod
    def of(
        cls, aorta: Mask | None, heart: Mask | None, spacing_mm: Spacing, lumen: Lumen | None = None
    ) -> VesselContext:
        """Create the context from masks.

        Args:
            aorta: (x, y, z) bool on the grid of the label; None if it is unknown.
            heart: (x, y, z) bool, all bulky structures; None if they are unknown.
            spacing_mm: voxel spacing.
            lumen: the vessel in the CT image.

        Returns:
            The context.
        """
        surface = np.zeros((0, 3))
        if aorta is not None and aorta.any():
            main = without_small_components(aorta, _SMALL_SHARE)
            surface = voxel_points(main & ~binary_erosion(main), spacing_mm)
        distance = None
        if heart is not None and heart.any():
            stride = [max(round(_COARSE_MM / step), 1) for step in spacing_mm]
            part = np.ascontiguousarray(heart[:: stride[0], :: stride[1], :: stride[2]])
            x, y, z = (step * every for step, every in zip(spacing_mm, stride, strict=True))
            apart = distance_to_other_label_mm(part, (x, y, z))
            distance = ScalarField(np.where(part, -apart, apart), (x, y, z))
        return cls(surface, distance, lumen)

    def share_inside(self, points_mm: FloatArray) -> float:
        """Compute the share of positions (k, 3) that are deep inside the heart, where no coronary runs.

        Args:
            points_mm: (k, 3) positions in mm.

        Returns:
            The share, 0 to 1.
        """
        return float((self.heart(points_mm) < -_DEEP_MM).mean()) if self.heart is not None else 0.0
