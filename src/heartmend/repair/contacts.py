"""Contacts of blood-filled structures, such as valve planes, placed by the shape that fits all other surfaces.

Between an atrium and its ventricle a CT has no edge. Only the label map shows where one ends, and a network that is
wrong there is wrong by millimetres over the whole plane. The other surfaces of both have edges. Once they lie at these,
the template of the cohort is fitted to them alone, and its smooth deformation carries the contacts along.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.boxes import Spacing, bounding_box, nested_box
from heartmend.geometry.components import label_components
from heartmend.geometry.distance import DistanceMap
from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.geometry.masks import mask_of_ids
from heartmend.geometry.roi import Roi
from heartmend.models.code_book import CodeBook
from heartmend.models.lattice import evaluate_case
from heartmend.models.template import TemplateShape
from heartmend.repair.changes import REVIEW_MM3, Change, Severity, box_in_mm
from heartmend.repair.image_edges.snap import smooth_maps
from heartmend.training.placement import PlacementSchedule, measure_placement, place_template
from heartmend.training.sampling import CaseSamples, sample_case
from heartmend.types import BACKGROUND, Labels, Mask

RULE = "contacts"
"""Name of this method in the change log."""
BLOOD = ("chamber", "vessel", "appendage")
"""Kinds of structures that contain blood."""
AROUND_MM = 7.0
"""Points nearer to a contact do not take part in the fit."""
MIN_DEPTH_MM = 1.5
"""A part that is exchanged reaches at least this far into the structure that loses it."""
MIN_SHARE = 0.1
"""Least share of the points that has to be left."""
MAX_RESIDUAL_MM, MAX_RESIDUAL_OF_ALIKE_MM, ALIKE_MM = 0.33, 0.6, 0.22
"""Largest median distance of the fitted template from the other surface of a structure. One that it does not fit, such
as veins that differ from heart to heart, keeps its contacts. The second limit holds where the template fits the whole
heart more closely than the third number: these hearts are alike."""
BETTER = 0.1
"""A label map is better than most if the share of its patches with an edge is above the median by more."""
MIN_CONTRAST_HU = 40.0
"""Where the levels of two structures differ by more, the image has to agree."""
EVIDENCE_MM = 1.5
"""Standard deviation of the neighbourhood whose mean intensity is compared with these levels."""


@dataclass(frozen=True, eq=False)
class CohortTemplate:
    """Template of a data set.

    Attributes:
        shape: the template.
        size_mm: mean extent of the boxes of the cases that it was fitted to, in mm.
    """

    shape: TemplateShape
    size_mm: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class PlacedContacts:
    """Label map after its contacts were moved.

    Attributes:
        labels: (x, y, z) uint8; the given array if nothing moved.
        maps: distance map (x, y, z) of each structure, by name.
        changes: what was moved.
    """

    labels: Labels
    maps: Mapping[str, DistanceMap]
    changes: tuple[Change, ...] = ()


def is_better_than_most(case_id: str, edge_shares: Mapping[str, float]) -> bool:
    """Test whether the surfaces of a label map are nearer to the edges of its CT than those of most others.

    The template has the errors that are typical of the data set; such a label map has better contacts.

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
    return case_id in edge_shares and edge_shares[case_id] > float(np.median([*edge_shares.values()])) + BETTER


