"""What a coronary tree lies in, as far as it is known: the aorta, the heart's surface, the bright lumen in the CT."""

from __future__ import annotations

from dataclasses import dataclass

import edt
import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_erosion, gaussian_filter, gaussian_filter1d, map_coordinates
from skimage.graph import MCP_Geometric

from heartmend.geometry.components import without_small_components
from heartmend.repair.vessels.tree import Spacing, voxel_points
from heartmend.types import FloatArray, Mask

_DEEP_MM = 2.0
_CORRIDOR_MM = 3.0
_COARSE_MM = 2.0  # fine enough to tell what is deep and what is far


@dataclass(frozen=True)
class Field:
    """A volume that is asked at points in mm, linearly between voxel centres."""

    values: npt.NDArray[np.floating]
    spacing_mm: Spacing

    def __call__(self, points_mm: FloatArray) -> FloatArray:
        return np.asarray(
            map_coordinates(self.values, (points_mm / self.spacing_mm).T, order=1, mode="nearest", output=np.float64)
        )


@dataclass(frozen=True)
class Lumen:
    """A contrast CT and the brightness of the vessel in it, and of what surrounds the vessel."""

    image: Field
    inside: float
    outside: float

    @classmethod
    def of(cls, image: npt.NDArray[np.generic], label: Mask, spacing_mm: Spacing) -> Lumen | None:
        """Medians over the label and over the shell 2 to 4 mm outside it; None if the two do not differ."""
        volume = np.asarray(image, np.float32)
        away = edt.edt(~label, anisotropy=spacing_mm)
        shell = (away > 2.0) & (away < 4.0)
        if not label.any() or not shell.any():
            return None
        inside, outside = float(np.median(volume[label])), float(np.median(volume[shell]))
        spread = 1.4826 * float(np.median(np.abs(volume[shell] - outside)))
        return cls(Field(volume, spacing_mm), inside, outside) if inside - outside > spread else None

    def path(self, arc: FloatArray, start: FloatArray, end: FloatArray) -> FloatArray:
        """The minimal path along bright voxels within a corridor about the arc; the arc where the way is not bright."""
        spacing = np.array(self.image.spacing_mm)
        way = np.concatenate([start[None], arc, end[None]])
        shape = np.array(self.image.values.shape)
        low = np.clip(np.floor((way.min(axis=0) - _CORRIDOR_MM) / spacing).astype(int), 0, shape - 1)
        high = np.clip(np.ceil((way.max(axis=0) + _CORRIDOR_MM) / spacing).astype(int) + 1, low + 1, shape)
        part = self.image.values[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        line = np.zeros(part.shape, bool)
        line[tuple(np.clip(np.round(way / spacing).astype(int) - low, 0, high - low - 1).T)] = True
        off = edt.edt(~line, anisotropy=self.image.spacing_mm)
        # blurred by about the lumen's radius, the middle of the vessel is brightest
        blurred = gaussian_filter(part, [0.5 / s for s in self.image.spacing_mm])
        dark = np.clip((self.inside - blurred) / (self.inside - self.outside), 0.0, 1.0)
        cost = np.where(off <= _CORRIDOR_MM, 0.1 + dark + 0.1 * off, -1.0)  # negative: no way there
        first, last = (np.clip(np.round(p / spacing).astype(int) - low, 0, high - low - 1) for p in (start, end))
        route = MCP_Geometric(cost, sampling=self.image.spacing_mm)
        route.find_costs([tuple(first)], [tuple(last)])
        voxels = np.array(route.traceback(tuple(last)))
        if dark[tuple(voxels.T)].mean() > 0.5 or len(voxels) < 3:
            return arc
        smooth = gaussian_filter1d((voxels + low) * spacing, 2.0, axis=0, mode="nearest")
        return np.asarray(smooth[1:-1])


@dataclass(frozen=True)
class VesselContext:
    """aorta_mm: points on the aorta's surface, (k, 3). heart: signed distance to its structures, negative inside."""

    aorta_mm: FloatArray
    heart: Field | None = None
    lumen: Lumen | None = None

    @classmethod
    def of(
        cls, aorta: Mask | None, heart: Mask | None, spacing_mm: Spacing, lumen: Lumen | None = None
    ) -> VesselContext:
        """From masks on the label's grid. Crumbs of the aorta, below a twentieth of its largest piece, do not count."""
        surface = np.zeros((0, 3))
        if aorta is not None and aorta.any():
            sound = without_small_components(aorta, 0.05)
            surface = voxel_points(sound & ~binary_erosion(sound), spacing_mm)
        field = None
        if heart is not None and heart.any():
            stride = [max(round(_COARSE_MM / step), 1) for step in spacing_mm]
            part = np.ascontiguousarray(heart[:: stride[0], :: stride[1], :: stride[2]])
            x, y, z = (step * every for step, every in zip(spacing_mm, stride, strict=True))
            field = Field(edt.edt(~part, anisotropy=(x, y, z)) - edt.edt(part, anisotropy=(x, y, z)), (x, y, z))
        return cls(surface, field, lumen)

    def share_inside(self, points_mm: FloatArray) -> float:
        """Share of the points that lie deep in the heart's structures, where no coronary runs."""
        return float((self.heart(points_mm) < -_DEEP_MM).mean()) if self.heart is not None else 0.0
