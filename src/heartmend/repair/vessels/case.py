"""Thin vessels in a run: how wide the cohort's trees are, and each tree mended, with what to tell in the audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.calibre import Calibre
from heartmend.anatomy.schema import Structure
from heartmend.geometry.distance import signed_distance_mm
from heartmend.geometry.grid import Grid
from heartmend.repair.changes import Change, Corner, Severity, box_in_mm
from heartmend.repair.rules.components import Box
from heartmend.repair.vessels.mend import TreeResult, TreeSettings, repair_tree
from heartmend.types import Mask

LEAST_EXCESS_MM = 0.1
"""A tree that is less too wide or thin than this is as wide as it should be."""


@dataclass(frozen=True, eq=False)
class RepairedVessel:
    """A thin vessel mended as a tree. drawn_in: its label without what it was too wide or with what it lacked, which
    is what the mended mask is held against."""

    mask: Mask
    drawn_in: Mask
    changes: tuple[Change, ...]


def repair_vessel(
    structure: Structure,
    label: Mask,
    inside: Mapping[str, Mask],
    grid: Grid,
    box: Box,
    calibre: Calibre,
    image: npt.NDArray[np.generic] | None = None,
) -> RepairedVessel:
    """Mend a thin vessel in the box of an ROI. inside: the bulky structures there, the root of the trees among them."""
    spacing = grid.spacing_mm
    heart = np.logical_or.reduce(list(inside.values())) if inside else None
    root = inside.get(structure.root) if structure.root else None
    settings = TreeSettings(calibre=calibre)
    result = repair_tree(label, spacing, aorta=root, heart=heart, image=image, settings=settings)
    changes = _told(structure.name, result, grid, box)
    drawn_in = label
    if abs(result.excess_mm) > LEAST_EXCESS_MM:
        drawn_in = signed_distance_mm(label, spacing) > result.excess_mm
        voxels = int(label.sum()) - int(drawn_in.sum())
        action, way = ("narrowed", "wide") if result.excess_mm > 0 else ("widened", "thin")
        note = f"its radius was {abs(result.excess_mm):.2f} mm too {way} beside the cohort's {calibre.mean_mm:.2f} mm"
        mm3 = round(voxels * grid.voxel_mm3, 2)
        changes.append(Change("calibre", structure.name, action, voxels, mm3, box_in_mm(box, grid), "review", note))
    return RepairedVessel(result.mask, drawn_in, tuple(changes))


def _told(name: str, result: TreeResult, grid: Grid, box: Box) -> list[Change]:
    """Every bridge, piece and spur for the audit, in the millimetres of the map."""
    start = np.array([part.start for part in box])
    told = list[Change]()
    severity: Severity
    for action, severity, found in (
        ("bridged", "review", [(b.box, 0.0, f"{b.length_mm:.0f} mm") for b in result.bridges]),
        ("dropped", "info", [(r.box, r.mm3, "no part of a tree") for r in result.dropped]),
        ("pruned", "info", [(r.box, r.mm3, "spur") for r in result.spurs]),
    ):
        for corners, mm3, note in found:
            ends = grid.index_to_world(np.asarray(corners) / grid.spacing_mm + start)
            low, high = (_corner(edge) for edge in (ends.min(axis=0), ends.max(axis=0)))
            voxels = round(mm3 / grid.voxel_mm3)
            told.append(Change("tree", name, action, voxels, round(mm3, 2), (low, high), severity, note))
    return told


def _corner(edge: np.ndarray) -> Corner:
    x, y, z = (round(float(v), 2) for v in edge)
    return x, y, z