def place_contacts(
    labels: Labels, maps: Mapping[str, DistanceMap], image: npt.NDArray[np.generic], template: CohortTemplate,
    roi: Roi, anatomy: Anatomy, structures: Collection[str],
) -> PlacedContacts:  # fmt: skip
    """Move the contacts of blood-filled structures to where the shape that fits all other surfaces has them.

    Args:
        labels: (x, y, z) uint8 on the voxels of the ROI, with its other surfaces at the edges of the image.
        maps: distance map (x, y, z) of each structure, by name.
        image: (x, y, z) CT in HU on the same voxels.
        template: the template of the cohort.
        roi: the region of interest.
        anatomy: the structures.
        structures: names of the structures that may change.

    Returns:
        The label map with its distance maps, and what was moved.
    """
    blood = [s.id for s in anatomy.structures if s.kind in BLOOD and s.name in structures]
    at_contact = contact_voxels(labels, blood)
    if not at_contact.any():
        return PlacedContacts(labels, maps)
    away = distance_transform_mm(~at_contact, roi.grid.spacing_mm) >= AROUND_MM
    wanted, fitting = shape_by_part(labels, away, template, roi, anatomy)
    exchanged = [id for id in blood if anatomy.by_id(id).name in fitting]
    if len(exchanged) < 2:
        box_mm = box_in_mm(roi.source_box(), roi.grid)
        note = "contacts not moved: the template of the data set does not fit the other surfaces of this heart"
        return PlacedContacts(labels, maps, (Change(RULE, "", "not moved", 0, 0.0, box_mm, "review", note),))
    result = exchange_blood(labels, wanted, image, exchanged, roi.grid.spacing_mm)
    changes = _changes(labels, result, roi, anatomy, exchanged)
    moved = sorted({*np.unique(labels[labels != result]), *np.unique(result[labels != result])})
    smooth = smooth_maps(result, [int(id) for id in moved], roi.grid.spacing_mm)
    redone = {anatomy.by_id(id).name: distances for id, distances in smooth.items()}
    return PlacedContacts(result, {**maps, **redone}, tuple(changes))


def contact_voxels(labels: Labels, ids: Sequence[int]) -> Mask:
    """Find the voxels at the faces between two of some structures.

    Args:
        labels: (x, y, z) uint8.
        ids: ids of these structures.

    Returns:
        (x, y, z) bool.

    Example:
        >>> contact_voxels(np.array([[[2, 2, 3, 3, 0, 2]]], np.uint8), (2, 3)).astype(int).tolist()
        [[[0, 1, 1, 0, 0, 0]]]
    """
    found, among = np.zeros(labels.shape, bool), mask_of_ids(labels, ids)
    for axis in range(labels.ndim):
        ids_along, among_along, out = (np.moveaxis(one, axis, 0) for one in (labels, among, found))
        here = (ids_along[:-1] != ids_along[1:]) & among_along[:-1] & among_along[1:]
        out[:-1] |= here
        out[1:] |= here
    return found


def shape_by_part(
    labels: Labels, part: Mask, template: CohortTemplate, roi: Roi, anatomy: Anatomy
) -> tuple[Labels, tuple[str, ...]]:
    """Compute the label map of a template that is fitted to a part of the surfaces of a case.

    Args:
        labels: (x, y, z) uint8 on the voxels of the ROI.
        part: (x, y, z) bool, where the surfaces take part.
        template: the template of the cohort.
        roi: the region of interest.
        anatomy: the structures.

    Returns:
        (x, y, z) uint8, without structures that the case or the template lacks; and the names of those that it fits,
        none if the part has too few points.
    """
    present = [name for name in template.shape.heads if (labels == anatomy.by_name(name).id).any()]
    ids = np.array([anatomy.by_name(name).id for name in present], np.uint8)
    whole = sample_case("", labels, roi, ids.tolist())
    samples = _samples_where(whole, part, roi)
    if samples.band < MIN_SHARE * whole.band:
        return labels, ()
    code = place_template(template.shape, template.size_mm, samples, present, PlacementSchedule())
    error = measure_placement(template.shape, samples, present, code)
    limit_mm = MAX_RESIDUAL_OF_ALIKE_MM if error.whole_mm <= ALIKE_MM else MAX_RESIDUAL_MM
    with torch.no_grad():
        depths = evaluate_case(template.shape, CodeBook([""], code), "", roi)
    stacked = np.stack([depths[name] for name in present])
    found = np.where(stacked.max(axis=0) > 0, ids[stacked.argmax(axis=0)], np.uint8(BACKGROUND))
    return found, tuple(name for name in present if error.of_structure_mm[name] <= limit_mm)


