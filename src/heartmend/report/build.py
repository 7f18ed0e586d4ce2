"""report: one page that shows what a run did, and the same in short for a paper's supplement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from heartmend.compute.progress import as_progress
from heartmend.compute.workers import each
from heartmend.errors import RunError
from heartmend.figures.files import save
from heartmend.io.atomic import write_text
from heartmend.io.dataset import Case
from heartmend.metrics.evaluation import Evaluation, EvaluationSettings, evaluate_folders
from heartmend.report.changes import CaseChange, change_of, select_cases
from heartmend.report.charts import fit_figure, spread_figure
from heartmend.report.page import Content, as_html, as_markdown
from heartmend.report.pictures import CasePictures, pictures_of
from heartmend.report.run_summary import FitLog, read_fit_log, rule_rows, settings_of, steps_done
from heartmend.report.tables import KEYS, REFERENCE, before_after_table, mean_dice, panels, reference_table
from heartmend.run_folder.finished import FinishedRun

ReportProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""


def write_report(
    finished: FinishedRun,
    folder: Path,
    *,
    reference: Path | None = None,
    cases: Sequence[str] = (),
    worst: int = 2,
    most_changed: int = 2,
    workers: int = 0,
    told: ReportProgress | None = None,
) -> list[Path]:
    """Write report.html, report.md and the charts of the latter into the folder; returns their paths.

    reference: a folder of true label maps; cases: ids that are shown with pictures beside the `worst` and the
    `most_changed` ones. One case that cannot be read is left out and told. Raises RunError when none can be.
    """
    say: ReportProgress = told or (lambda what, done, total: None)
    left_out = dict(finished.left_out)
    wanted = [finished.cohort[id] for id in cases]
    changes: list[CaseChange] = []
    jobs = [_Job(finished, case) for case in finished]
    for done, (job, change, error) in enumerate(each(_change, jobs, workers), start=1):
        if change is None:
            left_out[job.case.id] = str(error) or type(error).__name__
        else:
            changes.append(change)
        say("changes", done, len(jobs))
    if not changes:
        raise RunError(f"{finished.run.out}: none of its cases can be read: {next(iter(left_out.values()))}")
    changes.sort(key=lambda c: c.case)
    found, against = _numbers(finished, reference, workers, say)
    chosen = select_cases(changes, mean_dice(against), worst, most_changed)
    chosen += [(case.id, "asked for") for case in wanted if case.id not in dict(chosen)]
    pictures: dict[str, CasePictures] = {}
    jobs = [_Job(finished, finished.cohort[id]) for id, _ in chosen if id not in left_out]
    for done, (job, drawn, error) in enumerate(each(_draw, jobs, workers), start=1):
        if drawn is None:
            left_out[job.case.id] = str(error) or type(error).__name__
        else:
            pictures[job.case.id] = drawn
        say("pictures", done, len(jobs))
    log = read_fit_log(finished.run)
    shown = [(pictures[id], why) for id, why in chosen if id in pictures]
    content = _content(finished, changes, found, against, log, left_out, shown)
    return _write(content, folder)


@dataclass(frozen=True, eq=False)
class _Job:
    finished: FinishedRun
    case: Case


def _change(job: _Job) -> CaseChange:
    return change_of(job.finished, job.case)


def _draw(job: _Job) -> CasePictures:
    return pictures_of(job.finished, job.case)


def _numbers(
    finished: FinishedRun, reference: Path | None, workers: int, say: ReportProgress
) -> tuple[Evaluation, Evaluation | None]:
    """Both label maps against each other, and against the reference."""
    anatomy, unknown_labels = finished.anatomy, finished.cohort.unknown_labels

    progress = as_progress(lambda task, done, total, note: say("numbers", done, total))
    before = finished.labels_dir
    settings = EvaluationSettings(metrics=KEYS, unknown_labels=unknown_labels, workers=workers)
    found = evaluate_folders(before, finished.run.labels, anatomy, settings=settings, progress=progress)
    against = None
    if reference is not None:
        settings = replace(settings, metrics=REFERENCE)
        against = evaluate_folders(before, finished.run.labels, anatomy, reference, settings, progress)
    return found, against


def _content(
    finished: FinishedRun, changes: Sequence[CaseChange], found: Evaluation, against: Evaluation | None,
    log: FitLog | None, left_out: dict[str, str], shown: Sequence[tuple[CasePictures, str]],
) -> Content:  # fmt: skip
    config, versions = settings_of(finished.run)
    tables = [before_after_table(found)]
    if against is not None:
        tables.insert(0, reference_table(against))
    return Content(
        name=finished.run.out.name, anatomy=finished.anatomy, versions=versions,
        steps=steps_done(finished.run, config, log), cases=len(finished.cohort), left_out=left_out, tables=tables,
        spreads=spread_figure(panels(found, against), finished.anatomy),
        fit=None if log is None else fit_figure(log),
        rules=rule_rows(finished.changes(case) for case in finished if case.id not in left_out),
        changes=changes, shown=shown, has_images=any(case.image_path for case in finished),
    )  # fmt: skip


def _write(content: Content, folder: Path) -> list[Path]:
    paths = [folder / "report.html", folder / "report.md", folder / "report_structures.png"]
    write_text(paths[0], as_html(content))
    save(content.spreads, paths[2])
    if content.fit is not None:
        paths.append(folder / "report_fit.png")
        save(content.fit, paths[3])
    write_text(paths[1], as_markdown(content))
    return paths
