"""Indicators of errors in the label map of a case, measured without a reference and before any repair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.calibre import Calibre
from heartmend.anatomy.schema import Anatomy, Structure
from heartmend.geometry.components import without_small_components
from heartmend.geometry.distance import signed_distance_mm
from heartmend.geometry.local_field import LocalField
from heartmend.geometry.surface_noise import surface_area_mm2
from heartmend.metrics.segment import Segment
from heartmend.metrics.smoothness import segment_roughness_mm
from heartmend.repair.case_volume import CaseVolume
from heartmend.repair.changes import Change
from heartmend.repair.editing.correction_time import LOOK_MINUTES, correction_minutes
from heartmend.repair.merged_structures import merge_structures
from heartmend.repair.rules.apply import apply_rules
from heartmend.repair.shape_label_fusion import fuse_shape_and_label
from heartmend.repair.unusual_anatomy import find_unusual_anatomy
from heartmend.repair.vessels.case import repair_vessel
from heartmend.run_folder.records import CohortStatistics, PreparedCase
from heartmend.types import DistanceField, Labels, Mask

RULES_AFTER_FIT = ("components", "detached_segments", "field_of_view")
"""Rules that `prepare` does not apply."""
MEAN_DEVIATION_FACTOR = float(np.sqrt(2 / np.pi))
"""Mean absolute value of a Gaussian variable with a standard deviation of 1."""
LABEL_WEIGHT = 0.1
"""Weight of the label in the fusion: the shape has no influence where the variance of its misfit is ten times that of
the label's noise."""
VESSEL_WEIGHT = 0.5
"""Weight of the repaired tree in the expected error of a thin vessel."""
MAX_FACES = 5_000
"""Number of voxel faces that give the roughness of a surface to 0.01 mm."""
MAX_SHAPE_DISTANCE_MM = 8.0
"""Distances between shape and label are clipped here."""


@dataclass(frozen=True)
class ErrorIndicators:
    """Error indicators of one structure of a case. An error is 1 - Dice between the label and what is expected.

    Attributes:
        case: case id.
        structure: name of the structure.
        present: whether the label map contains it.
        volume_ml: volume of the label.
        outside_ml: volume outside the ROI of the heart.
        slice_staircase_mm: thickness of the slices that the label was drawn on; 0 without a slice staircase.
        roughness_mm: roughness of the surface.
        defect_error: error relative to the label without its visible defects (slice staircase, missing and shifted
            slices, speckle, swapped labels, small components, holes, violated rules).
        roughness_error: error that corresponds to the roughness.
        shape_error: error relative to the fitted shape after smooth registration to the label, or to the repaired tree
            of a thin vessel; None without a shape.
        shape_distance_mm: mean distance of the label's surface to the fitted shape; None without a shape.
        shape_weight: weight of `shape_error` in `expected_error`, 0 to 1.
        changes: changes that the rules of anatomy make in the structure, and those in the whole map.
        host: name of the structure that an absent one is part of in this label map; empty where it is not.
        minutes: time that a correction takes (`correction_time.correction_minutes`).
    """

    case: str
    structure: str
    present: bool
    volume_ml: float = 0.0
    outside_ml: float = 0.0
    slice_staircase_mm: float = 0.0
    roughness_mm: float = 0.0
    defect_error: float = 0.0
    roughness_error: float = 0.0
    shape_error: float | None = None
    shape_distance_mm: float | None = None
    shape_weight: float = 0.0
    changes: tuple[Change, ...] = ()
    host: str = ""
    minutes: float = LOOK_MINUTES

    @property
    def expected_error(self) -> float:
        """Expected Dice error of the label: weighted mean of its visible errors and the error relative to the shape."""
        visible = min(self.defect_error + self.roughness_error, 1.0)
        if self.shape_error is None:
            return visible
        return self.shape_weight * self.shape_error + (1 - self.shape_weight) * visible


def case_indicators(
    original: Labels,
    case: PreparedCase,
    anatomy: Anatomy,
    shapes: Mapping[str, DistanceField] | None = None,
    statistics: CohortStatistics | None = None,
) -> list[ErrorIndicators]:
    """Measure the error indicators of every structure of a case.

    Args:
        original: original label map (x, y, z), uint8, on the grid of the case.
        case: the prepared case.
        anatomy: anatomy of the label map.
        shapes: signed distances of the fitted shapes in mm, positive inside, on the voxels of the ROI, by name; None
            without a fit.
        statistics: radii of vessels and surface noise of the cohort.

    Returns:
        The indicators in the order of the anatomy.
    """
    box, grid = case.roi.source_box(), case.roi.grid
    cleaned = original.copy()
    cleaned[box] = case.cleaned
    after_rules, rule_changes = apply_rules(cleaned, grid, anatomy, only=RULES_AFTER_FIT)
    fields = {name: LocalField.of_whole(shape) for name, shape in (shapes or {}).items()}
    merged = merge_structures(case.cleaned, fields, anatomy, case.roi.source_grid())
    fields, by_name = merged.shapes_mm, {name: one.values for name, one in merged.shapes_mm.items()}
    unusual = find_unusual_anatomy(case.cleaned, fields, anatomy, case.roi.source_grid()).changes if shapes else ()
    changes = (*case.facts.changes, *unusual, *rule_changes)
    maps = _CaseMaps(
        case, original[box], after_rules[box], anatomy, by_name, statistics or CohortStatistics(), merged.hosts
    )
    outside = np.bincount(original.ravel(), minlength=256) - np.bincount(maps.original.ravel(), minlength=256)
    return [maps.indicators(structure, int(outside[structure.id]), changes) for structure in anatomy.structures]


