"""Uncertainty of a repaired case: the errors to expect of each structure, and of each voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heartmend.anatomy.schema import Anatomy
from heartmend.repair.uncertainty.estimate import StructureEstimate
from heartmend.repair.uncertainty.estimator import load_estimator
from heartmend.repair.uncertainty.evidence import RepairedRoi, measure_evidence, measure_voxel_evidence
from heartmend.repair.uncertainty.structures import judged_structures, structure_features
from heartmend.types import Labels


@dataclass(frozen=True, eq=False)
class CaseUncertainty:
    """Uncertainty of a repaired case.

    Attributes:
        estimates: expected errors of each structure.
        percent: (x, y, z) uint8 on the voxels of the ROI, probability in percent that the label is wrong; 0 farther
            than 3 mm from all surfaces; None where it was not asked for.
    """

    estimates: tuple[StructureEstimate, ...]
    percent: Labels | None


def judge_case(case: RepairedRoi, anatomy: Anatomy, *, of_voxels: bool) -> CaseUncertainty:
    """Estimate the errors of a repaired case, without a truth.

    Args:
        case: the case.
        anatomy: the structures.
        of_voxels: whether to compute the probabilities of the voxels too.

    Returns:
        Its uncertainty; nothing where no structure can be judged.
    """
    percent = np.zeros(case.repaired.shape, np.uint8) if of_voxels else None
    structures = judged_structures(case, anatomy)
    if not structures:
        return CaseUncertainty((), percent)
    evidence, estimator = measure_evidence(case, anatomy), load_estimator()
    features = structure_features(case, evidence, structures)
    if percent is not None:
        probability = estimator.probability(measure_voxel_evidence(case, evidence), structures, features)
        percent.ravel()[evidence.voxels] = np.rint(100 * probability).astype(np.uint8)
    return CaseUncertainty(tuple(estimator.estimates(structures, features)), percent)
