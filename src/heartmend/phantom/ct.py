"""Simulated contrast CT of a label map, in HU.

Tissue: enhanced blood, weaker and unevenly mixed on the right; muscle; the thin walls that the label map does not
contain; epicardial fat, lung, chest wall; in some cases calcified plaque in the coronaries.
Scanner: a point spread in plane and through plane, streaks from the dense caval inflow, and noise with the power
spectrum of filtered back-projection (rising, then falling with frequency: a difference of two Gaussians).
Strengths are sampled for every case: left blood 300-520 HU, right 90-420 HU, muscle 85-130 HU, blur sigma 0.4-0.8 mm,
noise 12-45 HU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.phantom.plan import VENAE_CAVAE, Label, Vector
from heartmend.phantom.sdf import bounds, smooth_noise

LEFT = (Label.LA, Label.LV, Label.AORTA, Label.LAA, Label.CORONARY, Label.PV)
RIGHT = (Label.RA, Label.RV, Label.PA)
_THIN_WALLED = np.isin(np.arange(256), (Label.RV, Label.RA, Label.LA))
FAT_HU, LUNG_HU, SOFT_HU = -95.0, -830.0, 45.0


@dataclass(frozen=True, eq=False)
class ThinVessels:
    """Thin vessels with the partial volume of their voxels, which a label map cannot have.

    Attributes:
        share: (x, y, z) float, the share of each voxel that is lumen, 0 to 1.
        contrast: (x, y, z) float, the level of the lumen as a multiple of that of the coronaries.
        calcium: (x, y, z) float, the share of each voxel that is calcified plaque.
        calcium_hu: (x, y, z) float, intensity of the plaque.
    """

    share: NDArray[np.float32]
    contrast: NDArray[np.float32]
    calcium: NDArray[np.float32]
    calcium_hu: NDArray[np.float32]

    def drawn_on(self, hu: NDArray[np.float32], level_hu: float) -> NDArray[np.float32]:
        """Draw the vessels on a CT without blur.

        Args:
            hu: (x, y, z) the CT without the vessels, in HU.
            level_hu: level of the coronaries.

        Returns:
            (x, y, z) the CT with them.
        """
        hu = self.share * self.contrast * np.float32(level_hu) + (1 - self.share) * hu
        return np.asarray(self.calcium * self.calcium_hu + (1 - self.calcium) * hu, np.float32)


def scan(
    labels: NDArray[np.uint8], spacing_mm: Vector, rng: np.random.Generator, vessels: ThinVessels | None = None
) -> NDArray[np.int16]:
    """Simulate the CT of a label map.

    Args:
        labels: label map (x, y, z), uint8; z is the patient's long axis.
        spacing_mm: (3,) voxel size in mm.
        rng: random generator.
        vessels: thin vessels that `labels` does not contain, with their plaques; None for those of the label map.

    Returns:
        Image (x, y, z) in HU, int16.
    """
    spacing = tuple(float(s) for s in spacing_mm)
    hu = _background_tissue(labels, spacing_mm, rng)
    wall = float(rng.uniform(85, 130))
    hu = np.where(_thin_walls(labels, spacing), np.float32(0.75 * wall), hu)
    table = _tissue_table(wall, rng)
    hu = np.where(labels > 0, table[labels], hu)
    _mix(hu, labels, spacing_mm, rng)
    if vessels is not None:
        hu = vessels.drawn_on(hu, float(table[Label.CORONARY]))
    if rng.random() < 0.4:
        _calcify(hu, labels, spacing_mm, rng)
    in_plane, through = rng.uniform(0.4, 0.7), rng.uniform(0.45, 0.8)
    hu = gaussian_filter(hu, np.array([in_plane, in_plane, through]) / spacing_mm)
    hu += _scanner_noise(labels.shape, spacing_mm, float(rng.uniform(12, 45)), rng)
    image: NDArray[np.int16] = np.clip(np.round(hu), -1024, 3071).astype(np.int16)
    return image


def _background_tissue(labels: NDArray[np.uint8], spacing_mm: Vector, rng: np.random.Generator) -> NDArray[np.float32]:
    """Fat around the heart, then lung, then the chest wall; distances on every second voxel are accurate enough."""
    coarse = np.ascontiguousarray(labels[::2, ::2, ::2] == 0)
    noise = smooth_noise(coarse.shape, 2 * spacing_mm, 18.0, rng)
    far = distance_transform_mm(coarse, 2 * spacing_mm) + 2.5 * noise
    tissue = np.full(coarse.shape, FAT_HU, np.float32)
    tissue[far > rng.uniform(7, 15)] = LUNG_HU
    tissue[far > rng.uniform(36, 48)] = SOFT_HU
    full = tissue.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    x, y, z = labels.shape
    textured = full[:x, :y, :z] + np.float32(9) * smooth_noise(labels.shape, spacing_mm, 6.0, rng)
    return np.asarray(textured, np.float32)


def _thin_walls(labels: NDArray[np.uint8], spacing: tuple[float, ...]) -> NDArray[np.bool_]:
    """Muscle of atria and right ventricle, about 2 mm, which no label contains."""
    chambers = _THIN_WALLED[labels]
    box = bounds(chambers, labels.shape, 4)
    coat = np.zeros(labels.shape, bool)
    coat[box] = distance_transform_mm(~chambers[box], spacing) < 2.0
    return np.asarray(coat & (labels == 0))


def _tissue_table(wall: float, rng: np.random.Generator) -> NDArray[np.float32]:
    left, right = float(rng.uniform(300, 520)), float(rng.uniform(90, 420))
    table = np.zeros(len(Label), np.float32)
    table[list(LEFT)] = left * rng.uniform(0.96, 1.04, len(LEFT))
    table[list(RIGHT)] = right * rng.uniform(0.85, 1.15, len(RIGHT))
    table[Label.LAA] *= rng.uniform(0.6, 1.0)
    table[Label.MYOCARDIUM] = wall
    table[list(VENAE_CAVAE)] = table[Label.RA]
    return table


def _mix(hu: NDArray[np.float32], labels: NDArray[np.uint8], spacing_mm: Vector, rng: np.random.Generator) -> None:
    """Uneven contrast: smooth variation in the right heart, and streaks in some cases."""
    swirl = 1 + rng.uniform(0.03, 0.22) * smooth_noise(labels.shape, spacing_mm, 16.0, rng)
    right = np.isin(labels, RIGHT)
    hu[right] *= np.clip(swirl, 0.4, 1.6)[right]
    if rng.random() < 0.3:
        flat = smooth_noise((labels.shape[1], 1, labels.shape[2]), (spacing_mm[1], 1.0, spacing_mm[2]), 5.0, rng)
        hu += rng.uniform(8, 25) * np.moveaxis(flat, 1, 0) * (labels > 0)


def _calcify(hu: NDArray[np.float32], labels: NDArray[np.uint8], spacing_mm: Vector, rng: np.random.Generator) -> None:
    voxels = np.argwhere(labels == Label.CORONARY)
    for _ in range(int(rng.integers(1, 7)) if len(voxels) else 0):
        at = voxels[rng.integers(len(voxels))]
        reach = np.ceil(2.5 / spacing_mm).astype(int)
        box = tuple(slice(max(a - r, 0), a + r + 1) for a, r in zip(at, reach, strict=True))
        offset = np.stack(
            np.meshgrid(
                *(np.arange(s.start, min(s.stop, n)) for s, n in zip(box, hu.shape, strict=True)), indexing="ij"
            ),
            axis=-1,
        )
        spot = np.linalg.norm((offset - at) * spacing_mm, axis=-1) < rng.uniform(0.8, 1.8)
        hu[box][spot] = rng.uniform(600, 1200)


def _scanner_noise(
    shape: tuple[int, ...], spacing_mm: Vector, strength_hu: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    white = rng.standard_normal(shape, dtype=np.float32)
    fine = gaussian_filter(white, 0.55 / spacing_mm, truncate=3)
    coarse = gaussian_filter(fine, [*(1.3 / spacing_mm[:2]), 0], truncate=2.5)
    noise = fine - 0.8 * coarse
    scaled: NDArray[np.float32] = noise * np.float32(strength_hu / noise.std())
    return scaled