@dataclass(frozen=True, eq=False)
class _CaseMaps:
    """Label maps of a case in its ROI: the original, the same without visible defects, and the fitted shapes."""

    case: PreparedCase
    original: Labels
    after_rules: Labels
    anatomy: Anatomy
    shapes: Mapping[str, DistanceField] = field(default_factory=dict)
    statistics: CohortStatistics = field(default_factory=CohortStatistics)
    hosts: Mapping[str, str] = field(default_factory=dict)

    def indicators(self, structure: Structure, outside: int, changes: tuple[Change, ...]) -> ErrorIndicators:
        """Measure one structure, of which `outside` voxels are outside the ROI."""
        original, cleaned = self.original == structure.id, self.after_rules == structure.id
        grid, name, voxels = self.case.roi.grid, structure.name, int(original.sum()) + outside
        if not voxels:
            return ErrorIndicators(self.case.case_id, name, False, host=self.hosts.get(name, ""))
        is_tube = structure.kind == "tube"
        roughness_mm, roughness_error = (0.0, 0.0) if is_tube else _roughness(cleaned, grid.spacing_mm)
        shape_error, shape_distance_mm, shape_weight = None, None, 0.0
        if is_tube:
            shape_error, shape_weight = _dice_error(original, self._tree(structure, original), outside), VESSEL_WEIGHT
        elif name in self.shapes:
            shape = self.shapes[name]
            registered, shape_weight = self._registered(structure, shape)
            shape_error = _dice_error(original, registered, outside)
            shape_distance_mm = _distance_mm(original, shape, grid.spacing_mm)
        return ErrorIndicators(
            self.case.case_id, name, True, voxels * grid.voxel_mm3 / 1000, outside * grid.voxel_mm3 / 1000,
            self.case.facts.slice_staircase_mm, roughness_mm, _dice_error(original, cleaned, outside), roughness_error,
            shape_error, shape_distance_mm, shape_weight,
            tuple(c for c in changes if c.structure in ("", name) or c.action == f"moved to {name}"),
            minutes=correction_minutes(
                int(original.sum()) * grid.voxel_mm3, surface_area_mm2(original, grid.spacing_mm)
            ),
        )  # fmt: skip

    def _registered(self, structure: Structure, shape: npt.NDArray[np.float32]) -> tuple[Mask, float]:
        """Register the shape to its label; also return the label's share of the remaining noise and misfit."""
        label = without_small_components(self.case.cleaned == structure.id)
        lowest = self.statistics.lowest_surface_noise_mm2.get(structure.name, float("inf"))
        fusion = fuse_shape_and_label(
            label, shape, self.case.roi.grid.spacing_mm, self.case.facts.slice_staircase_mm, lowest, LABEL_WEIGHT
        )
        registered = np.zeros_like(label)
        registered[fusion.box] = fusion.shape_mm > 0
        return registered, 1 / (1 + fusion.label_margin_mm / LABEL_WEIGHT)

    def _tree(self, structure: Structure, label: Mask) -> Mask:
        """Repair the tree of a thin vessel."""
        inside = {
            s.name: self.shapes[s.name] > 0 if s.name in self.shapes else self.after_rules == s.id
            for s in self.anatomy.structures
            if s.kind != "tube"
        }
        calibre = self.statistics.calibres.get(structure.name, Calibre())
        volume = CaseVolume(self.case.roi.grid, self.case.roi.source_box())
        return repair_vessel(structure, label, inside, volume, calibre).mask


def _dice_error(original: Mask, expected: Mask, outside: int) -> float:
    """Compute 1 - Dice of two masks in the ROI; the original has `outside` more voxels outside it."""
    total = int(original.sum()) + int(expected.sum()) + outside
    return 1 - 2 * int((original & expected).sum()) / total


def _roughness(mask: Mask, spacing_mm: tuple[float, float, float]) -> tuple[float, float]:
    """Compute the roughness of a surface in mm, and the Dice error that corresponds to it.

    A surface S with a mean displacement d misplaces S d of the volume V on either side, and 1 - Dice is S d / 2V.
    """
    segment = Segment(mask, spacing_mm)
    roughness_mm = segment_roughness_mm(segment, max_faces=MAX_FACES)
    if roughness_mm is None:
        return 0.0, 0.0
    area_mm2 = surface_area_mm2(mask, spacing_mm)
    return roughness_mm, MEAN_DEVIATION_FACTOR * roughness_mm * area_mm2 / (2 * segment.volume_mm3)


def _distance_mm(label: Mask, shape_mm: npt.NDArray[np.float32], spacing_mm: tuple[float, float, float]) -> float:
    """Compute the mean distance of a label's surface to the surface of a shape."""
    near = np.abs(signed_distance_mm(label, spacing_mm)) < 0.9 * min(spacing_mm)
    clipped = np.clip(shape_mm[near], -MAX_SHAPE_DISTANCE_MM, MAX_SHAPE_DISTANCE_MM)
    return float(np.abs(clipped).mean()) if near.any() else 0.0
