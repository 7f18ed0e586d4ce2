"""fuse, for one case of a run: what it needs is read from the records of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from heartmend.anatomy.calibre import Calibre
from heartmend.io.dataset import Case, Cohort
from heartmend.io.label_maps import LabelVolume
from heartmend.models.code_book import CodeBook
from heartmend.models.template import TemplateShape
from heartmend.repair import unusual_anatomy
from heartmend.repair.changes import Change
from heartmend.repair.placed_shape import MAX_REFERENCE_MM, BoxMm, CaseTemplate, is_better_than_most, is_worse_than_most
from heartmend.repair.shared_errors.case import CaseCorrection
from heartmend.repair.shared_errors.correction import Correction
from heartmend.repair.shared_errors.report import SharedErrors
from heartmend.run_folder.folder import RunFolder
from heartmend.run_folder.paths import REFERENCE
from heartmend.stages.fuse.case import FusedCase, fuse_case
from heartmend.stages.fuse.corrected import RefinedCase
from heartmend.stages.fuse.settings import FuseSettings
from heartmend.training.image_placement import usual_affine


def corrected_calibres(run: RunFolder, calibres: Mapping[str, Calibre]) -> dict[str, Calibre]:
    """Correct the radii of thin vessels by the error that all cases share.

    Args:
        run: the run, with a correction or without.
        calibres: radius of the trees of each thin vessel in the cohort.

    Returns:
        The corrected radii.
    """
    convention = run.convention()
    shifts = {} if convention is None else convention.correction.tubes_mm
    return {name: replace(one, mean_mm=one.mean_mm + shifts.get(name, 0.0)) for name, one in calibres.items()}


@dataclass(frozen=True, eq=False)
class _Reference:
    """The template that is placed in CTs, the codes of its cases, and the names of the structures that it fits."""

    shape: TemplateShape
    codes: CodeBook
    fitted: frozenset[str]


@dataclass(frozen=True, eq=False)
class _Models:
    """What cases have in common: the correction of shared errors, and the template that is placed in CTs."""

    errors: SharedErrors
    correction: Correction
    shape: TemplateShape
    codes: CodeBook
    reference: _Reference | None

    def template_of(self, case_id: str, remarks: Sequence[Change]) -> CaseTemplate | None:
        """The template for a case; None where there is none, or the label map of the case is better than most."""
        reference, shares = self.reference, self.errors.edge_shares
        if reference is None or is_better_than_most(case_id, shares):
            return None
        code = (reference.codes if case_id in reference.codes.ids else self.codes).of([case_id])
        if is_worse_than_most(case_id, shares):
            return CaseTemplate(reference.shape, code, reference.fitted, usual_affine(reference.codes))
        # In a label map that is worse than most, what is unusual is wrong.
        unusual: dict[str, list[BoxMm]] = {}
        for one in remarks:
            if one.rule == unusual_anatomy.RULE and one.structure:
                unusual.setdefault(one.structure, []).append(one.box_mm)
        return CaseTemplate(reference.shape, code, reference.fitted, None, unusual)


_MODELS: dict[Path, _Models | None] = {}
"""Those of a run, read once in each process."""


def forget_models() -> None:
    """Forget what was read from runs in this process."""
    _MODELS.clear()


def _models_of(run: RunFolder) -> _Models | None:
    """The models of a run; None where nothing is corrected."""
    if run.output not in _MODELS:
        errors, convention = run.shared_errors(), run.convention()
        found = None
        if errors is not None and convention is not None:
            shape, codes = run.fitted()
            # Shared errors are corrected on a template alone.
            assert isinstance(shape, TemplateShape)
            found = _Models(errors, convention.correction, shape, codes, _reference_of(run))
        _MODELS[run.output] = found
    return _MODELS[run.output]


def _reference_of(run: RunFolder) -> _Reference | None:
    """The template that is placed in CTs; None where none was learned."""
    if not (run.is_stamped(REFERENCE) and run.has_fitted(REFERENCE)):
        return None
    shape, codes = run.fitted(REFERENCE)
    assert isinstance(shape, TemplateShape)
    fitted = frozenset(name for name, mm in run.reference_misfits().items() if mm <= MAX_REFERENCE_MM)
    return _Reference(shape, codes, fitted)


def read_refined(
    run: RunFolder, cohort: Cohort, case: Case, volume: LabelVolume, *, reads_image: bool = True
) -> RefinedCase:
    """Read a case from the records of a run.

    Args:
        run: the run, which has refined the case.
        cohort: how the images of the data set are read.
        case: the case.
        volume: its label map.
        reads_image: whether its CT is read.

    Returns:
        The case.
    """
    prepared = run.prepared(case.id)
    image = cohort.read_image(case, prepared.roi.grid) if reads_image else None
    maps, models, remarks = run.distances(case.id), _models_of(run), run.refine_changes(case.id)
    correction, by_image, template = None, False, None
    if models is not None:
        correction = CaseCorrection(models.correction, models.shape.frame_map(models.codes.of([case.id])))
        # Trusted label maps and conventions correct to what is wanted, which may not be the edge of the CT.
        by_image = models.errors.source == "image"
        template = models.template_of(case.id, remarks) if by_image else None
    return RefinedCase(
        volume.labels, prepared, maps, None if image is None else image.values, remarks,
        correction, run.label_margins_mm(case.id) if maps else {}, run.misfits_mm(case.id), by_image, template,
    )  # fmt: skip


def fuse_stored_case(
    run: RunFolder, cohort: Cohort, case: Case, volume: LabelVolume, settings: FuseSettings,
    structures: tuple[str, ...] = (), calibres: Mapping[str, Calibre] | None = None,
) -> FusedCase:  # fmt: skip
    """Fuse a case from the records of a run, without writing anything.

    Args:
        run: the run, which has refined the case.
        cohort: how the images of the data set are read.
        case: the case.
        volume: its label map.
        settings: settings of the stage.
        structures: names of the structures that may change; empty: all of them.
        calibres: radius of the trees of each thin vessel in the cohort.

    Returns:
        The repaired case.
    """
    refined = read_refined(run, cohort, case, volume, reads_image=settings.reads_images)
    return fuse_case(refined, cohort.anatomy, settings, structures, calibres)
