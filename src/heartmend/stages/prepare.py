"""prepare: read each case, find its heart, and repair the errors that are visible in a single label map.

Far components are removed first, then the region of interest is set about the structures themselves. Slice staircases,
missing and shifted slices, speckle and swapped patches are removed before a shape is fitted, because a shape follows
its label.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from heartmend.anatomy.schema import Anatomy
from heartmend.errors import BadInputError
from heartmend.geometry.centrelines.measurement import measure_tree, tree_radius_mm
from heartmend.geometry.components import without_small_components
from heartmend.geometry.grid import Grid
from heartmend.geometry.masks import count_ids
from heartmend.geometry.roi import Roi
from heartmend.geometry.surface_noise import surface_noise_mm2
from heartmend.io.copies import content_of, describe_copies
from heartmend.io.dataset import Case, Cohort
from heartmend.io.digests import compute_fingerprint
from heartmend.repair.changes import Change
from heartmend.repair.far_components import without_far_components
from heartmend.repair.missing_tree import name_missing_tree
from heartmend.repair.rules.apply import apply_rules
from heartmend.repair.scan_border import name_scan_border
from heartmend.repair.slice_staircase.detection import SliceStaircase, find_slice_staircases
from heartmend.repair.slice_staircase.repair import without_slice_staircases
from heartmend.repair.unusual_size import measure_compared_sizes
from heartmend.run_folder.folder import RunFolder
from heartmend.run_folder.paths import PREPARE
from heartmend.run_folder.records import CaseFacts, PreparedCase
from heartmend.stages.contract import Context, Outcome
from heartmend.types import Labels

RULES_BEFORE_THE_FIT = ("slices", "shifts", "speckle", "swaps", "cut_vessels", "holes")


class PrepareSettings(BaseModel):
    """Settings of `prepare`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resolution: Annotated[int, Field(strict=True, ge=32, le=512)] = 128
    """Cells along each side of the region of interest."""
    margin_voxels: Annotated[int, Field(strict=True, ge=0, le=1000)] = 10
    """Margin of the region of interest about the structures."""
    keep_far_components: Annotated[bool, Field(strict=True)] = False
    """Keep components that are more than 10 mm from the heart."""
    repair_visible_errors: Annotated[bool, Field(strict=True)] = True
    """Remove slice staircases, missing slices, speckle and swaps before the fit; off in the preset `reference`."""


def prepare(context: Context[PrepareSettings], cases: Sequence[Case]) -> Iterator[Outcome]:
    """Prepare every case that is not prepared yet.

    Args:
        context: run, settings and resources.
        cases: the cases.

    Yields:
        An outcome for each case.
    """
    run, jobs, prepared = context.run, list[_Job](), list[str]()
    for case in cases:
        try:
            fingerprint = case_fingerprint(context.cohort, case, context.config)
        except BadInputError as error:
            yield Outcome(case, error)
            continue
        if run.is_done(PREPARE, case.id, fingerprint):
            prepared.append(case.id)
            yield Outcome(case)
        else:
            jobs.append(_Job(run.output, context.cohort.without_cases(), case, context.config, fingerprint))
    for job, _, failure in context.compute.each(_work, jobs):
        if failure is None:
            prepared.append(job.case.id)
        yield Outcome(job.case, failure)
    run.write_warnings(_warnings([run.facts(id) for id in sorted(prepared)]))


def _warnings(facts: Sequence[CaseFacts]) -> dict[str, list[str]]:
    """What is unusual about the files of each case, by its id; copies among them included."""
    copies = describe_copies({one.case_id: one.content for one in facts if one.content is not None})
    found = {one.case_id: list(one.warnings) for one in facts}
    for id, text in copies.items():
        found[id].append(text)
    return {id: texts for id, texts in found.items() if texts}


def prepare_case(cohort: Cohort, case: Case, settings: PrepareSettings) -> PreparedCase:
    """Read and prepare one case.

    Args:
        cohort: how the files of the data set are read.
        case: the case.
        settings: settings of the stage.

    Returns:
        The case in the unit frame, with what was measured and changed.

    Raises:
        BadInputError: if a file of the case cannot be used.
    """
    volume = cohort.read_labels(case)
    # A case that cannot be written at the end is skipped at the start.
    cohort.check_writable(volume)
    # Checked first: an image elsewhere in space belongs to another patient.
    warnings = (*volume.warnings, *cohort.check_image(case, volume.grid))
    prepared = prepare_labels(case.id, volume.labels, volume.grid, cohort.anatomy, settings)
    names = volume.meaning.names(cohort.anatomy) if volume.has_values and volume.meaning is not None else {}
    content = content_of(volume.labels, volume.grid)
    return replace(prepared, facts=replace(prepared.facts, warnings=warnings, value_names=names, content=content))


