"""One case's files looked at as closely as a run would, with all that is wrong or odd about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from heartmend.errors import BadInputError
from heartmend.geometry.components import main_components_box
from heartmend.io.dataset import Case, Cohort
from heartmend.io.digests import file_fingerprint
from heartmend.io.label_maps import LabelVolume, count_ids

Severity = Literal["warning", "error"]

# Fewer voxels than this are no structure that one could see.
_FEW_VOXELS = 8


@dataclass(frozen=True)
class Finding:
    """One thing that is odd about a case (warning), or for which a run leaves it out (error)."""

    severity: Severity
    text: str


@dataclass(frozen=True)
class CaseReport:
    """What a case's files hold. What could not be read is None or empty.

    voxels: by structure; size_mm: of the box about the heart, along the voxel axes; file_bytes: how large the label
    map's file is; content: the same for two files that are copies.
    """

    id: str
    labels: str
    image: str | None = None
    shape: tuple[int, ...] | None = None
    spacing_mm: tuple[float, ...] | None = None
    axes: str | None = None
    size_mm: tuple[float, ...] | None = None
    voxels: dict[str, int] | None = None
    file_bytes: int = 0
    content: str = ""
    findings: tuple[Finding, ...] = ()

    @property
    def status(self) -> Literal["sound", "warning", "error"]:
        """The gravest of its findings."""
        severities = {finding.severity for finding in self.findings}
        return "error" if "error" in severities else "warning" if severities else "sound"

    def to_dict(self) -> dict[str, Any]:
        """A table for JSON."""
        table = {name: value for name, value in vars(self).items() if name not in ("content", "findings")}
        findings = [{"severity": f.severity, "text": f.text} for f in self.findings]
        return {**table, "status": self.status, "findings": findings}


def check_case(cohort: Cohort, case: Case) -> CaseReport:
    """Read a case's label map and image wholly, and say what is wrong or odd; raises nothing for a bad file."""
    image = None if case.image_path is None else case.image_path.name
    try:
        volume = cohort.read_labels(case)
    except BadInputError as error:
        return CaseReport(case.id, case.labels_path.name, image, findings=(Finding("error", str(error)),))
    grid = volume.grid
    voxels = _voxels(volume, cohort)
    findings = [Finding("warning", text) for text in (*volume.warnings, *_oddities(volume, voxels))]
    try:
        findings += [Finding("warning", text) for text in cohort.check_image(case, grid)]
        cohort.read_image(case)
    except BadInputError as error:
        findings.append(Finding("error", str(error)))
    box = main_components_box(volume.labels, cohort.anatomy.ids, grid.spacing_mm)
    size_mm = None
    if box is not None:
        size_mm = tuple(round((s.stop - s.start) * mm, 1) for s, mm in zip(box, grid.spacing_mm, strict=True))
    return CaseReport(
        case.id, case.labels_path.name, image, grid.shape, tuple(round(s, 5) for s in grid.spacing_mm),
        "".join(grid.axcodes), size_mm, voxels, case.labels_path.stat().st_size,
        file_fingerprint(case.labels_path), tuple(findings),
    )  # fmt: skip


def _voxels(volume: LabelVolume, cohort: Cohort) -> dict[str, int]:
    counts = count_ids(volume.labels)
    return {s.name: int(counts[s.id]) for s in cohort.anatomy.structures}


def _oddities(volume: LabelVolume, voxels: dict[str, int]) -> list[str]:
    told = [f"{name} has {n} voxel{'s' * (n > 1)}" for name, n in voxels.items() if 0 < n < _FEW_VOXELS]
    if volume.unknown is not None:
        told.append(f"{int(volume.unknown.sum())} voxels of ids that the anatomy lacks; they stay untouched")
    return told