def exchange_blood(
    labels: Labels, wanted: Labels, image: npt.NDArray[np.generic], blood: Sequence[int], spacing_mm: Spacing
) -> Labels:
    """Exchange voxels between blood-filled structures, as another label map has them.

    Parts that reach less than `MIN_DEPTH_MM` into a structure stay: there the label map is as good as a shape. Where
    two structures differ in brightness, the image has to agree. The outer surface of all blood does not move.

    Args:
        labels: (x, y, z) uint8.
        wanted: (x, y, z) uint8, the other label map.
        image: (x, y, z) CT in HU on the same voxels.
        blood: ids of the blood-filled structures.
        spacing_mm: voxel spacing.

    Returns:
        The label map.
    """
    result = labels.copy(order="K")
    # By the shape: where a label map has hardly anything of a structure, its level is not that of this structure.
    filled = mask_of_ids(labels, blood)
    levels = {id: float(np.median(image[mask])) for id in blood if (mask := filled & (wanted == id)).any()}
    for own, other in permutations(levels, 2):
        swapped = (labels == own) & (wanted == other)
        box = bounding_box(swapped, 1)
        if box is None:
            continue
        part, own_mask = swapped[box], labels[box] == own
        if abs(levels[own] - levels[other]) > MIN_CONTRAST_HU:
            part = _nearer(image[box], part, (levels[other], levels[own]), spacing_mm)
        depth_mm = distance_transform_mm(own_mask, spacing_mm)
        numbers, _ = label_components(part)
        reaching = np.unique(numbers[part & (depth_mm >= MIN_DEPTH_MM)])
        result[box][part & np.isin(numbers, reaching)] = other
    return result


def _samples_where(samples: CaseSamples, mask: Mask, roi: Roi) -> CaseSamples:
    """The samples whose nearest voxel is in a mask (x, y, z) on the voxels of the ROI."""
    cells = np.stack(np.unravel_index(samples.voxels, samples.counts), axis=-1)
    index = roi.unit_to_index(2 * (cells + 0.5) / np.array(samples.counts) - 1)
    voxel = np.rint(index - [side.start for side in roi.source_box()]).astype(np.intp)
    kept = mask[tuple(np.clip(voxel, 0, np.array(mask.shape) - 1).T)]
    return replace(
        samples, voxels=samples.voxels[kept], band=int(np.count_nonzero(kept[: samples.band])),
        distances=np.ascontiguousarray(samples.distances[kept]),
    )  # fmt: skip


def _nearer(
    image: npt.NDArray[np.generic], part: Mask, levels: tuple[float, float], spacing_mm: Sequence[float]
) -> Mask:
    """The part where the mean intensity of the part about a voxel is nearer to the first of two levels."""
    sigma = [EVIDENCE_MM / step for step in spacing_mm]
    weight = gaussian_filter(part.astype(np.float32), sigma, mode="constant")
    total = gaussian_filter(np.where(part, image, 0).astype(np.float32), sigma, mode="constant")
    mean = total / np.maximum(weight, 1e-6)
    nearer: Mask = part & (np.abs(mean - levels[0]) < np.abs(mean - levels[1]))
    return nearer


def _changes(before: Labels, after: Labels, roi: Roi, anatomy: Anatomy, blood: Sequence[int]) -> list[Change]:
    """Entries of the change log: what each structure gave to each other one."""
    changes = []
    for own, other in permutations(blood, 2):
        part = (before == own) & (after == other)
        box = bounding_box(part)
        if box is None:
            continue
        voxels = int(np.count_nonzero(part))
        mm3 = round(voxels * roi.grid.voxel_mm3, 2)
        severity: Severity = "review" if mm3 >= REVIEW_MM3 else "info"
        names = anatomy.by_id(own).name, anatomy.by_id(other).name
        note = "contact moved to where the shape that fits the other surfaces has it"
        where = box_in_mm(nested_box(roi.source_box(), box), roi.grid)
        changes.append(Change(RULE, names[0], f"moved to {names[1]}", voxels, mm3, where, severity, note))
    return changes
