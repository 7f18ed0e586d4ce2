"""A whole data set looked at before anything runs: what a run would skip, and what it would take but is odd."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from heartmend import __version__
from heartmend.anatomy.schema import Anatomy
from heartmend.compute.workers import each
from heartmend.errors import HeartmendError
from heartmend.io.dataset import Case, Cohort, discover_cohort
from heartmend.io.file_names import escape_unprintable
from heartmend.io.label_maps import UnknownLabels
from heartmend.quality.case_check import CaseReport, Finding, check_case
from heartmend.quality.disk_space import free_bytes, needed_bytes
from heartmend.run_folder.folder import RunFolder

# Hearts of one data set differ by less; a spacing that is ten times too large does not.
_SIZE_FACTOR = 2.0
_FEWEST_TO_COMPARE = 3
_STYLES = {"sound": "green", "warning": "yellow", "error": "bold red"}


@dataclass(frozen=True)
class DataSetReport:
    """Every case in the order of the ids, and what is to be said of the data set as a whole."""

    cases: tuple[CaseReport, ...]
    findings: tuple[Finding, ...] = ()
    free_bytes: int | None = None
    """Free where OUT is to be; None when no OUT was given."""

    @property
    def needed_bytes(self) -> int:
        """About how much of the disk a run will take."""
        return needed_bytes(self.cases)

    def count(self, status: str) -> int:
        """How many cases have this status."""
        return sum(case.status == status for case in self.cases)

    @property
    def is_usable(self) -> bool:
        """Whether a run would mend anything."""
        has_error = any(finding.severity == "error" for finding in self.findings)
        return not has_error and self.count("error") < len(self.cases)

    def to_dict(self) -> dict[str, Any]:
        """A table for JSON."""
        counts = {status: self.count(status) for status in _STYLES}
        findings = [{"severity": f.severity, "text": f.text} for f in self.findings]
        cases = [case.to_dict() for case in self.cases]
        disk = {"needed_bytes": self.needed_bytes, "free_bytes": self.free_bytes}
        return {"heartmend": __version__, "counts": counts, "disk": disk, "findings": findings, "cases": cases}


@dataclass(frozen=True, eq=False)
class _Job:
    cohort: Cohort
    case: Case


def check_data_set(
    labels: Path, images: Path | None, anatomy: Anatomy, unknown_labels: UnknownLabels = "error", out: Path | None = None,
    workers: int = 0, watch: Callable[[str, int], None] = lambda case_id, total: None,
) -> DataSetReport:  # fmt: skip
    """Read every file of a data set, as a run would, and compare the cases with each other. Nothing is written.

    out: also whether a run could write there. watch: told each case that is done, and how many there are. Raises
    BadInputError when no case is found at all.
    """
    cohort = discover_cohort(labels, images, anatomy=anatomy, unknown_labels=unknown_labels)
    reports = [CaseReport(id, "", findings=(Finding("error", why),)) for id, why in cohort.skipped.items()]
    for job, report, error in each(_inspect, [_Job(cohort, case) for case in cohort], workers):
        if report is None:
            report = CaseReport(job.case.id, job.case.labels_path.name, findings=(Finding("error", f"{error}"),))
        reports.append(report)
        watch(job.case.id, len(cohort))
    reports.sort(key=lambda report: report.id)
    findings = _of_images(cohort, images is not None)
    if out is None:
        return DataSetReport(tuple(_compared(reports, anatomy)), tuple(findings))
    free = free_bytes(out)
    findings += [*_of_out(out, labels, images), *_of_disk(out, needed_bytes(reports), free)]
    return DataSetReport(tuple(_compared(reports, anatomy)), tuple(findings), free)


def check_table(report: DataSetReport, every: bool = False) -> Table:
    """For a person to read: the cases of which there is something to say, or every one."""
    title = ", ".join(f"{report.count(status)} {status}" for status in _STYLES)
    free = "" if report.free_bytes is None else f"; {_size(report.free_bytes)} are free there"
    disk = f"A run will take about {_size(report.needed_bytes)} of the disk{free}." if report.needed_bytes else ""
    table = Table(
        title=f"{len(report.cases)} cases: {title}", title_justify="left", caption=disk, caption_justify="left",
        pad_edge=False,
    )  # fmt: skip
    for heading in ("case", "", "shape", "mm", "structures"):
        table.add_column(heading)
    table.add_column("what", overflow="fold")
    for finding in report.findings:
        table.add_row(Text("data set", "dim"), finding.severity, "", "", "", Text(escape_unprintable(finding.text)))
    for case in report.cases:
        if every or case.findings:
            present = "" if case.voxels is None else f"{sum(n > 0 for n in case.voxels.values())}/{len(case.voxels)}"
            status = Text(case.status, _STYLES[case.status])
            table.add_row(Text(escape_unprintable(case.id)), status, _by(case.shape), _by(case.spacing_mm), present, _told(case))
    return table


def _inspect(job: _Job) -> CaseReport:
    return check_case(job.cohort, job.case)


def _compared(reports: list[CaseReport], anatomy: Anatomy) -> Iterable[CaseReport]:
    """The reports with what shows only beside the others: a size, a missing structure, a copy."""
    sizes = [max(r.size_mm) for r in reports if r.size_mm is not None]
    usual_mm = statistics.median(sizes) if len(sizes) >= _FEWEST_TO_COMPARE else None
    read = [r.voxels for r in reports if r.voxels is not None]
    common = {s.name for s in anatomy.structures if 2 * sum(v[s.name] > 0 for v in read) > len(read)}
    copies = defaultdict(list)
    for report in reports:
        if report.content:
            copies[report.content].append(report.id)
    for report in reports:
        told = list[str]()
        if usual_mm and report.size_mm and not 1 / _SIZE_FACTOR < max(report.size_mm) / usual_mm < _SIZE_FACTOR:
            told.append(
                f"the heart is {max(report.size_mm):.0f} mm long, usual here are {usual_mm:.0f} mm: look at its spacing"
            )
        if absent := [name for name, n in (report.voxels or {}).items() if not n and name in common]:
            told.append(f"{', '.join(absent)} absent, which most cases have; absent it stays")
        if others := [id for id in copies.get(report.content, ()) if id != report.id]:
            told.append(f"the same file as {', '.join(others[:3])}")
        yield replace(report, findings=(*report.findings, *(Finding("warning", text) for text in told)))


def _of_images(cohort: Cohort, wanted: bool) -> list[Finding]:
    found = [Finding("warning", f"{path.name}: an image without a label map") for path in cohort.images_without_labels]
    without = [case.id for case in cohort if case.image_path is None]
    if wanted and without:
        listed = ", ".join(without[:5]) + (", ..." if len(without) > 5 else "")
        found.append(Finding("warning", f"{len(without)} label maps without an image, mended all the same: {listed}"))
    return found


def _of_out(out: Path, labels: Path, images: Path | None) -> list[Finding]:
    try:
        RunFolder.check(out, labels, images)
    except HeartmendError as error:
        return [Finding("error", str(error))]
    return []


def _of_disk(out: Path, needed: int, free: int) -> list[Finding]:
    if needed <= free:
        return []
    what = f"a run will take about {_size(needed)} there, {_size(free)} are free"
    return [Finding("warning", f"{out}: {what}; free some space, or give another --out")]


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"


def _told(case: CaseReport) -> Text:
    """The findings without the folders and the name of the label map, which the row is about."""
    lines = []
    for finding in case.findings:
        own = finding.text.partition(f"/{case.labels}: ")[2]
        image = finding.text.partition(f"/{case.image}: ")[2]
        text = own or (f"image: {image}" if image else finding.text)
        lines.append(Text(escape_unprintable(text), _STYLES[finding.severity]))
    return Text("\n").join(lines)


def _by(numbers: tuple[float, ...] | None) -> str:
    return "" if numbers is None else " x ".join(f"{n:.4g}" for n in numbers)
