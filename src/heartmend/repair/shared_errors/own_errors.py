"""Errors of one case beside its own CT: smooth errors of its surfaces, larger than a voxel, that no other case shares.

A network is off by a millimetre or more over centimetres, and differently in each case. The edges of the CT along a
border then lie beside the label everywhere, so its level at the label says nothing; but the profile across the
surface has the edge. It is found as for the errors that all cases share, on patches of the case's own surfaces.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.distance import DistanceMap
from heartmend.geometry.roi import Roi
from heartmend.repair.acceptance import check_acceptance
from heartmend.repair.changes import Change, box_in_mm, extent_of_change
from heartmend.repair.fusion import fuse
from heartmend.repair.shared_errors.case import CorrectedCase
from heartmend.repair.shared_errors.correction import Correction, correct_patches
from heartmend.repair.shared_errors.estimate import (
    MIN_BORDER_PATCHES,
    MIN_BORDER_SHARE,
    CohortOffsets,
    Evidence,
    PatchError,
    locate_edges,
)
from heartmend.repair.shared_errors.measurement import MeasuredCase, measure_case
from heartmend.repair.shared_errors.surface import Floats, SurfacePatches, sample_surface, spread_patches

RULE = "own_errors"
"""Name of this method in the change log."""
ROUNDS = 2
NEIGHBOURS, MAX_DEVIATION_MM = 6, 1.0
"""A patch counts if its offset is this near to the median of so many patches about it: one patch is no evidence."""
STANDARD_ERROR_MM = 0.4
"""Standard error of the offset of a patch in one case."""
MIN_MEDIAN_MM = 0.25
"""A structure moves if the median size of its offsets is at least this; where surfaces are right it is at most 0.2."""
MIN_STRUCTURE_SHARE = 0.4
"""Nothing moves if fewer of the measured structures are beside their edges: a network is off nearly everywhere, and in
a label map that is right a chamber of low contrast is taken for one that is not."""
MIN_MEASURED_SHARE, MAX_SHIFT_MM = 0.35, 1.2
"""Image and labels do not show the same heart if fewer of the patches have an edge, or if the image is displaced as a
whole by more than the second of these. Then nothing moves. (Measured: another heart or a displacement of 7 mm at most
0.03; labels of which a third is wrong at least 0.41.)"""


def correct_own_errors(
    maps: Mapping[str, DistanceMap], image: npt.NDArray[np.generic], roi: Roi, anatomy: Anatomy,
    structures: Collection[str],
) -> CorrectedCase:  # fmt: skip
    """Move the surfaces of a case to the edges of its CT where they are beside them over centimetres.

    Args:
        maps: distance map of each structure on the voxels of the ROI, by name.
        image: (x, y, z) CT in HU on the voxels of the ROI.
        roi: the region of interest.
        anatomy: the structures.
        structures: names of the structures that may move.

    Returns:
        The maps, those of structures that do not move as the same objects; and what was moved. A structure that would
        move beyond its limits of acceptance stays.
    """
    names = {anatomy.by_name(name).id: name for name in structures if name in maps}
    moved = dict(maps)
    errors = measure_surfaces(moved, image, roi, anatomy, names)
    chosen = _with_own_error(errors, names) if _shows_this_heart(errors, roi) else set()
    frame = SurfacePatches(np.zeros((0, 3)), np.asarray(roi.size_mm, np.float64))
    for number in range(ROUNDS if chosen else 0):
        errors = measure_surfaces(moved, image, roi, anatomy, names) if number else errors
        of_case = {name: moved[name] for name in names.values() if name in chosen}
        correction = correct_patches(Correction.none(tuple(of_case)), errors, dict.fromkeys(of_case, frame), names)
        moved |= correction.apply(of_case, roi, lambda points: points)
    changes = list[Change]()
    for id, name in names.items():
        if moved[name] is maps[name]:
            continue
        before, after = maps[name].inside, moved[name].inside
        verdict = check_acceptance(before, after, anatomy.by_id(id), roi.grid.spacing_mm)
        if not verdict.accepted:
            moved[name] = maps[name]
            note = f"surface not moved to the edges of the CT: {verdict.reason}"
            changes.append(
                Change(RULE, name, "not moved", 0, 0.0, box_in_mm(roi.source_box(), roi.grid), "review", note)
            )
        elif (extent := extent_of_change(before != after, roi.source_box(), roi.grid)) is not None:
            note = "surface moved to the edges of the CT, which it was beside over centimetres"
            changes.append(Change(RULE, name, "moved", *extent, "info", note))
    return CorrectedCase(moved, {}, tuple(changes))


def measure_surfaces(
    maps: Mapping[str, DistanceMap], image: npt.NDArray[np.generic], roi: Roi, anatomy: Anatomy,
    names: Mapping[int, str],
) -> list[PatchError]:  # fmt: skip
    """Measure how far the surfaces of a case are from the edges of its CT.

    Args:
        maps: distance map of each structure on the voxels of the ROI, by name.
        image: (x, y, z) CT in HU on the voxels of the ROI.
        roi: the region of interest.
        anatomy: the structures.
        names: name of each structure that is measured, by id.

    Returns:
        The error of each patch of the case; none where no surface can be measured.
    """
    spacing_mm = roi.grid.spacing_mm
    labels = fuse(maps, anatomy, spacing_mm)
    found = {name: _patches(maps[name], labels, id, roi) for id, name in names.items()}
    patches = {name: one for name, one in found.items() if one is not None}
    case = MeasuredCase(maps, labels, spacing_mm, roi.box_index_to_unit, image)
    measured = measure_case(case, anatomy, patches)
    return _errors(locate_edges([measured]), np.asarray(roi.size_mm)) if len(measured.counts) else []


def _shows_this_heart(errors: Sequence[PatchError], roi: Roi) -> bool:
    """Whether most patches have an edge, and the edges are not displaced as a whole."""
    measured = [error for error in errors if error.evidence == "measured"]
    if not measured or len(measured) < MIN_MEASURED_SHARE * len(errors):
        return False
    # The direction from the middle of the structure stands for the normal, to the mean of all patches.
    size_mm = np.asarray(roi.size_mm) / 2
    middles = {
        id: np.mean([error.place for error in errors if error.structure == id], axis=0)
        for id in {error.structure for error in errors}
    }
    away = np.array([(np.array(error.place) - middles[error.structure]) * size_mm for error in measured])
    normals = away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)
    offsets = -np.array([error.mean_mm for error in measured])
    shift_mm, *_ = np.linalg.lstsq(normals, offsets, rcond=None)
    return float(np.linalg.norm(shift_mm)) <= MAX_SHIFT_MM


def _with_own_error(errors: Sequence[PatchError], names: Mapping[int, str]) -> set[str]:
    """Names of the structures whose surface is beside the edges of the CT; none if they are few."""
    found, n_measured = set(), 0
    for id, name in names.items():
        sizes = [abs(error.mean_mm) for error in errors if error.structure == id and error.evidence == "measured"]
        n_measured += bool(sizes)
        if sizes and float(np.median(sizes)) >= MIN_MEDIAN_MM:
            found.add(name)
    return found if len(found) >= MIN_STRUCTURE_SHARE * n_measured else set()


def _patches(distances: DistanceMap, labels: npt.NDArray[np.uint8], id: int, roi: Roi) -> SurfacePatches | None:
    """Patches of the surface of a structure of the case itself, in the unit frame of its ROI."""
    spacing = np.asarray(roi.grid.spacing_mm, np.float64)
    samples = sample_surface(distances, labels, id, spacing, np.random.default_rng(0))
    if samples is None:
        return None
    return spread_patches(roi.box_index_to_unit(samples.points), np.asarray(roi.size_mm, np.float64))


def _errors(offsets: CohortOffsets, size_mm: Floats) -> list[PatchError]:
    """The error of each patch of one case."""
    found = []
    is_sure = _agree(offsets, size_mm)
    for at in range(len(offsets.offsets_mm)):
        x, y, z = (float(value) for value in offsets.places[at])
        error = PatchError(
            int(offsets.structures[at]), int(offsets.patches[at]), int(offsets.neighbours[at]),
            bool(offsets.in_contact[at]), 1, float(offsets.counts[at]), (x, y, z), "none",
        )  # fmt: skip
        if np.isfinite(offsets.offsets_mm[at]):
            evidence: Evidence = "measured" if is_sure[at] else "unclear"
            error = replace(
                error, evidence=evidence, mean_mm=-float(offsets.offsets_mm[at]), standard_error_mm=STANDARD_ERROR_MM
            )
        found.append(error)
    return _with_edges(found)


def _agree(offsets: CohortOffsets, size_mm: Floats) -> npt.NDArray[np.bool_]:
    """Whether each offset is near the median of those about it, on the surface of the same structure."""
    agrees = np.zeros(len(offsets.offsets_mm), bool)
    for structure in np.unique(offsets.structures):
        rows = np.flatnonzero((offsets.structures == structure) & np.isfinite(offsets.offsets_mm))
        if len(rows) <= NEIGHBOURS:
            continue
        places = offsets.places[rows] * (size_mm / 2)
        _, nearest = cKDTree(places).query(places, k=NEIGHBOURS + 1)
        about = np.median(offsets.offsets_mm[rows][nearest], axis=1)
        agrees[rows] = np.abs(offsets.offsets_mm[rows] - about) <= MAX_DEVIATION_MM
    return agrees


def _with_edges(errors: Sequence[PatchError]) -> list[PatchError]:
    """The errors, without those at borders most of whose patches have no edge."""
    borders = defaultdict(list)
    for error in errors:
        borders[error.border].append(error.evidence == "measured")
    has_edge = {
        border for border, found in borders.items()
        if sum(found) >= max(MIN_BORDER_PATCHES, MIN_BORDER_SHARE * len(found))
    }  # fmt: skip
    return [error if error.border in has_edge else error.without_edge() for error in errors]
