"""fuse: stage 2, the refined shapes of a case into one label map that obeys anatomy, with the evidence of what changed.

For each case: each structure's shape against what came in (do no harm), thin vessels mended as trees, all fused by
evidence and priority, the rules of anatomy, and the result on the input's own grid. Voxels outside the ROI stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from heartmend.anatomy.calibre import Calibre
from heartmend.anatomy.schema import Anatomy
from heartmend.compute.workers import Outcome, each
from heartmend.geometry.components import without_small_components
from heartmend.geometry.distance import STEP_MM, signed_distance_mm
from heartmend.io.atomic import write_text
from heartmend.io.dataset import Case, Cohort
from heartmend.io.digests import fingerprint
from heartmend.repair.acceptance import Verdict, check
from heartmend.repair.change_log import ChangeLog, change_log_to_json
from heartmend.repair.fusion import Mode, fuse
from heartmend.repair.image_edges.case import snap_case
from heartmend.repair.rules.apply import apply_rules
from heartmend.repair.rules.components import Box
from heartmend.repair.vessels.case import repair_vessel
from heartmend.run_folder.folder import Run
from heartmend.run_folder.records import PREPARED, REFINED, PreparedCase, calibres_of, load_fields
from heartmend.types import BACKGROUND, Labels, Mask

VERB = "fuse"


class FuseSettings(BaseModel):
    """How ten shapes become one label map."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode = "evidence"
    margin_mm: Annotated[float, Field(ge=0)] = 1.0
    """How much surer a structure must be to win a voxel against the priority."""
    repair_vessels: bool = True
    """Mend thin vessels as trees; off: they stay as they came."""
    image_edges: bool = True
    """Let boundaries go to the edges of a case's image, where there is one; off: labels alone decide."""

    @property
    def looks(self) -> bool:
        """Whether images are read at all."""
        return self.repair_vessels or self.image_edges


@dataclass(frozen=True, eq=False)
class Mended:
    """What came of a case: its label map on the input's grid, and what was done to it."""

    labels: Labels
    audit: ChangeLog


def fuse_case(
    before: Labels,
    case: PreparedCase,
    fields: dict[str, np.ndarray],
    anatomy: Anatomy,
    settings: FuseSettings,
    structures: tuple[str, ...] = (),
    calibres: dict[str, Calibre] | None = None,
    image: npt.NDArray[np.generic] | None = None,
) -> Mended:
    """The mended label map of a case, on its own grid.

    before: (x, y, z) as it came; fields: signed distances of the refined structures on the source voxels in the ROI,
    in steps of `STEP_MM`. A structure that is not refined is fused as it came, freed of plain faults. With
    `structures` only these change. calibres: how wide the trees of each thin vessel are in this cohort; image: the CT
    on the same grid, along whose bright lumen the breaks of vessels are bridged, and to whose edges boundaries go.
    """
    box, grid = case.roi.source_box(), case.roi.grid
    spacing = grid.spacing_mm
    came, source = before[box], case.source
    layers, verdicts = dict(fields), list[Verdict]()
    for structure in anatomy.structures:
        label = source == structure.id
        if structure.name in fields:
            verdict = check(label, fields[structure.name] > 0, structure, spacing)
            verdicts.append(verdict)
            if verdict.accepted:
                continue
        layers[structure.name] = _steps(without_small_components(label) if structure.name in fields else label, spacing)
    changes = list(case.changes)
    for structure in anatomy.structures:
        if structure.kind == "tube" and settings.repair_vessels and (not structures or structure.name in structures):
            label = came == structure.id
            calibre = (calibres or {}).get(structure.name, Calibre())
            inside = {name: layer > 0 for name, layer in layers.items() if anatomy.by_name(name).kind != "tube"}
            tube = repair_vessel(structure, label, inside, grid, box, calibre, None if image is None else image[box])
            verdict = check(tube.drawn_in, tube.mask, structure, spacing)
            verdicts.append(verdict)
            layers[structure.name] = _steps(tube.mask if verdict.accepted else label, spacing)
            changes += tube.changes if verdict.accepted else []
    # What a thin vessel was too wide is no crack between structures.
    tubes = [s.id for s in anatomy.structures if s.kind == "tube"]
    was = np.where(np.isin(source, tubes), BACKGROUND, source)
    fused = fuse(layers, anatomy, spacing, was, settings.mode, settings.margin_mm, STEP_MM)
    if image is not None and settings.image_edges:
        seen = snap_case(fused, layers, source, image[box], anatomy, grid, box, verdicts, structures or tuple(layers))
        fused, layers, verdicts = seen.labels, dict(seen.fields), list(seen.verdicts)
        changes += seen.changes
    # The rules are not shown what lies outside the ROI: it stays as it came, and no audit may say otherwise.
    whole = np.zeros_like(before)
    if structures:
        wanted = [anatomy.by_name(name).id for name in structures]
        changed = np.isin(fused, wanted) | np.isin(came, wanted)
        fused = np.where(changed, fused, came)
    whole[box] = fused
    ruled, found = apply_rules(whole, grid, anatomy, layers, STEP_MM, evidence_box=box)
    if structures:
        ruled = np.where(np.isin(ruled, wanted) | np.isin(whole, wanted), ruled, whole)
    ruled = _outside_kept(ruled, before, box)
    return Mended(ruled, ChangeLog(case.case_id, (*changes, *found), tuple(verdicts)))


