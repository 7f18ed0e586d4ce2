"""Movement of a fused label map's boundaries to the edges of the case's image, within the limits of acceptance."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.distance import DistanceMap
from heartmend.repair.acceptance import Verdict, check_acceptance
from heartmend.repair.case_volume import CaseVolume
from heartmend.repair.changes import Change, box_in_mm, extent_of_change
from heartmend.repair.image_edges.half_level import move_to_half_level
from heartmend.repair.image_edges.snap import SnapResult, smooth_maps, snap_to_image_edges
from heartmend.types import Labels, Mask

RULE, HALF_LEVEL_RULE = "image_edges", "half_level"
"""Names of the two movements in the change log."""


@dataclass(frozen=True, eq=False)
class SnappedCase:
    """Fused label map after its boundaries were moved to the edges of the image.

    Attributes:
        labels: (x, y, z) uint8.
        maps: distance map of each structure in `labels`, by name.
        verdicts: the verdicts before, with the figures of the moved masks.
        changes: what was moved, and what was not and why.
    """

    labels: Labels
    maps: dict[str, DistanceMap]
    verdicts: tuple[Verdict, ...]
    changes: tuple[Change, ...]


def snap_case(
    fused: Labels,
    maps: Mapping[str, DistanceMap],
    cleaned: Labels,
    volume: CaseVolume,
    anatomy: Anatomy,
    verdicts: Sequence[Verdict],
    structures: Collection[str],
) -> SnappedCase:
    """Move the boundaries of some structures to the edges of a case's image.

    A structure does not move if its repaired mask was not accepted, if the anatomy file switches `image_edges` off for
    it, or if the moved mask would exceed its limits of acceptance.

    Args:
        fused: (x, y, z) uint8 in the ROI, the fused label map.
        maps: distance map (x, y, z) of each structure, by name.
        cleaned: (x, y, z) uint8 in the ROI, the label map of the prepared case, which moved masks are compared with.
        volume: the ROI, with an image.
        anatomy: the structures.
        verdicts: acceptance of the repaired masks before.
        structures: names of the structures that may move.

    Returns:
        The moved label map with its distance maps, verdicts and changes.

    Raises:
        ValueError: if the case has no image.
    """
    if volume.image is None:
        raise ValueError("a case without an image has no edges to move to")
    image, spacing = volume.image, volume.grid.spacing_mm
    by_id = {anatomy.by_name(name).id: distances for name, distances in maps.items()}
    thin = [s.id for s in anatomy.structures if s.kind == "tube"]
    rejected = {v.structure for v in verdicts if not v.accepted}
    movable = {s.id for s in anatomy.structures if s.name in structures and s.image_edges and s.name not in rejected}
    # A thin vessel is compared with its repaired tree, much of which may be bridges.
    references = {id: (fused if id in thin else cleaned) == id for id in movable}
    snapped = snap_to_image_edges(fused, by_id, image, spacing, movable, thin)
    checked = _verdicts(references, snapped, anatomy, spacing)
    exceeding = {id: verdict.reason for id, verdict in checked.items() if not verdict.accepted and references[id].any()}
    if exceeding:
        references = {id: label for id, label in references.items() if id not in exceeding}
        snapped = snap_to_image_edges(fused, by_id, image, spacing, references.keys(), thin)
        checked = _verdicts(references, snapped, anatomy, spacing)
    changes = [_not_moved(anatomy.by_id(id).name, reason, volume) for id, reason in exceeding.items()]
    changes += _moved(fused, snapped.labels, anatomy, volume, (RULE, "boundary moved to the image's edges"))
    if snapped.mismatch:
        changes.append(_mismatched(snapped, volume))
    accepted = {v.structure: v for v in checked.values() if v.accepted}
    by_id = smooth_maps(snapped.labels, by_id, spacing, thin)
    named = {name: by_id[anatomy.by_name(name).id] for name in maps}
    return SnappedCase(snapped.labels, named, tuple(accepted.get(v.structure, v) for v in verdicts), tuple(changes))


@dataclass(frozen=True, eq=False)
class HalfLevelCase:
    """Label map after the surfaces of vessels and appendages were moved to the half level of the image.

    Attributes:
        labels: (x, y, z) uint8.
        maps: distance map of each structure in `labels`, by name.
        changes: what was moved.
    """

    labels: Labels
    maps: dict[str, DistanceMap]
    changes: tuple[Change, ...]


def half_level_case(
    labels: Labels, maps: Mapping[str, DistanceMap], volume: CaseVolume, anatomy: Anatomy, structures: Collection[str]
) -> HalfLevelCase:
    """Move the surfaces of vessels and appendages to the half level of a case's image.

    Args:
        labels: (x, y, z) uint8 in the ROI.
        maps: distance map (x, y, z) of each structure, by name.
        volume: the ROI, with an image.
        anatomy: the structures.
        structures: names of the structures that may move.

    Returns:
        The moved label map with its distance maps and changes.

    Raises:
        ValueError: if the case has no image.
    """
    if volume.image is None:
        raise ValueError("a case without an image has no levels")
    ids = [s.id for s in anatomy.structures if s.name in structures and s.kind in ("vessel", "appendage")]
    moved = move_to_half_level(labels, volume.image, volume.grid.spacing_mm, ids)
    # A voxel that differs is background in one of the two.
    changed = np.unique(np.maximum(moved, labels)[moved != labels]).tolist()
    redone = smooth_maps(moved, changed, volume.grid.spacing_mm)
    named = {anatomy.by_id(id).name: distances for id, distances in redone.items()}
    note = "surface moved to where the image is half-way between the levels of its two sides"
    changes = _moved(labels, moved, anatomy, volume, (HALF_LEVEL_RULE, note))
    return HalfLevelCase(moved, {**maps, **named}, tuple(changes))


def _verdicts(
    references: Mapping[int, Mask], snapped: SnapResult, anatomy: Anatomy, spacing_mm: tuple[float, float, float]
) -> dict[int, Verdict]:
    return {
        id: check_acceptance(reference, snapped.labels == id, anatomy.by_id(id), spacing_mm)
        for id, reference in references.items()
    }


def _not_moved(structure: str, reason: str, volume: CaseVolume) -> Change:
    note = f"boundary not moved to the image's edges: {reason}"
    return Change(RULE, structure, "not moved", 0, 0.0, box_in_mm(volume.box, volume.grid), "review", note)


def _mismatched(snapped: SnapResult, volume: CaseVolume) -> Change:
    spread = float(np.median([*snapped.spread_mm.values()]))
    note = (
        f"boundaries not moved to the image's edges: labels and image differ by {spread:.1f} mm; "
        "check whether the image shows this patient"
    )
    return Change(RULE, "", "not moved", 0, 0.0, box_in_mm(volume.box, volume.grid), "warning", note)


def _moved(
    before: Labels, after: Labels, anatomy: Anatomy, volume: CaseVolume, rule_and_note: tuple[str, str]
) -> list[Change]:
    """List what each structure gained and lost."""
    (rule, moved), changes, voxel_mm3 = rule_and_note, [], volume.grid.voxel_mm3
    for structure in anatomy.structures:
        had, has = before == structure.id, after == structure.id
        extent = extent_of_change(had != has, volume.box, volume.grid)
        if extent is None:
            continue
        added, removed = int(np.count_nonzero(has & ~had)), int(np.count_nonzero(had & ~has))
        note = f"{moved}: {added * voxel_mm3:.0f} mm³ added, {removed * voxel_mm3:.0f} removed"
        changes.append(Change(rule, structure.name, "moved", *extent, "info", note))
    return changes
