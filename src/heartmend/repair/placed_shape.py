"""Structures of a bad label map, replaced by the shape that the CT places.

Where a network fails, its label map is wrong by centimetres, and neither its surfaces nor a shape that was fitted to
them lead to the edges of the CT. The template of the data set is therefore fitted to the CT itself. Whether label map
or placed shape is right, the edges decide: both are measured in the same way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import numpy.typing as npt
import torch

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.distance import DistanceMap, smooth_distance_mm
from heartmend.geometry.masks import present_ids
from heartmend.geometry.roi import Roi
from heartmend.metrics.overlap import dice
from heartmend.metrics.segment import surface_voxels
from heartmend.models.base import Codes
from heartmend.models.code_book import CodeBook
from heartmend.models.lattice import evaluate_case
from heartmend.models.template import TemplateShape
from heartmend.repair.changes import Change, extent_of_change, replaced_structures
from heartmend.repair.fusion import fuse
from heartmend.repair.image_edges.snap import smooth_maps
from heartmend.repair.shared_errors.estimate import PatchError
from heartmend.repair.shared_errors.own_errors import correct_own_errors, measure_surfaces
from heartmend.training.image_placement import (
    IMAGE_PHASES,
    place_from_starts,
    place_in_image,
    sample_image,
    turned_starts,
)
from heartmend.types import BACKGROUND, Labels, Mask

BoxMm = tuple[Sequence[float], Sequence[float]]
"""Lowest and highest corner (x, y, z) in mm, RAS+."""
RULE = "placed_shape"
"""Name of this method in the change log."""
BLOOD = ("chamber", "vessel", "appendage")
"""Kinds of structures that contain blood: between two of them the CT has no edge."""
UNUSUAL_SHARE = 0.1
"""A label map is better or worse than most if the share of its patches with an edge differs from the median by more."""
MAX_ERROR_MM = 3.0
"""Distance that counts for a patch at which no edge is found."""
MIN_GAIN_MM = -0.2
"""Nothing is replaced if the median structure would be farther from the edges by more than this: a shape that is about
as near as the label has its contacts, which have no edge, in addition."""
MAX_LOSS_MM = 0.6
"""A structure stays if its own distance to the edges would become larger by more than this."""
SAME_DICE = 0.5
"""Unless label and placed shape have a lower Dice: a label that is elsewhere lies at the edges of something else."""
ALIKE_DICE, MIN_OUTSIDE_SHARE = 0.88, 0.5
"""A structure with unusual anatomy stays if label and placed shape have this Dice or more outside the boxes of the
unusual parts, or if less than this share of the structure is outside them."""
MAX_REFERENCE_MM, MAX_MISFIT_MM = 1.3, 5.0
"""The template fits a structure if it is this near to the surfaces of the best label maps, on average; and the largest
distance that counts. (Measured: hearts of one anatomy at most 1.15 mm, veins and appendages of hearts that differ 1.5
to 1.7.)"""


@dataclass(frozen=True, eq=False)
class CaseTemplate:
    """Template of a data set, and where it begins in a case.

    Attributes:
        shape: the template.
        code: code of the case, by its label map.
        names: names of the structures that it fits in the best label maps of the data set; only these are replaced, and
            their edges decide.
        usual_affine: (1, 3, 4) affine map of a usual case, from which other poses are tried; None where the label map
            of the case is not worse than most.
        unusual: boxes in mm of the unusual parts of each structure, by its name. Such a structure stays if the placed
            shape is like the label but for them.
    """

    shape: TemplateShape
    code: Codes
    names: frozenset[str] = frozenset()
    usual_affine: torch.Tensor | None = None
    unusual: Mapping[str, Sequence[BoxMm]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class PlacedCase:
    """Surfaces of a case after bad ones were replaced.

    Attributes:
        maps: distance map (x, y, z) of each structure, by name; those that stay are the same objects.
        changes: what was replaced.
    """

    maps: Mapping[str, DistanceMap]
    changes: tuple[Change, ...] = ()

    @property
    def replaced(self) -> frozenset[str]:
        """Names of the structures that were replaced."""
        return replaced_structures(self.changes, RULE)


def is_better_than_most(case_id: str, edge_shares: Mapping[str, float]) -> bool:
    """Test whether the surfaces of a label map are nearer to the edges of its CT than those of most others.

    Args:
        case_id: id of the case.
        edge_shares: share of the patches of each case at which its CT has an edge, by case id.

    Returns:
        Whether it is; False for a case that was not measured.

    Example:
        >>> shares = {"a": 0.8, "b": 0.6, "c": 0.6}
        >>> is_better_than_most("a", shares), is_better_than_most("b", shares), is_better_than_most("d", shares)
        (True, False, False)
    """
    return _beside_median(case_id, edge_shares) > UNUSUAL_SHARE


def is_worse_than_most(case_id: str, edge_shares: Mapping[str, float]) -> bool:
    """Test whether the surfaces of a label map are farther from the edges of its CT than those of most others.

    Args:
        case_id: id of the case.
        edge_shares: share of the patches of each case at which its CT has an edge, by case id.

    Returns:
        Whether it is; False for a case that was not measured.
    """
    return _beside_median(case_id, edge_shares) < -UNUSUAL_SHARE


def _beside_median(case_id: str, edge_shares: Mapping[str, float]) -> float:
    return edge_shares[case_id] - float(np.median([*edge_shares.values()])) if case_id in edge_shares else 0.0


def replace_by_placed(
    maps: Mapping[str, DistanceMap], image: npt.NDArray[np.generic], template: CaseTemplate, roi: Roi, anatomy: Anatomy,
    structures: Collection[str], before: Mapping[str, DistanceMap],
) -> PlacedCase:  # fmt: skip
    """Replace the structures of a label map that is farther from the edges of its CT than the placed template.

    Args:
        maps: distance map (x, y, z) of each structure on the voxels of the ROI, by name.
        image: (x, y, z) CT in HU on the same voxels.
        template: the template of the data set.
        roi: the region of interest.
        anatomy: the structures.
        structures: names of the structures that may change.
        before: the maps before the errors of the case were corrected.

    Returns:
        The surfaces, and what was replaced.
    """
    solid = {name: maps[name] for name in template.shape.heads if name in maps}
    labels = fuse(solid, anatomy, roi.grid.spacing_mm)
    heads = present_ids(labels, {name: anatomy.by_name(name).id for name in solid})
    placed = placed_labels(labels, image, template, roi, heads)
    found_heads = present_ids(placed, heads)
    wanted = {id: name for name, id in found_heads.items() if name in template.names}
    found = smooth_maps(placed, found_heads.values(), roi.grid.spacing_mm)
    new = {anatomy.by_id(id).name: distances for id, distances in found.items()}
    new |= correct_own_errors(new, image, roi, anatomy, list(new)).maps
    own_mm, new_mm = (
        distances_mm(measure_surfaces(one, image, roi, anatomy, wanted), anatomy) for one in (before, new)
    )
    gains_mm = {id: own_mm[id] - new_mm[id] for id in own_mm.keys() & new_mm.keys()}
    if not gains_mm or np.median([*gains_mm.values()]) < MIN_GAIN_MM:
        return PlacedCase(maps)
    alike = {id: dice(labels == id, placed == id) for id in gains_mm}
    gains = {
        wanted[id]: gains_mm[id] for id in sorted(gains_mm)
        if (gains_mm[id] >= -MAX_LOSS_MM or alike[id] < SAME_DICE)
        and not _is_unusual_only(labels == id, placed == id, template.unusual.get(wanted[id], ()), roi)
    }  # fmt: skip
    chosen = {name: gain for name, gain in gains.items() if name in structures}
    return PlacedCase({**maps, **{name: new[name] for name in chosen}}, tuple(_changes(maps, new, chosen, roi)))


def _is_unusual_only(label: Mask, placed: Mask, boxes_mm: Sequence[BoxMm], roi: Roi) -> bool:
    """Whether a structure has unusual parts, and is like the placed shape outside their boxes."""
    if not boxes_mm:
        return False
    outside = np.ones(label.shape, bool)
    start = [part.start for part in roi.source_box()]
    for low, high in boxes_mm:
        corners = roi.grid.world_to_index(np.array([*product(*zip(low, high, strict=True))])) - start
        first, last = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int) + 1
        outside[tuple(slice(max(a, 0), max(b, 0)) for a, b in zip(first, last, strict=True))] = False
    if np.count_nonzero(label & outside) < MIN_OUTSIDE_SHARE * np.count_nonzero(label):
        return True
    return dice(label & outside, placed & outside) >= ALIKE_DICE


def surface_misfit_mm(mask: Mask, placed: Mask, roi: Roi) -> float | None:
    """Compute the mean distance of the surface of a placed structure from that of its label.

    Args:
        mask: (x, y, z) bool on the voxels of the ROI, the label.
        placed: (x, y, z) bool, the placed structure.
        roi: the region of interest.

    Returns:
        The mean in mm, of at most `MAX_MISFIT_MM` at each place; None where one of them is empty.
    """
    surface = surface_voxels(placed)
    if not mask.any() or not surface.any():
        return None
    distances = smooth_distance_mm(mask, roi.grid.spacing_mm)[surface]
    return float(np.minimum(np.abs(distances), MAX_MISFIT_MM).mean())


def distances_mm(errors: Sequence[PatchError], anatomy: Anatomy) -> dict[int, float]:
    """Compute the mean distance of the surface of each structure to the edges of the CT.

    Args:
        errors: the error of each patch. At a contact of two blood-filled structures there is nothing to measure.
        anatomy: the structures.

    Returns:
        The distance by id; a patch without an edge counts as one `MAX_ERROR_MM` away.
    """
    blood = {one.id for one in anatomy.structures if one.kind in BLOOD}
    found: dict[int, list[float]] = {}
    for error in errors:
        if error.evidence == "none" and blood.issuperset((error.structure, error.neighbour)):
            continue
        size_mm = MAX_ERROR_MM if error.evidence == "none" else min(abs(error.mean_mm), MAX_ERROR_MM)
        found.setdefault(error.structure, []).append(size_mm)
    return {id: float(np.mean(sizes)) for id, sizes in found.items()}


def placed_labels(
    labels: Labels, image: npt.NDArray[np.generic], template: CaseTemplate, roi: Roi, heads: Mapping[str, int]
) -> Labels:
    """Compute the label map of the template that is placed in a CT.

    Args:
        labels: (x, y, z) uint8 on the voxels of the ROI, the label map of the case.
        image: (x, y, z) CT in HU on the same voxels.
        template: the template.
        roi: the region of interest.
        heads: id of each structure that the case has, by name.

    Returns:
        (x, y, z) uint8, without other structures.
    """
    return labels_of(template.shape, placed_code(labels, image, template, roi, heads), roi, heads)


def placed_code(
    labels: Labels, image: npt.NDArray[np.generic], template: CaseTemplate, roi: Roi, heads: Mapping[str, int]
) -> Codes:
    """Compute the code of the template that is placed in a CT.

    Args:
        labels: (x, y, z) uint8 on the voxels of the ROI, the label map of the case.
        image: (x, y, z) CT in HU on the same voxels.
        template: the template.
        roi: the region of interest.
        heads: id of each structure that the case has, by name.

    Returns:
        The code.
    """
    shape, voxels = template.shape, sample_image(labels, image, roi, heads)
    if template.usual_affine is None:
        return place_in_image(shape, voxels, template.code).code
    starts = [template.code, *turned_starts(template.usual_affine)]
    code = place_from_starts(shape, voxels, starts).code
    # What the structures look like was measured in a label map that is wrong in large parts.
    again = sample_image(labels_of(shape, code, roi, heads), image, roi, heads)
    return place_in_image(shape, again, code, IMAGE_PHASES[1:]).code


def labels_of(shape: TemplateShape, code: Codes, roi: Roi, heads: Mapping[str, int]) -> Labels:
    """Compute the label map of a template.

    Args:
        shape: the template.
        code: code of the case.
        roi: its region of interest.
        heads: id of each structure that the case has, by name.

    Returns:
        (x, y, z) uint8 on the voxels of the ROI, without other structures.
    """
    with torch.no_grad():
        depths = evaluate_case(shape, CodeBook([""], code), "", roi)
    stacked, ids = np.stack([depths[name] for name in heads]), np.array([*heads.values()], np.uint8)
    labels: Labels = np.where(stacked.max(axis=0) > 0, ids[stacked.argmax(axis=0)], np.uint8(BACKGROUND))
    return labels


def _changes(
    before: Mapping[str, DistanceMap], after: Mapping[str, DistanceMap], gains_mm: Mapping[str, float], roi: Roi
) -> list[Change]:
    """Entries of the change log: what was replaced."""
    changes = []
    for name, gain_mm in gains_mm.items():
        extent = extent_of_change(before[name].inside != after[name].inside, roi.source_box(), roi.grid)
        if extent is None:
            continue
        nearer = f"{abs(gain_mm):.1f} mm {'nearer to' if gain_mm >= 0 else 'farther from'} its edges than the label"
        note = f"by the shape that the CT places, {nearer}"
        changes.append(Change(RULE, name, "replaced", *extent, "review", note))
    return changes
