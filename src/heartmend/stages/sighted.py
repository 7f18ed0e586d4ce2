"""The image of a case in a run: boundaries moved to its edges and held against the labels, and what to tell of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from heartmend.anatomy import Anatomy
from heartmend.appearance import Seen, Steps, distances_of, see
from heartmend.rules import Change, Verdict, check
from heartmend.rules.change import box_in_mm
from heartmend.rules.pieces import Box
from heartmend.space import Grid
from heartmend.types import Labels


@dataclass(frozen=True, eq=False)
class Sighted:
    """A fused label map after its image was seen, with the signed distances of its structures in steps, and what was
    moved. verdicts: those that came in, with the figures of what is there now."""

    labels: Labels
    fields: dict[str, Steps]
    verdicts: tuple[Verdict, ...]
    changes: tuple[Change, ...]


def see_case(
    fused: Labels,
    fields: Mapping[str, Steps],
    source: Labels,
    image: npt.NDArray[np.generic],
    anatomy: Anatomy,
    grid: Grid,
    box: Box,
    verdicts: Sequence[Verdict],
    structures: Collection[str],
) -> Sighted:
    """Move the boundaries of the structures asked for to the edges of a case's image.

    fused, source, image: (x, y, z) in the box of the ROI: the map as the shapes have it, as it came, and HU. A
    structure whose mask was not taken, or that the anatomy file keeps from its image, has no say and loses nothing;
    nor has one that the image would move beyond the limits of do no harm.
    """
    spacing = grid.spacing_mm
    by_id = {anatomy.by_name(name).id: field for name, field in fields.items()}
    thin = [s.id for s in anatomy.structures if s.kind == "tube"]
    kept = {v.structure for v in verdicts if not v.keep}
    sighted = {s.id for s in anatomy.structures if s.name in structures and s.appearance and s.name not in kept}
    seen = see(fused, by_id, image, spacing, sighted, thin)
    harmed = _harmed(seen, fused, source, anatomy, spacing, sighted)
    if harmed:
        seen = see(fused, by_id, image, spacing, sighted - harmed.keys(), thin)
    changes = [
        Change("appearance", anatomy.by_id(id).name, "kept", 0, 0.0, box_in_mm(box, grid), "look", reason)
        for id, reason in harmed.items()
    ]
    changes += _told(seen, fused, anatomy, grid, box)
    now = {v.structure: v for v in verdicts}
    for name in now.keys() & {anatomy.by_id(id).name for id in sighted - harmed.keys()}:
        structure = anatomy.by_name(name)
        found = check(_reference(fused, source, structure.id, thin), seen.labels == structure.id, structure, spacing)
        now[name] = found if found.keep else now[name]
    distances = distances_of(seen.labels, by_id, spacing, thin)
    named = {name: distances[anatomy.by_name(name).id] for name in fields}
    return Sighted(seen.labels, named, tuple(now[v.structure] for v in verdicts), tuple(changes))


def _reference(fused: Labels, source: Labels, id: int, thin: Collection[int]) -> npt.NDArray[np.bool_]:
    """What a moved mask is held against: the label, or of a thin vessel its tree, for much of that may be bridges."""
    held: npt.NDArray[np.bool_] = (fused if id in thin else source) == id
    return held


def _harmed(
    seen: Seen, fused: Labels, source: Labels, anatomy: Anatomy, spacing_mm: tuple[float, float, float],
    sighted: Collection[int],
) -> dict[int, str]:  # fmt: skip
    """The structures that the image moved too far, and how far."""
    thin = [s.id for s in anatomy.structures if s.kind == "tube"]
    harmed = {}
    for id in sighted:
        before, after = _reference(fused, source, id, thin), seen.labels == id
        if not before.any():
            continue
        verdict = check(before, after, anatomy.by_id(id), spacing_mm)
        if not verdict.keep:
            harmed[id] = f"the image was not followed: {verdict.reason}"
    return harmed


def _told(seen: Seen, fused: Labels, anatomy: Anatomy, grid: Grid, box: Box) -> list[Change]:
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
            Change("appearance", structure.name, "moved", gained + lost, mm3, box_in_mm((x, y, z), grid), "info", note)
        )
    if seen.apart:
        spread = float(np.median([*seen.spread_mm.values()]))
        note = f"labels and image lie {spread:.1f} mm apart: the image was not followed; is it another patient's?"
        told.append(Change("appearance", "", "kept", 0, 0.0, box_in_mm(box, grid), "warn", note))
    return told
