"""Report of a run: an HTML page, and a short Markdown version for the supplement of a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from heartmend.compute.progress import NoProgress, Progress
from heartmend.compute.workers import each
from heartmend.errors import RunError
from heartmend.figures.files import save
from heartmend.io.atomic import write_text
from heartmend.io.dataset import Case, Cohort
from heartmend.metrics.case import MapName
from heartmend.metrics.evaluation import Evaluation, EvaluationSettings, evaluate_cohorts
from heartmend.report.changes import CaseChange, CaseSelection, change_of, select_cases
from heartmend.report.charts import distribution_figure, fit_figure
from heartmend.report.page import Content, as_html, as_markdown
from heartmend.report.pictures import CasePictures, draw_case
from heartmend.report.provenance import run_facts
from heartmend.report.run_summary import FitLog, read_fit_log, rule_rows, stage_summaries
from heartmend.report.shared_errors import shared_error_section
from heartmend.report.tables import (
    KEYS,
    REFERENCE,
    before_after_table,
    changed_percent,
    estimate_summary,
    mean_dice,
    panels,
    reference_table,
    segment_summary,
    worse_cases,
)
from heartmend.report.verdict import verdict_of
from heartmend.run_folder.finished import FinishedRun
from heartmend.run_folder.folder import labels_folder, open_labels


def write_report(
    finished: FinishedRun,
    folder: Path,
    *,
    reference: Path | None = None,
    selection: CaseSelection | None = None,
    workers: int = 0,
    progress: Progress | None = None,
) -> list[Path]:
    """Write report.html, report.md and the charts of report.md. A case that cannot be read is left out.

    Args:
        finished: the run.
        folder: folder to write to.
        reference: folder of true label maps; None without a reference.
        selection: cases that are shown with pictures; None for the defaults of `CaseSelection`.
        workers: number of worker processes; 0 for one per CPU core.
        progress: receiver of progress reports.

    Returns:
        Paths of the files.

    Raises:
        BadInputError: if a requested case is not in the run, or the reference cannot be used.
        RunError: if no case can be read.
    """
    progress, selection = progress or NoProgress(), selection or CaseSelection()
    for id in selection.cases:
        finished.cohort[id]  # an unknown case is an error before anything is computed
    left_out = dict(finished.left_out)
    changes = _changes(finished, left_out, workers, progress)
    if not changes:
        raise RunError(f"{finished.run.output}: none of its cases can be read: {next(iter(left_out.values()))}")
    comparison, against = _evaluate(finished, reference, workers, progress)
    verdict = verdict_of(changes, len(left_out), changed_percent(comparison), worse_cases(against))
    reasons = {one.case: one.reasons for one in verdict.to_look_at}
    selected = select_cases(changes, mean_dice(against), selection, reasons)
    jobs = [_Job(finished, finished.cohort[id]) for id, _ in selected if id not in left_out]
    pictures = _pictures(jobs, left_out, workers, progress)
    shown = [(pictures[id], reason) for id, reason in selected if id in pictures]
    content = _content(finished, changes, comparison, against, read_fit_log(finished.run), left_out, shown)
    return _write(content, folder)


@dataclass(frozen=True, eq=False)
class _Job:
    finished: FinishedRun
    case: Case


def _change(job: _Job) -> CaseChange:
    return change_of(job.finished, job.case)


def _draw(job: _Job) -> CasePictures:
    return draw_case(job.finished, job.case)


def _changes(finished: FinishedRun, left_out: dict[str, str], workers: int, progress: Progress) -> list[CaseChange]:
    """Compare the label maps of all cases; adds to `left_out`."""
    changes: list[CaseChange] = []
    jobs = [_Job(finished, case) for case in finished]
    progress.start("changes", len(jobs))
    for done, (job, change, error) in enumerate(each(_change, jobs, workers), start=1):
        if change is None:
            left_out[job.case.id] = str(error) or type(error).__name__
        else:
            changes.append(change)
        progress.advance(done, job.case.id)
    return sorted(changes, key=lambda c: c.case)


def _pictures(
    jobs: Sequence[_Job], left_out: dict[str, str], workers: int, progress: Progress
) -> dict[str, CasePictures]:
    """Draw the selected cases; adds to `left_out`."""
    pictures: dict[str, CasePictures] = {}
    progress.start("pictures", len(jobs))
    for done, (job, drawn, error) in enumerate(each(_draw, jobs, workers), start=1):
        if drawn is None:
            left_out[job.case.id] = str(error) or type(error).__name__
        else:
            pictures[job.case.id] = drawn
        progress.advance(done, job.case.id)
    return pictures


def _evaluate(
    finished: FinishedRun, reference: Path | None, workers: int, progress: Progress
) -> tuple[Evaluation, Evaluation | None]:
    """Evaluate both label maps against each other, and against the reference."""
    settings = EvaluationSettings(
        metrics=KEYS, unknown_labels=finished.cohort.unknown_labels, workers=workers, parts=False
    )
    folders: dict[MapName, Path] = {"a": finished.labels_dir, "b": finished.run.labels}
    after = open_labels(finished.run.labels, finished.anatomy, settings.unknown_labels)
    cohorts: dict[MapName, Cohort] = {"a": finished.run.label_maps(finished.labels_dir), "b": after}
    comparison = evaluate_cohorts(cohorts, folders, settings, progress)
    if reference is None:
        return comparison, None
    found = open_labels(reference, finished.anatomy, settings.unknown_labels)
    # A reference without names of its own is numbered as the label maps.
    tables = {case.id: case.tables for case in finished}
    cases = tuple(replace(case, tables=case.tables or tables.get(case.id, ())) for case in found)
    cohorts["reference"], folders["reference"] = replace(found, cases=cases), labels_folder(reference)
    return comparison, evaluate_cohorts(cohorts, folders, replace(settings, metrics=REFERENCE), progress)


def _content(
    finished: FinishedRun, changes: Sequence[CaseChange], comparison: Evaluation, against: Evaluation | None,
    log: FitLog | None, left_out: Mapping[str, str], shown: Sequence[tuple[CasePictures, str]],
) -> Content:  # fmt: skip
    tables = [before_after_table(comparison)]
    if against is not None:
        tables.insert(0, reference_table(against))
    logs = [finished.changes(case) for case in finished if case.id not in left_out]
    tables += [table for table in (estimate_summary(logs), segment_summary(logs)) if table is not None]
    verdict = verdict_of(changes, len(left_out), changed_percent(comparison), worse_cases(against))
    return Content(
        name=finished.run.output.name, verdict=verdict, facts=run_facts(finished, changes), anatomy=finished.anatomy,
        versions=finished.run.versions(), stages=stage_summaries(finished.run, log), left_out=left_out, tables=tables,
        distributions=distribution_figure(panels(comparison, against), finished.anatomy),
        fit=None if log is None else fit_figure(log),
        rules=rule_rows(logs),
        changes=changes, shown=shown, has_images=any(case.image_path for case in finished),
        shared_errors=shared_error_section(finished.run, finished.anatomy),
    )  # fmt: skip


def _write(content: Content, folder: Path) -> list[Path]:
    paths = [folder / "report.html", folder / "report.md", folder / "report_structures.png"]
    write_text(paths[0], as_html(content))
    save(content.distributions, paths[2])
    if content.fit is not None:
        paths.append(folder / "report_fit.png")
        save(content.fit, paths[3])
    write_text(paths[1], as_markdown(content))
    return paths