def prepare_labels(
    case_id: str, labels: Labels, grid: Grid, anatomy: Anatomy, settings: PrepareSettings
) -> PreparedCase:
    """Prepare a label map in memory.

    Args:
        case_id: id of the case.
        labels: (x, y, z) uint8, in the ids of the anatomy.
        grid: grid of the label map.
        anatomy: the anatomy.
        settings: settings of the stage.

    Returns:
        The case in the unit frame, with what was measured and changed.

    Raises:
        BadInputError: if the label map has no structure of the anatomy.
    """
    present = np.flatnonzero(count_ids(labels))
    structures = tuple(s.name for s in anatomy.structures if s.id in present)
    staircases, changes = tuple[SliceStaircase, ...](), list[Change]()
    if settings.repair_visible_errors and not settings.keep_far_components:
        labels, changes = without_far_components(labels, grid, anatomy)
    roi = Roi.around(labels, grid, anatomy, settings.margin_voxels)
    labels = roi.zero_outside(labels)
    if settings.repair_visible_errors:
        bulky = [s.id for s in anatomy.structures if s.kind != "tube"]
        staircases = find_slice_staircases(labels, bulky)
        if staircases:
            # Interpolation between two slices would spread their isolated wrong voxels.
            labels, more = apply_rules(labels, grid, anatomy, only=("speckle",))
            changes += more
        labels = without_slice_staircases(labels, staircases, grid.spacing_mm, bulky)
        labels, more = apply_rules(labels, grid, anatomy, only=RULES_BEFORE_THE_FIT)
        changes += more
    cleaned = np.ascontiguousarray(labels[roi.source_box()])
    trees = {s.name: measure_tree(cleaned == s.id, grid.spacing_mm) for s in anatomy.structures if s.kind == "tube"}
    radii_mm = {name: round(tree_radius_mm(tree), 4) for name, tree in trees.items()}
    changes += name_scan_border(cleaned, roi, anatomy)
    for name, tree in trees.items():
        changes += name_missing_tree(tree, cleaned, anatomy.by_name(name), anatomy, roi.source_grid())
    noise_mm2 = {
        s.name: round(surface_noise_mm2(without_small_components(cleaned == s.id), grid.spacing_mm), 5)
        for s in anatomy.structures
        if s.kind != "tube" and np.any(cleaned == s.id)
    }
    facts = CaseFacts(
        case_id, roi, staircases, tuple(changes), radii_mm, noise_mm2, structures=structures,
        sizes=measure_compared_sizes(cleaned, anatomy, grid, roi.source_box()),
    )  # fmt: skip
    return PreparedCase(facts, roi.resample_labels(labels, settings.resolution), cleaned)


def case_fingerprint(cohort: Cohort, case: Case, settings: PrepareSettings) -> str:
    """Compute the fingerprint of all that a prepared case depends on.

    Args:
        cohort: all cases of the data set.
        case: the case.
        settings: settings of the stage.

    Returns:
        The fingerprint.

    Raises:
        BadInputError: if a file of the case cannot be read.
    """
    ids = [table.to_dict() for table in case.tables] or None
    parts = [case.labels_path, settings, cohort.anatomy, cohort.unknown_labels, ids]
    return compute_fingerprint(*parts, *([case.image_path] if case.image_path else []))


@dataclass(frozen=True)
class _Job:
    output: Path
    cohort: Cohort
    case: Case
    settings: PrepareSettings
    fingerprint: str


def _work(job: _Job) -> None:
    run = RunFolder.at(job.output)
    # A worker of a cluster that was lost since may have done it.
    if run.is_done(PREPARE, job.case.id, job.fingerprint):
        return
    prepared = prepare_case(job.cohort, job.case, job.settings)
    run.forget(PREPARE, job.case.id)
    run.finish(PREPARE, job.case.id, job.fingerprint, run.write_prepared(prepared))
