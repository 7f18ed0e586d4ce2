"""The image of a case in a run: boundaries moved to its edges and held against the labels, and what to tell of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.grid import Grid
from heartmend.repair.acceptance import Verdict, check
from heartmend.repair.changes import Change, box_in_mm
from heartmend.repair.image_edges.borders import Steps
from heartmend.repair.image_edges.snap import SnapResult, see, smooth_distances
from heartmend.repair.rules.components import Box
from heartmend.types import Labels, Mask


@dataclass(frozen=True, eq=False)
class SnappedCase:
    """A fused label map after its image was seen, with the signed distances of its structures in steps, and what was
    moved. verdicts: those that came in, with the figures of what is there now."""

    labels: Labels
    fields: dict[str, Steps]
    verdicts: tuple[Verdict, ...]
    changes: tuple[Change, ...]


def snap_case(
    fused: Labels,
    fields: Mapping[str, Steps],
    source: Labels,
    image: npt.NDArray[np.generic],
    anatomy: Anatomy,
    grid: Grid,
    box: Box,
    verdicts: Sequence[Verdict],
    structures: Collection[str],
) -> SnappedCase:
    """Move the boundaries of the structures asked for to the edges of a case's image.

    fused, source, image: (x, y, z) in the box of the ROI: the map as the shapes have it, as it came, and HU. A
    structure whose mask was not taken, or that the anatomy file keeps from its image, has no say and loses nothing;
    nor has one that the image would move beyond the limits of do no harm.
    """
    spacing = grid.spacing_mm
    by_id = {anatomy.by_name(name).id: field for name, field in fields.items()}
    thin = [s.id for s in anatomy.structures if s.kind == "tube"]
    kept = {v.structure for v in verdicts if not v.accepted}
    sighted = {s.id for s in anatomy.structures if s.name in structures and s.image_edges and s.name not in kept}
    references = {id: (fused if id in thin else source) == id for id in sighted}
    seen = see(fused, by_id, image, spacing, sighted, thin)
    found = _held_against(references, seen, anatomy, spacing)
    harmed = {id: verdict.reason for id, verdict in found.items() if not verdict.accepted and references[id].any()}
    if harmed:
        references = {id: label for id, label in references.items() if id not in harmed}
        seen = see(fused, by_id, image, spacing, references.keys(), thin)
        found = _held_against(references, seen, anatomy, spacing)
    changes = [
        Change(
            "image_edges",
            anatomy.by_id(id).name,
            "kept",
            0,
            0.0,
            box_in_mm(box, grid),
            "review",
            f"the image was not followed: {reason}",
        )
        for id, reason in harmed.items()
    ]
    changes += _told(seen, fused, anatomy, grid, box)
    now = {v.structure: v for v in found.values() if v.accepted}
    distances = smooth_distances(seen.labels, by_id, spacing, thin)
    named = {name: distances[anatomy.by_name(name).id] for name in fields}
    return SnappedCase(seen.labels, named, tuple(now.get(v.structure, v) for v in verdicts), tuple(changes))


def _held_against(
    references: Mapping[int, Mask], seen: SnapResult, anatomy: Anatomy, spacing_mm: tuple[float, float, float]
) -> dict[int, Verdict]:
    """Each structure beside what it is held against: its label, or of a thin vessel its tree, which may be bridges."""
    return {id: check(label, seen.labels == id, anatomy.by_id(id), spacing_mm) for id, label in references.items()}


def _told(seen: SnapResult, fused: Labels, anatomy: Anatomy, grid: Grid, box: Box) -> list[Change]:
    """What each structure gained and lost, or that the image shows something else."""
    told = []
    for structure in anatomy.structures:
        was, now = fused == structure.id, seen.labels == structure.id
        gained, lost = int(np.count_nonzero(now & ~was)), int(np.count_nonzero(was & ~now))
        if gained + lost == 0:
            continue
        where = np.argwhere(was != now)
        low, high = where.min(axis=0), where.max(axis=0) + 1
        x, y, z = (slice(part.start + int(a), part.start + int(b)) for part, a, b in zip(box, low, high, strict=True))
        note = f"to the image's edges: {gained * grid.voxel_mm3:.0f} mm³ more, {lost * grid.voxel_mm3:.0f} mm³ less"
        mm3 = round((gained + lost) * grid.voxel_mm3, 2)
        told.append(
            Change("image_edges", structure.name, "moved", gained + lost, mm3, box_in_mm((x, y, z), grid), "info", note)
        )
    if seen.apart:
        spread = float(np.median([*seen.spread_mm.values()]))
        note = f"labels and image lie {spread:.1f} mm apart: the image was not followed; is it another patient's?"
        told.append(Change("image_edges", "", "kept", 0, 0.0, box_in_mm(box, grid), "warning", note))
    return told
