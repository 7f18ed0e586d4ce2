"""Samples of repaired cases with a known truth: evidence, true errors and voxels, for `fit_trust.py`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console

from heartmend.anatomy.load import load_anatomy
from heartmend.anatomy.schema import Structure
from heartmend.geometry.boxes import bounding_box
from heartmend.geometry.surface_noise import surface_area_mm2
from heartmend.io.dataset import discover_cohort
from heartmend.io.label_maps import read_labels
from heartmend.metrics.overlap import dice
from heartmend.metrics.segment import segments
from heartmend.metrics.surface import surface_distances
from heartmend.repair.uncertainty.evidence import VoxelEvidence, measure_evidence, measure_voxel_evidence
from heartmend.repair.uncertainty.structures import STRUCTURE_FEATURES, judged_structures, structure_features
from heartmend.run_folder.folder import RunFolder
from heartmend.stages.fuse.settings import FuseSettings
from heartmend.stages.fuse.stored_case import corrected_calibres, fuse_stored_case
from heartmend.types import FloatArray, Labels

PER_GROUP = 400
"""Voxels that are kept of each structure, inside or outside, changed or not."""
HEART = load_anatomy("heart")


@dataclass(frozen=True)
class TrueErrors:
    """True errors of a structure before and after the repair, and what else its order of review may use.

    Attributes:
        dice: Dice of the repaired structure.
        surface_mm: its mean surface distance.
        nsd: its surface Dice at 1 mm.
        wrong_mm3: volume that it has too much or too little.
        dice_before: Dice of the structure of the input.
        nsd_before: its surface Dice at 1 mm.
        surface_before_mm: its mean surface distance.
        changed: 1 - Dice between input and result.
        volume_mm3: volume after the repair.
        volume_before_mm3: volume before.
        area_mm2: area of the repaired surface.
    """

    dice: float
    surface_mm: float
    nsd: float
    wrong_mm3: float
    dice_before: float
    nsd_before: float
    surface_before_mm: float
    changed: float
    volume_mm3: float
    volume_before_mm3: float
    area_mm2: float


ERRORS = tuple(one.name for one in fields(TrueErrors))


@dataclass(frozen=True, eq=False)
class Sample:
    """Samples of a repaired case with its true errors.

    Attributes:
        family: name of the label set.
        case: id of the case; cases of the same id are the same heart in all label sets of a cohort.
        structures: the judged structures that the truth has.
        features: (structure, feature) of `STRUCTURE_FEATURES`.
        errors: (structure, error) of `TrueErrors`.
        evidence: of the sampled voxels.
        wrong: (n,) bool.
        weight: (n,) voxels that each stands for.
    """

    family: str
    case: str
    structures: list[Structure]
    features: FloatArray
    errors: FloatArray
    evidence: VoxelEvidence
    wrong: npt.NDArray[np.bool_]
    weight: FloatArray

    @property
    def fault(self) -> str:
        """Kind of the faults of its label set."""
        return self.family.split("-")[0]

    @property
    def heart(self) -> str:
        """The heart, which is the same in all label sets of a cohort."""
        return f"{self.family.split('-')[1]} {self.case}"

    def error(self, name: str) -> FloatArray:
        """One of the true errors of all structures."""
        found: FloatArray = self.errors[:, ERRORS.index(name)]
        return found

    def write(self, folder: Path) -> None:
        """Write the sample."""
        target = folder / self.family
        target.mkdir(parents=True, exist_ok=True)
        evidence = {f"evidence_{one.name}": getattr(self.evidence, one.name) for one in fields(VoxelEvidence)}
        np.savez_compressed(
            target / f"{self.case}.npz", ids=[s.id for s in self.structures], names=STRUCTURE_FEATURES,
            features=self.features, errors=self.errors, wrong=self.wrong, weight=self.weight, **evidence,
        )  # fmt: skip

    @classmethod
    def read(cls, path: Path) -> Sample:
        """Read a sample; of its features those that the estimator has."""
        with np.load(path) as found:
            evidence = VoxelEvidence(**{one.name: found[f"evidence_{one.name}"] for one in fields(VoxelEvidence)})
            structures = [HEART.by_id(int(id)) for id in found["ids"]]
            columns = [list(found["names"]).index(name) for name in STRUCTURE_FEATURES]
            return cls(
                path.parent.name, path.stem, structures, found["features"][:, columns], found["errors"], evidence,
                found["wrong"], found["weight"],
            )  # fmt: skip


def read_samples(folder: Path) -> list[Sample]:
    """Read all samples of a folder."""
    return [Sample.read(path) for path in sorted(folder.glob("*/*.npz"))]


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Give label sets the names of their kinds of faults, where these differ."""
    names = list(names)
    short = {name: name.split("-")[0] + (", with CT" if name.endswith("-ct") else "") for name in names}
    return {name: one if list(short.values()).count(one) == 1 else name for name, one in short.items()}


