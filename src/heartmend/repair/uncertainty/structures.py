"""Evidence about each structure of a repaired case as a whole, from that of the voxels on its surface."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy, Structure
from heartmend.repair.uncertainty.evidence import Evidence, RepairedRoi

KINDS = ("wall", "vessel", "appendage", "tube")
"""Kinds of structures beside chambers."""
OWN = ("size", "change", "shape_gap", "misfit", "margin", "label_alone", "noise", "shape_bias", "volume_change")
OF_CASE = ("change", "misfit", "noise")
OF_IMAGE = ("precision", "edge", "edge_bias")
STRUCTURE_FEATURES = (
    *(f"is_{kind}" for kind in KINDS), *OWN, *(f"case_{name}" for name in OF_CASE), "has_image",
    *(f"image_{name}" for name in OF_IMAGE),
)  # fmt: skip
"""Names of the features; lengths are logarithms. `docs/concepts/uncertainty.md` explains each."""
SMALLEST_MM = 0.03
"""Added to a length before its logarithm is taken."""


def judged_structures(case: RepairedRoi, anatomy: Anatomy) -> list[Structure]:
    """List the structures whose error can be estimated: thin vessels, and those that were refined by a template.

    Args:
        case: the case.
        anatomy: the structures.

    Returns:
        The structures of the repaired map, in the order of the anatomy.
    """
    present = np.flatnonzero(np.bincount(case.repaired.ravel(), minlength=256))
    judged = [s for s in anatomy.structures if s.kind == "tube" or s.name in case.refined]
    return [s for s in judged if s.repair_method == "template" and s.id in present]


def structure_features(case: RepairedRoi, evidence: Evidence, structures: list[Structure]) -> npt.NDArray[np.float64]:
    """Compute the features of the structures of a case.

    Args:
        case: the case.
        evidence: evidence of its voxels.
        structures: the structures.

    Returns:
        (structure, `len(STRUCTURE_FEATURES)`) float64.
    """
    before, after = (np.bincount(labels.ravel(), minlength=256) for labels in (case.original, case.repaired))
    surface = evidence.depth < min(case.spacing_mm)
    found = [
        _own(case, evidence, s, surface & (evidence.label == s.id), (int(before[s.id]), int(after[s.id])))
        for s in structures
    ]
    solid = [one for one, s in zip(found, structures, strict=True) if s.kind != "tube"] or found
    of_case = {name: float(np.mean([one[name] for one in solid])) for name in OF_CASE}
    has_image = float(case.image is not None)
    rows = []
    for one, structure in zip(found, structures, strict=True):
        rows.append([
            *(float(structure.kind == kind) for kind in KINDS), *(one[name] for name in OWN), *of_case.values(),
            has_image, *(has_image * one[name] for name in OF_IMAGE),
        ])  # fmt: skip
    return np.array(rows, dtype=np.float64).reshape(-1, len(STRUCTURE_FEATURES))


def _own(
    case: RepairedRoi, evidence: Evidence, structure: Structure, at: npt.NDArray[np.bool_], voxels: tuple[int, int]
) -> Mapping[str, float]:
    """Features of one structure, from the voxels `at` its surface, and its number of voxels before and after."""
    with_shape = at & evidence.has_shape
    gap = (evidence.shape - evidence.depth)[with_shape]
    is_tube, margin = structure.kind == "tube", case.margins_mm.get(structure.name)
    before, after = voxels
    return {
        "size": _log(after / max(int(np.count_nonzero(at)), 1) * case.voxel_mm),
        "change": _log(_mean(evidence.local_change[at])),
        "shape_gap": _log(_mean(np.abs(gap))),
        "misfit": 0.0 if is_tube else _log(case.misfits_mm.get(structure.name, 0.0)),
        "margin": 0.0 if is_tube else _log(1.0 if margin is None else margin),
        "label_alone": float(margin is None and not is_tube),
        "noise": 0.0 if is_tube else _log(float(np.sqrt(case.surface_noise_mm2.get(structure.name, 0.0)))),
        "shape_bias": _log(abs(_mean(gap))),
        "volume_change": abs(float(np.log((after + 1) / (before + 1)))),
        "precision": _mean(evidence.edge_precision[at]),
        "edge_bias": _log(abs(_mean(evidence.edge[at]))),
        "edge": _log(_mean(np.abs(evidence.edge[at]))),
    }


def _mean(values: npt.NDArray[np.float32 | np.bool_]) -> float:
    return float(np.mean(values)) if len(values) else 0.0


def _log(length_mm: float) -> float:
    return float(np.log(max(length_mm, 0.0) + SMALLEST_MM))
