"""Check of a data set before a run: files that would be skipped, and warnings."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from heartmend.anatomy.schema import Anatomy
from heartmend.compute.progress import NoProgress, Progress
from heartmend.compute.workers import each
from heartmend.errors import HeartmendError
from heartmend.io.copies import describe_copies
from heartmend.io.dataset import Case, Cohort, discover_cohort
from heartmend.io.file_names import escape_unprintable
from heartmend.io.label_maps import UnknownLabels
from heartmend.io.unread_files import UnreadFile, describe_unread
from heartmend.quality.case_check import CaseReport, Finding, check_case
from heartmend.quality.disk_space import free_bytes, needed_bytes
from heartmend.quality.structure_bounds import StructureSize, impossible_size
from heartmend.run_folder.folder import RunFolder
from heartmend.version import __version__
from heartmend.wording import plural, some_of

MAX_SIZE_RATIO = 2.0
"""Hearts of one data set differ in length by less; a wrong unit of the spacing makes a larger difference."""
MIN_CASES_TO_COMPARE = 3
_MEASURES = ("volume_ml", "extent_mm", "thickness_mm")
_STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}


@dataclass(frozen=True)
class ValueMeaning:
    """What a value of the label maps was read as, over the cases of a data set.

    Attributes:
        value: the value in the files.
        name: its structure, or another name that a source gives it; empty without one.
        structure: whether it is a structure; otherwise its voxels stay unchanged.
        source: what states the name; empty without one.
        cases: number of cases in which it is present with this meaning.
        median_ml: median volume of its voxels over these cases.
    """

    value: int
    name: str
    structure: bool
    source: str
    cases: int
    median_ml: float


@dataclass(frozen=True)
class DataSetReport:
    """Result of the check of a data set.

    Attributes:
        cases: report of each case, sorted by id.
        findings: problems of the data set as a whole.
        free_bytes: free disk space at the output folder; None without an output folder.
        unread: files and folders beside the label maps that are not read.
    """

    cases: tuple[CaseReport, ...]
    findings: tuple[Finding, ...] = ()
    free_bytes: int | None = None
    unread: tuple[UnreadFile, ...] = ()

    @property
    def values(self) -> tuple[ValueMeaning, ...]:
        """Meaning of each value, sorted by value; a value with two meanings is listed twice."""
        volumes: dict[tuple[int, str, bool, str], list[float]] = defaultdict(list)
        for case in self.cases:
            for use in case.values:
                volumes[use.value, use.name, use.structure, use.source].append(use.volume_ml)
        return tuple(
            ValueMeaning(*key, cases=len(ml), median_ml=round(statistics.median(ml), 3))
            for key, ml in sorted(volumes.items())
        )

    @property
    def needed_bytes(self) -> int:
        """Estimate of the disk space that a run needs."""
        return needed_bytes(self.cases)

    def count(self, status: str) -> int:
        """Count the cases with a status.

        Args:
            status: `ok`, `warning` or `error`.

        Returns:
            Number of cases.
        """
        return sum(case.status == status for case in self.cases)

    @property
    def is_usable(self) -> bool:
        """Whether a run would repair at least one case."""
        has_error = any(finding.severity == "error" for finding in self.findings)
        return not has_error and self.count("error") < len(self.cases)

    def to_dict(self) -> dict[str, Any]:
        """Convert the report into a table for JSON.

        Returns:
            The table.
        """
        counts = {status: self.count(status) for status in _STYLES}
        findings = [{"severity": f.severity, "text": f.text} for f in self.findings]
        cases = [case.to_dict() for case in self.cases]
        disk = {"needed_bytes": self.needed_bytes, "free_bytes": self.free_bytes}
        values, unread = [vars(value) for value in self.values], [vars(file) for file in self.unread]
        return {
            "heartmend": __version__, "counts": counts, "disk": disk, "values": values, "unread": unread,
            "findings": findings, "cases": cases,
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Job:
    cohort: Cohort
    case: Case


def check_data_set(
    labels: Path,
    images: Path | None,
    anatomy: Anatomy,
    unknown_labels: UnknownLabels = "error",
    output: Path | None = None,
    workers: int = 0,
    progress: Progress | None = None,
    ids: Path | Mapping[int, str] | None = None,
    preset_ids: str = "",
) -> DataSetReport:
    """Read every file of a data set, as a run would, and compare the cases with each other. Nothing is written.

    Args:
        labels: folder of label maps, or an nnU-Net v2 data set.
        images: folder of CTs; None without CTs.
        anatomy: anatomy of the label maps.
        unknown_labels: what is done with ids that the anatomy does not define.
        output: folder of a later run, to check whether it can be written to; None to skip this check.
        workers: number of worker processes; 0 for one per CPU core.
        progress: receiver of progress reports.
        ids: value -> name of a structure, or a TOML or JSON file with such a table; None: without.
        preset_ids: name of a public data set whose values the label maps have; empty: none.

    Returns:
        The report.

    Raises:
        BadInputError: if there is no case at all.
    """
    progress = progress or NoProgress()
    cohort = discover_cohort(
        labels, images, anatomy=anatomy, unknown_labels=unknown_labels, ids=ids, preset_ids=preset_ids
    )
    reports = [CaseReport(id, "", findings=(Finding("error", reason),)) for id, reason in cohort.skipped.items()]
    progress.start("check", len(cohort))
    jobs = [_Job(cohort, case) for case in cohort]
    for done, (job, report, error) in enumerate(each(_check, jobs, workers), start=1):
        if report is None:
            report = CaseReport(job.case.id, job.case.labels_path.name, findings=(Finding("error", f"{error}"),))
        reports.append(report)
        progress.advance(done, job.case.id)
    reports.sort(key=lambda report: report.id)
    findings = _image_findings(cohort, images is not None)
    if cohort.unread:
        findings.append(Finding("warning", describe_unread(cohort.unread)))
    found = [report.voxels for report in reports if report.voxels is not None]
    anatomy = anatomy.without_absent({name for voxels in found for name, n in voxels.items() if n})
    reports = [_with_structures(report, anatomy) for report in reports]
    size_findings, reports = _size_findings(reports, anatomy)
    findings += size_findings
    if output is None:
        return DataSetReport(tuple(_compare(reports, anatomy)), tuple(findings), unread=cohort.unread)
    free = free_bytes(output)
    findings += [*_output_findings(output, labels, images), *_disk_findings(output, needed_bytes(reports), free)]
    return DataSetReport(tuple(_compare(reports, anatomy)), tuple(findings), free, cohort.unread)


def check_table(report: DataSetReport, show_all: bool = False) -> Table:
    """Make a table of the result for the terminal.

    Args:
        report: result of the check.
        show_all: whether cases without findings are listed too.

    Returns:
        A table (rich).
    """
    counts = ", ".join(f"{report.count(status)} {status}" for status in _STYLES)
    free = "" if report.free_bytes is None else f"; {_size(report.free_bytes)} are free"
    disk = f"A run needs about {_size(report.needed_bytes)} of disk space{free}." if report.needed_bytes else ""
    cases = [case for case in report.cases if show_all or case.findings]
    table = Table(
        title=f"{plural(len(report.cases), 'case')}: {counts}", title_style="bold", title_justify="left", caption=disk,
        caption_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_header=bool(cases or report.findings),
    )  # fmt: skip
    table.add_column("case", overflow="fold")
    table.add_column("status", no_wrap=True)
    table.add_column("findings", overflow="fold")
    for finding in report.findings:
        text = Text(escape_unprintable(finding.text))
        table.add_row(Text("data set", "dim"), Text(finding.severity, _STYLES[finding.severity]), text)
    for case in cases:
        id, status = Text(escape_unprintable(case.id)), Text(case.status, _STYLES[case.status])
        # Below each other: beside the findings the sizes would leave them no room in 80 columns.
        lines = [text for text in (_contents_of(case), _findings_of(case)) if text]
        table.add_row(id, status, Text("\n").join(lines))
    return table


def values_table(report: DataSetReport) -> Table:
    """Make a table of what the values of the label maps were read as, for the terminal.

    Args:
        report: result of the check.

    Returns:
        A table (rich).
    """
    table = Table(
        title="\nMeaning of the values", title_style="bold", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("structure", overflow="fold")
    table.add_column("source", overflow="fold")
    table.add_column("cases", justify="right", no_wrap=True)
    table.add_column("median ml", justify="right", no_wrap=True)
    for value in report.values:
        name = escape_unprintable(value.name) or "unknown"
        structure = Text(name) if value.structure else Text(f"{name}: stays unchanged", "dim")
        source = Text(escape_unprintable(value.source))
        table.add_row(str(value.value), structure, source, str(value.cases), f"{value.median_ml:.3g}")
    return table


def _contents_of(case: CaseReport) -> Text:
    parts = []
    if case.shape is not None:
        parts.append(f"{_by(case.shape)} voxels of {_by(case.spacing_mm)} mm")
    if case.voxels is not None:
        parts.append(f"{sum(n > 0 for n in case.voxels.values())} of {plural(len(case.voxels), 'structure')}")
    return Text(", ".join(parts), "dim")


def _check(job: _Job) -> CaseReport:
    return check_case(job.cohort, job.case)


def _with_structures(report: CaseReport, anatomy: Anatomy) -> CaseReport:
    """The report without optional structures that no case has."""
    if report.voxels is None:
        return report
    return replace(report, voxels={name: report.voxels[name] for name in anatomy.names})


def _compare(reports: list[CaseReport], anatomy: Anatomy) -> Iterable[CaseReport]:
    """Add warnings that need the other cases: an unusual size, a missing structure, a copy."""
    sizes = [max(r.size_mm) for r in reports if r.size_mm is not None]
    median_mm = statistics.median(sizes) if len(sizes) >= MIN_CASES_TO_COMPARE else None
    counts = [r.voxels for r in reports if r.voxels is not None]
    common = {s.name for s in anatomy.structures if 2 * sum(v[s.name] > 0 for v in counts) > len(counts)}
    copies = describe_copies({r.id: r.content for r in reports if r.content is not None})
    for report in reports:
        texts = list[str]()
        if median_mm and report.size_mm and not 1 / MAX_SIZE_RATIO < max(report.size_mm) / median_mm < MAX_SIZE_RATIO:
            texts.append(
                f"the heart is {max(report.size_mm):.0f} mm long (median {median_mm:.0f} mm); check its spacing"
            )
        if absent := [name for name, n in (report.voxels or {}).items() if not n and name in common]:
            texts.append(f"{', '.join(absent)} absent, present in most cases; it stays absent")
        if report.id in copies:
            texts.append(copies[report.id])
        yield replace(report, findings=(*report.findings, *(Finding("warning", text) for text in texts)))


def _size_findings(reports: list[CaseReport], anatomy: Anatomy) -> tuple[list[Finding], list[CaseReport]]:
    """Warn of structures whose size is impossible: once where it is so in most cases, else for the single cases."""
    found: list[Finding] = []
    texts: dict[str, list[str]] = defaultdict(list)
    for structure in anatomy.structures:
        sizes = {r.id: r.sizes[structure.name] for r in reports if structure.name in r.sizes}
        warnings = {id: text for id, size in sizes.items() if (text := impossible_size(structure.name, size, anatomy))}
        if warnings and 2 * len(warnings) > len(sizes):
            middle = StructureSize(*(statistics.median(getattr(size, m) for size in sizes.values()) for m in _MEASURES))
            text = impossible_size(structure.name, middle, anatomy) or next(iter(warnings.values()))
            advice = "check what the values mean, and give --ids FILE or --preset-ids NAME if it is something else"
            found.append(Finding("warning", f"median of {plural(len(sizes), 'case')}: {text}; {advice}"))
        else:
            for id, text in warnings.items():
                texts[id].append(text)
    with_warnings = [
        replace(r, findings=(*r.findings, *(Finding("warning", f"{text}; check it") for text in texts.get(r.id, ()))))
        for r in reports
    ]
    return found, with_warnings


def _image_findings(cohort: Cohort, has_images: bool) -> list[Finding]:
    found = [Finding("warning", f"{path.name}: an image without a label map") for path in cohort.images_without_labels]
    without = [case.id for case in cohort if case.image_path is None]
    if has_images and without:
        them = "it is" if len(without) == 1 else "they are"
        text = f"{plural(len(without), 'label map')} without an image; {them} repaired too: {some_of(without, 5)}"
        found.append(Finding("warning", text))
    return found


def _output_findings(output: Path, labels: Path, images: Path | None) -> list[Finding]:
    try:
        RunFolder.check(output, labels, images)
    except HeartmendError as error:
        return [Finding("error", str(error))]
    return []


def _disk_findings(output: Path, needed: int, free: int) -> list[Finding]:
    if needed <= free:
        return []
    text = f"a run needs about {_size(needed)}, {_size(free)} are free; free some space, or give another --output"
    return [Finding("warning", f"{output}: {text}")]


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"


def _findings_of(case: CaseReport) -> Text:
    """Return the findings without the folder and the name of the label map, which the row names already."""
    lines = []
    for finding in case.findings:
        about_labels = finding.text.partition(f"/{case.labels}: ")[2]
        about_image = finding.text.partition(f"/{case.image}: ")[2]
        text = about_labels or (f"image: {about_image}" if about_image else finding.text)
        lines.append(Text(escape_unprintable(text), _STYLES[finding.severity]))
    return Text("\n").join(lines)


def _by(numbers: tuple[float, ...] | None) -> str:
    return "" if numbers is None else " x ".join(f"{n:.4g}" for n in numbers)