def collect(samples: Path, name: str, output: Path, truth: Path, most: int, console: Console) -> None:
    """Sample the first cases of a run that has reached `refine` (with CTs: `correct`), fused by this version."""
    run = RunFolder.at(output)
    cohort = run.cohort()
    true = discover_cohort(truth, anatomy=cohort.anatomy)
    calibres = corrected_calibres(run, run.statistics(run.prepared_ids()).calibres)
    for case in list(cohort)[:most]:
        if (samples / name / f"{case.id}.npz").exists():
            continue
        volume = cohort.read_labels(case)
        fused = fuse_stored_case(run, cohort, case, volume, FuseSettings(), (), calibres)
        judged, true_labels = fused.judged, read_labels(true[case.id].labels_path, cohort.anatomy).labels
        assert judged is not None
        evidence = measure_voxel_evidence(judged, measure_evidence(judged, cohort.anatomy))
        found = judged_structures(judged, cohort.anatomy)
        features = structure_features(judged, evidence, found)
        kept = [at for at, s in enumerate(found) if (true_labels == s.id).any()]
        maps = (volume.labels, fused.labels, true_labels)
        errors = np.array([_errors(maps, found[at].id, judged.spacing_mm) for at in kept]).reshape(-1, len(ERRORS))
        box = run.roi(case.id).source_box()
        wrong = np.ascontiguousarray(true_labels[box]).ravel()[evidence.voxels] != evidence.label
        at, weight = _draw(evidence)
        Sample(
            name, case.id, [found[k] for k in kept], features[kept], errors, picked(evidence, at), wrong[at], weight
        ).write(samples)
        console.print(f"{name} {case.id}: {np.mean(wrong):.4f} of {len(wrong)} voxels wrong")


def picked(evidence: VoxelEvidence, at: npt.NDArray[np.intp]) -> VoxelEvidence:
    """The evidence of some of its voxels."""
    return VoxelEvidence(**{one.name: getattr(evidence, one.name)[at] for one in fields(VoxelEvidence)})


def _errors(maps: tuple[Labels, Labels, Labels], id: int, spacing_mm: Sequence[float]) -> list[float]:
    masks = [labels == id for labels in maps]
    box = bounding_box(masks[0] | masks[1] | masks[2], [1, 1, 1])
    assert box is not None
    before, after, true = (np.ascontiguousarray(mask[box]) for mask in masks)
    parts = segments((before, after, true), spacing_mm)
    distances_before, distances = (surface_distances(one, parts[2]) for one in parts[:2])
    voxel_mm3 = float(np.prod(spacing_mm))
    found = TrueErrors(
        dice=dice(after, true), surface_mm=distances.mean_mm(), nsd=distances.within(1.0),
        wrong_mm3=voxel_mm3 * int(np.count_nonzero(after != true)), dice_before=dice(before, true),
        nsd_before=distances_before.within(1.0), surface_before_mm=distances_before.mean_mm(),
        changed=1 - dice(before, after), volume_mm3=parts[1].volume_mm3, volume_before_mm3=parts[0].volume_mm3,
        area_mm2=surface_area_mm2(after, spacing_mm),
    )  # fmt: skip
    return [getattr(found, name) for name in ERRORS]


def _draw(evidence: VoxelEvidence) -> tuple[npt.NDArray[np.intp], FloatArray]:
    random = np.random.default_rng(0)
    own = np.where(evidence.label > 0, evidence.label, evidence.other).astype(int)
    group = own * 4 + (evidence.label > 0) * 2 + evidence.changed
    at, weight = [], []
    for one in np.unique(group):
        members = np.flatnonzero(group == one)
        found = random.choice(members, min(PER_GROUP, len(members)), replace=False)
        at.append(found)
        weight.append(np.full(len(found), len(members) / len(found)))
    return np.concatenate(at), np.concatenate(weight)
