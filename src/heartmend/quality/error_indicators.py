"""What speaks against a structure of a label map, measured without the truth and before anyone mends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.calibre import Calibre
from heartmend.anatomy.schema import Anatomy, Structure
from heartmend.geometry.components import without_small_components
from heartmend.geometry.distance import CLIP_MM, signed_distance_mm
from heartmend.metrics.segment import Segment
from heartmend.metrics.smoothness import segment_roughness_mm
from heartmend.repair.case_volume import CaseVolume
from heartmend.repair.changes import Change
from heartmend.repair.rules.apply import apply_rules
from heartmend.repair.shape_label_fusion import fuse_shape_and_label
from heartmend.repair.vessels.case import repair_vessel
from heartmend.run_folder.records import PreparedCase
from heartmend.types import DistanceField, Labels, Mask

RULES_AFTER_THE_FIT = ("components", "detached_segments", "field_of_view")
"""What `prepare` has not applied yet."""
MEAN_OF_DEVIATION = float(np.sqrt(2 / np.pi))
"""Mean absolute value of a Gaussian, as a share of its standard deviation."""
VOTE_OF_RATIO = 0.1
"""As the label's weight: a shape has nothing to say where its misfit is ten times the label's noise (variances)."""
MOST_FACES = 5_000
"""So many faces tell how rough a surface is to a hundredth of a millimetre."""


@dataclass(frozen=True)
class ErrorIndicators:
    """One structure of one case. An error is one of Dice: 1 - Dice between the label as it came and what is expected.

    faults_error: expected is the label without its plain faults (stairs, missing and shifted slices, salt, swaps,
    islands, holes, broken rules). roughness_error: what a surface that wavers by `roughness_mm` costs. shape_error:
    expected is the shape that the cohort gives the case, drawn to its label where they part smoothly, or of a thin
    vessel its tree of tubes; `trust`, 0 to 1, is how far it is to be believed, and `shape_mm` how far the label's
    surface lies from the shape as it was fitted, on average.
    """

    case: str
    structure: str
    present: bool
    volume_ml: float = 0.0
    outside_ml: float = 0.0
    """Of it, what lies outside the box about the heart."""
    slice_staircase_mm: float = 0.0
    """Thickness of the slices that it was drawn on; 0 where there are no stairs."""
    roughness_mm: float = 0.0
    faults_error: float = 0.0
    roughness_error: float = 0.0
    shape_error: float | None = None
    shape_mm: float | None = None
    trust: float = 0.0
    changes: tuple[Change, ...] = ()
    """What the rules of anatomy would do to it, and those that concern the whole map."""

    @property
    def error(self) -> float:
        """The Dice error that is expected of the label: what the map itself shows, and what the shape says of it."""
        alone = min(self.faults_error + self.roughness_error, 1.0)
        return alone if self.shape_error is None else self.trust * self.shape_error + (1 - self.trust) * alone


def case_indicators(
    before: Labels,
    case: PreparedCase,
    anatomy: Anatomy,
    shapes: Mapping[str, DistanceField] | None = None,
    calibres: Mapping[str, Calibre] | None = None,
    least_mm2: Mapping[str, float] | None = None,
) -> list[ErrorIndicators]:
    """The signs of every structure of the anatomy in a case.

    before: (x, y, z) as it came, on the case's grid; shapes: signed distances (mm, positive inside) of the fitted
    shapes on the source voxels in the ROI, none for a quick look; calibres: how wide the trees of each thin vessel are
    in the cohort; least_mm2: how rough its cleanest labels are, by structure.
    """
    box, grid = case.roi.source_box(), case.roi.grid
    whole = before.copy()
    whole[box] = case.cleaned
    ruled, found = apply_rules(whole, grid, anatomy, only=RULES_AFTER_THE_FIT)
    changes = (*case.facts.changes, *found)
    scene = _Scene(case, before[box], ruled[box], shapes or {}, calibres or {}, least_mm2 or {}, anatomy)
    outside = np.bincount(before.ravel(), minlength=256) - np.bincount(scene.came.ravel(), minlength=256)
    return [scene.signs(structure, int(outside[structure.id]), changes) for structure in anatomy.structures]


@dataclass(frozen=True, eq=False)
class _Scene:
    """A case in its ROI: the map as it came, the same without its plain faults, and the fitted shapes."""

    case: PreparedCase
    came: Labels
    ruled: Labels
    shapes: Mapping[str, DistanceField]
    calibres: Mapping[str, Calibre]
    least_mm2: Mapping[str, float]
    anatomy: Anatomy

    def signs(self, structure: Structure, outside: int, changes: tuple[Change, ...]) -> ErrorIndicators:
        came, sound, grid = self.came == structure.id, self.ruled == structure.id, self.case.roi.grid
        name, voxels = structure.name, int(came.sum()) + outside
        if not voxels:
            return ErrorIndicators(self.case.case_id, name, False)
        rough_mm, rough_error = (0.0, 0.0) if structure.kind == "tube" else _roughness(sound, grid.spacing_mm)
        shape_error, shape_mm, trust = None, None, 0.0
        if structure.kind == "tube":
            tree = self._tree(structure, came)
            shape_error, trust = _dice_error(came, tree, outside), 0.5
        elif name in self.shapes:
            shape = self.shapes[name]
            drawn_in, trust = self._drawn_in(structure, shape)
            shape_error = _dice_error(came, drawn_in, outside)
            shape_mm = _distance_mm(came, shape, grid.spacing_mm)
        return ErrorIndicators(
            self.case.case_id, name, True, voxels * grid.voxel_mm3 / 1000, outside * grid.voxel_mm3 / 1000,
            self.case.facts.slice_staircase_mm, rough_mm, _dice_error(came, sound, outside), rough_error, shape_error, shape_mm, trust,
            tuple(c for c in changes if c.structure in ("", name) or c.action == f"moved to {name}"),
        )  # fmt: skip

    def _drawn_in(self, structure: Structure, shape: npt.NDArray[np.float32]) -> tuple[Mask, float]:
        """The shape drawn to its label, and the share of noise in what then parts the two; the rest is misfit."""
        label = without_small_components(self.case.cleaned == structure.id)
        least = self.least_mm2.get(structure.name, float("inf"))
        field = np.clip(shape, -CLIP_MM, CLIP_MM)
        found = fuse_shape_and_label(
            label, field, self.case.roi.grid.spacing_mm, self.case.facts.slice_staircase_mm, least, VOTE_OF_RATIO
        )
        return found.shape_mm > 0, 1 / (1 + found.label_margin_mm / VOTE_OF_RATIO)

    def _tree(self, structure: Structure, label: Mask) -> Mask:
        inside = {
            s.name: self.shapes[s.name] > 0 if s.name in self.shapes else self.ruled == s.id
            for s in self.anatomy.structures
            if s.kind != "tube"
        }
        calibre = self.calibres.get(structure.name, Calibre())
        volume = CaseVolume(self.case.roi.grid, self.case.roi.source_box())
        return repair_vessel(structure, label, inside, volume, calibre).mask


def _dice_error(came: Mask, expected: Mask, outside: int) -> float:
    """1 - Dice of two masks in the ROI, beyond which the label has `outside` voxels and nothing is expected."""
    total = int(came.sum()) + int(expected.sum()) + outside
    return 1 - 2 * int((came & expected).sum()) / total


def _roughness(mask: Mask, spacing_mm: tuple[float, float, float]) -> tuple[float, float]:
    """How rough the surface is (mm), and the Dice error of a surface that wavers by as much.

    A surface S that is moved by d on average misplaces S * d of the volume V on either side, and 1 - Dice is S d / 2V.
    """
    segment = Segment(mask, spacing_mm)
    rough_mm = segment_roughness_mm(segment, max_faces=MOST_FACES)
    if rough_mm is None:
        return 0.0, 0.0
    voxel = float(np.prod(spacing_mm))
    # A flat surface at any angle shows 3/2 of its area in faces of voxels, on average.
    faces = sum(np.count_nonzero(np.diff(mask, axis=axis)) * voxel / spacing_mm[axis] for axis in range(3)) / 1.5
    return rough_mm, MEAN_OF_DEVIATION * rough_mm * faces / (2 * segment.volume_mm3)


def _distance_mm(label: Mask, shape_mm: npt.NDArray[np.float32], spacing_mm: tuple[float, float, float]) -> float:
    """How far the shape's surface is from the label's, on average over the label's surface; up to 8 mm count."""
    near = np.abs(signed_distance_mm(label, spacing_mm)) < 0.9 * min(spacing_mm)
    return float(np.abs(np.clip(shape_mm[near], -8.0, 8.0)).mean()) if near.any() else 0.0
