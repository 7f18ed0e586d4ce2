"""Measurement of a case at the patches of its surfaces: the image across them, and the distance of trusted surfaces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.distance import DistanceMap, signed_distance_mm
from heartmend.io.hounsfield import HEART_WINDOW_HU
from heartmend.repair.shared_errors.surface import Floats, SurfacePatches, SurfaceSamples, sample_surface
from heartmend.types import Labels

REACH_MM, STEP_MM = 6.0, 0.5
DEPTHS_MM = np.arange(-REACH_MM, REACH_MM + STEP_MM / 2, STEP_MM)
"""Places of a profile, in mm outside the surface."""
MIN_SAMPLES = 6
"""A patch with fewer samples in a case is not measured."""


@dataclass(frozen=True, eq=False)
class MeasuredCase:
    """A case whose surfaces are measured.

    Attributes:
        maps: distance map (x, y, z) of each structure, by name.
        labels: (x, y, z) uint8, the label map of these structures.
        spacing_mm: voxel spacing.
        to_template: maps positions (n, 3) in voxels to coordinates (n, 3) in the template's unit frame.
        image: (x, y, z) CT in HU on the same voxels; None where there is none.
        trusted: (x, y, z) uint8, trusted label map on the same voxels; None where there is none.
    """

    maps: Mapping[str, DistanceMap]
    labels: Labels
    spacing_mm: tuple[float, float, float]
    to_template: Callable[[Floats], Floats]
    image: npt.NDArray[np.generic] | None = None
    trusted: Labels | None = None


@dataclass(frozen=True, eq=False)
class PatchMeasurements:
    """Measurements of a case, one row for each patch of a structure and each neighbour there.

    Attributes:
        structures: (m,) uint8, id of the structure.
        patches: (m,) int32, its patch.
        neighbours: (m,) uint8, id on the other side.
        in_contact: (m,) bool, whether the neighbour begins at the surface.
        counts: (m,) int32, number of samples.
        places: (m, 3) float32, mean place of the samples in the template's unit frame.
        thickness_mm: (m,) float32, depth of the structure's middle below the surface.
        intensities: (m, depth) float32, mean intensity in HU at `DEPTHS_MM`; NaN without an image.
        trusted_mm: (m,) float32, mean distance of the trusted surface outside; NaN without a trusted label map.
    """

    structures: npt.NDArray[np.uint8]
    patches: npt.NDArray[np.int32]
    neighbours: npt.NDArray[np.uint8]
    in_contact: npt.NDArray[np.bool_]
    counts: npt.NDArray[np.int32]
    places: npt.NDArray[np.float32]
    thickness_mm: npt.NDArray[np.float32]
    intensities: npt.NDArray[np.float32]
    trusted_mm: npt.NDArray[np.float32]


def measure_case(case: MeasuredCase, anatomy: Anatomy, patches: Mapping[str, SurfacePatches]) -> PatchMeasurements:
    """Measure a case at the patches of its surfaces.

    Args:
        case: the case.
        anatomy: the structures.
        patches: patches of each structure on the template, by name.

    Returns:
        The measurements; a patch that the volume cuts off has none.
    """
    spacing, rng = np.asarray(case.spacing_mm, np.float64), np.random.default_rng(0)
    image = None if case.image is None else np.clip(np.asarray(case.image, np.float32), *HEART_WINDOW_HU)
    last = np.array(case.labels.shape) - 1
    keys, distances = list[tuple[int, int, int, bool, int, float]](), list[float]()
    places, profiles = list[Floats](), list[Floats]()
    for name in (name for name in patches if name in case.maps):
        id = anatomy.by_name(name).id
        samples = sample_surface(case.maps[name], case.labels, id, spacing, rng)
        if samples is None:
            continue
        along = np.stack([samples.moved(float(depth), spacing) for depth in DEPTHS_MM], axis=1)
        is_whole = ((along >= 0) & (along <= last)).all(axis=(1, 2))
        unit = case.to_template(samples.points)
        patch = patches[name].nearest(unit)
        profile = _profiles(image, along)
        trusted = _trusted_mm(case, id, samples)
        group = (patch * 256 + samples.neighbours) * 2 + samples.in_contact
        for code in np.unique(group[is_whole & (patch >= 0)]):
            here = is_whole & (group == code)
            if (count := int(np.count_nonzero(here))) >= MIN_SAMPLES:
                neighbour, in_contact = int(code // 2 % 256), bool(code % 2)
                keys.append((id, int(code // 512), neighbour, in_contact, count, samples.thickness_mm[here].mean()))
                places.append(unit[here].mean(axis=0))
                profiles.append(profile[here].mean(axis=0))
                distances.append(float(trusted[here].mean()))
    columns = list(zip(*keys, strict=True)) if keys else [()] * 6
    structures, patch_numbers, neighbours, contacts, counts, thickness = columns
    return PatchMeasurements(
        np.array(structures, np.uint8), np.array(patch_numbers, np.int32), np.array(neighbours, np.uint8),
        np.array(contacts, np.bool_), np.array(counts, np.int32),
        np.array(places, np.float32).reshape(len(places), 3), np.array(thickness, np.float32),
        np.array(profiles, np.float32).reshape(len(profiles), len(DEPTHS_MM)), np.array(distances, np.float32),
    )  # fmt: skip


def _profiles(image: npt.NDArray[np.float32] | None, places: Floats) -> Floats:
    if image is None:
        return np.full(places.shape[:2], np.nan, np.float32)
    values = map_coordinates(image, places.reshape(-1, 3).T, order=1, mode="nearest")
    return values.reshape(places.shape[:2])


def _trusted_mm(case: MeasuredCase, id: int, samples: SurfaceSamples) -> Floats:
    """Distance (n,) of the trusted surface outside the samples."""
    mask = None if case.trusted is None else case.trusted == id
    if mask is None or not mask.any():
        return np.full(len(samples.points), np.nan)
    distance = map_coordinates(signed_distance_mm(mask, case.spacing_mm), samples.points.T, order=1, mode="nearest")
    return distance.astype(np.float64)
