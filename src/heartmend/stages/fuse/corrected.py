"""Correction of the surfaces of one case, before its structures are fused.

Each refined structure is accepted or rejected beside its original. Then the errors that all cases share are corrected,
and those of the case itself.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.components import without_small_components
from heartmend.geometry.distance import DistanceMap
from heartmend.repair.acceptance import Verdict, check_acceptance
from heartmend.repair.changes import Change, replaced_structures
from heartmend.repair.confused_labels import RULE as CONFUSED
from heartmend.repair.image_edges.muscle_level import chambers_like_muscle
from heartmend.repair.placed_shape import CaseTemplate
from heartmend.repair.shared_errors.case import CaseCorrection, CorrectedCase, correct_case
from heartmend.repair.shared_errors.own_errors import correct_own_errors
from heartmend.run_folder.records import PreparedCase
from heartmend.stages.fuse.settings import FuseSettings
from heartmend.types import Labels


@dataclass(frozen=True, eq=False)
class RefinedCase:
    """A case that is to be fused.

    Attributes:
        original: (x, y, z) uint8, the label map before any repair, on the whole grid.
        prepared: the prepared case.
        maps: distance maps of the refined structures on the voxels of the ROI, by name.
        image: (x, y, z) CT in HU on the whole grid; None where there is none.
        remarks: remarks of `refine` about unusual anatomy.
        correction: correction of the errors that all cases share; None where there is none.
        margins_mm: label margin of each refined structure; None where the label alone counts.
        misfits_mm: median distance between label and fitted shape of each refined structure.
        corrects_own_errors: whether surfaces that are beside the edges of the case's own CT are moved there, as those
            of all cases were.
        template: template of the data set, which is placed in the CT of a case with errors of its own; None where it
            is not.
    """

    original: Labels
    prepared: PreparedCase
    maps: Mapping[str, DistanceMap]
    image: npt.NDArray[np.generic] | None = None
    remarks: tuple[Change, ...] = ()
    correction: CaseCorrection | None = None
    margins_mm: Mapping[str, float | None] = field(default_factory=dict)
    misfits_mm: Mapping[str, float] = field(default_factory=dict)
    corrects_own_errors: bool = False
    template: CaseTemplate | None = None


@dataclass(frozen=True, eq=False)
class CorrectedMaps:
    """Surfaces of a case after their correction.

    Attributes:
        maps: distance map of each structure on the voxels of the ROI, by name.
        before_own: the same before the errors of the case itself were corrected.
        verdicts: acceptance of the refined structures.
        shared: what was corrected of the errors that all cases share.
        own: what was corrected of the errors of the case itself.
        at_edges: names of the structures whose surfaces may move to the edges of the CT, in the order of the anatomy.
            Thin vessels are repaired in another way, and dark chambers have no edge.
        dark: names of the chambers that are as dark as the muscle in the CT.
    """

    maps: Mapping[str, DistanceMap]
    before_own: Mapping[str, DistanceMap]
    verdicts: tuple[Verdict, ...]
    shared: CorrectedCase
    own: CorrectedCase
    at_edges: tuple[str, ...] = ()
    dark: frozenset[str] = frozenset()

    @property
    def changes(self) -> tuple[Change, ...]:
        """What was moved."""
        return (*self.shared.changes, *self.own.changes)

    @property
    def has_own_errors(self) -> bool:
        """Whether surfaces were beside the edges of the case's own CT."""
        return any(one.action == "moved" for one in self.own.changes)


def correct_maps(
    case: RefinedCase, anatomy: Anatomy, settings: FuseSettings, structures: tuple[str, ...] = (),
    repaired_vessels: Container[str] = (),
) -> CorrectedMaps:  # fmt: skip
    """Correct the surfaces of a case.

    Args:
        case: the case.
        anatomy: the structures.
        settings: settings of the stage.
        structures: names of the structures that may change; empty: all of them.
        repaired_vessels: names of thin vessels that are repaired later, and get no map here.

    Returns:
        The surfaces.
    """
    roi = case.prepared.roi
    box = roi.source_box()
    image = None if case.image is None or not settings.image_edges else case.image[box]
    maps, verdicts = _accepted_maps(case, anatomy, repaired_vessels)
    # After the acceptance: a repair is compared with its label, which has the error that all cases share.
    shared = own = CorrectedCase({}, {}, ())
    dark = frozenset[str]() if image is None else chambers_like_muscle(case.maps, image, anatomy)
    at_edges = tuple(
        one.name for one in anatomy.structures
        if one.name in case.maps and one.kind != "tube" and one.image_edges and one.name not in dark
        and (not structures or one.name in structures)
    )  # fmt: skip
    if case.correction is not None:
        movable = {name: one for name, one in maps.items() if not structures or name in structures}
        original = np.ascontiguousarray(case.original[box])
        shared = correct_case(movable, original, roi, anatomy, case.correction, image)
        maps |= shared.maps
    if case.corrects_own_errors and image is not None:
        own = correct_own_errors(maps, image, roi, anatomy, at_edges)
    return CorrectedMaps({**maps, **own.maps}, maps, tuple(verdicts), shared, own, at_edges, dark)


def _accepted_maps(
    case: RefinedCase, anatomy: Anatomy, without: Container[str]
) -> tuple[dict[str, DistanceMap], list[Verdict]]:
    """The refined map of each structure where it is accepted, else that of its prepared label, if not `without` it."""
    cleaned, spacing = case.prepared.cleaned, case.prepared.roi.grid.spacing_mm
    maps, verdicts, replaced = dict(case.maps), list[Verdict](), replaced_structures(case.remarks, CONFUSED)
    for structure in anatomy.structures:
        label, refined = cleaned == structure.id, case.maps.get(structure.name)
        if refined is not None:
            verdict = check_acceptance(label, refined.inside, structure, spacing)
            if structure.name in replaced:
                # Within no limits of a repair: the label is somewhere else.
                verdict = verdict.without_limits()
            verdicts.append(verdict)
            if verdict.accepted:
                continue
            label = without_small_components(label)
        if structure.name not in without:
            maps[structure.name] = DistanceMap.of_mask(label, spacing)
    return maps, verdicts