def _steps(mask: Mask, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    return np.rint(signed_distance_mm(mask, spacing_mm) / STEP_MM).astype(np.int8)


def _outside_kept(labels: Labels, before: Labels, box: Box) -> Labels:
    """What lies outside the ROI is as it came."""
    kept = before.copy(order="K")
    kept[box] = labels[box]
    return kept


@dataclass(frozen=True, eq=False)
class _Job:
    run_out: Path
    cohort: Cohort
    case: Case
    settings: FuseSettings
    structures: tuple[str, ...]
    calibres: dict[str, Calibre]
    mark: str


def fuse_cohort(
    run: Run, cohort: Cohort, cases: Sequence[Case], settings: FuseSettings, structures: tuple[str, ...] = (),
    workers: int = 0, calibres: dict[str, Calibre] | None = None,
) -> Iterator[Outcome[Case, None]]:  # fmt: skip
    """Fuse every refined case that is not fused yet, into OUT/labels; yields each case with its error, if any.

    calibres: how wide the trees of thin vessels are, where that is known from other cases than these.
    """
    if calibres is None:
        calibres = calibres_of(run, (case.id for case in cases)) if settings.repair_vessels else {}
    jobs = []
    for case in cases:
        fields = run.case_path(REFINED, case.id, ".npz")
        stamp = fingerprint(
            *([fields] if fields.is_file() else []), case.labels_path, settings, structures, cohort.anatomy,
            run.case_path(PREPARED, case.id, ".npz"), {name: asdict(calibre) for name, calibre in calibres.items()},
            *([case.image_path] if case.image_path and settings.looks else []),
        )  # fmt: skip
        if run.is_done(VERB, case.id, stamp):
            yield case, None, None
        else:
            jobs.append(_Job(run.out, cohort.without_cases(), case, settings, structures, calibres, stamp))
    for job, _, error in each(_work, jobs, workers):
        yield job.case, None, error


def _work(job: _Job) -> None:
    run, case = Run.at(job.run_out), job.case
    if run.is_done(VERB, job.case.id, job.mark):  # by a worker of a cluster that was lost since
        return
    volume = job.cohort.read_labels(case)
    refined = run.case_path(REFINED, case.id, ".npz")
    fields = load_fields(refined) if refined.is_file() else {}
    prepared = PreparedCase.load(run, case.id)
    image = job.cohort.read_image(case, prepared.roi.grid) if job.settings.looks else None
    mended = fuse_case(
        volume.labels, prepared, fields, job.cohort.anatomy, job.settings, job.structures, job.calibres,
        None if image is None else image.values,
    )  # fmt: skip
    run.forget(VERB, case.id)
    audit, result = run.case_path(VERB, case.id, ".json"), run.result_path(case.labels_path)
    write_text(audit, change_log_to_json(mended.audit))
    job.cohort.write_labels(case, mended.labels, result, volume.unknown)
    run.mark_done(VERB, case.id, job.mark, [audit, result])
