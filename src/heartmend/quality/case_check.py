"""Check of the files of one case."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from heartmend.errors import BadInputError
from heartmend.geometry.components import main_components_box
from heartmend.geometry.masks import count_ids
from heartmend.io.copies import Content, content_of
from heartmend.io.dataset import Case, Cohort
from heartmend.io.forms.files import files_of
from heartmend.io.label_maps import LabelVolume
from heartmend.quality.structure_bounds import StructureSize, measure_sizes
from heartmend.wording import plural

FindingSeverity = Literal["warning", "error"]
Status = Literal["ok", "warning", "error"]
MIN_VOXELS = 8
"""A structure with fewer voxels gets a warning."""


@dataclass(frozen=True)
class Finding:
    """Problem of a case or of a data set.

    Attributes:
        severity: `warning` for something unusual, `error` if a run would skip the case.
        text: description.
    """

    severity: FindingSeverity
    text: str


@dataclass(frozen=True)
class ValueUse:
    """What a value of a label map was read as.

    Attributes:
        value: the value in the file.
        name: its structure, or another name that a source gives it; empty without one.
        structure: whether it is a structure; otherwise its voxels stay unchanged.
        source: what states the name, such as a dataset.json; empty without one.
        volume_ml: volume of its voxels.
    """

    value: int
    name: str
    structure: bool
    source: str
    volume_ml: float


@dataclass(frozen=True)
class CaseReport:
    """Content and problems of the files of a case. What could not be read is None or empty.

    Attributes:
        id: case id.
        labels: file name of the label map.
        image: file name of the CT; None without a CT.
        shape: voxels along each axis of the file.
        spacing_mm: voxel spacing along each axis of the file, in mm.
        axes: axis codes of the file, such as LPS.
        size_mm: size of the heart's bounding box along each axis of the file, in mm.
        voxels: number of voxels of each structure.
        values: meaning of each value of the file.
        sizes: size and shape of each structure that is present.
        file_bytes: size of the files of the label map.
        content: content of the label map, equal for copies; None where it is empty.
        findings: problems.
    """

    id: str
    labels: str
    image: str | None = None
    shape: tuple[int, ...] | None = None
    spacing_mm: tuple[float, ...] | None = None
    axes: str | None = None
    size_mm: tuple[float, ...] | None = None
    voxels: dict[str, int] | None = None
    values: tuple[ValueUse, ...] = ()
    sizes: dict[str, StructureSize] = field(default_factory=dict)
    file_bytes: int = 0
    content: Content | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def status(self) -> Status:
        """Worst severity of the findings; `ok` without findings."""
        severities = {finding.severity for finding in self.findings}
        return "error" if "error" in severities else "warning" if severities else "ok"

    def to_dict(self) -> dict[str, Any]:
        """Convert the report into a table for JSON.

        Returns:
            The table.
        """
        table = {name: value for name, value in vars(self).items() if name not in ("content", "findings")}
        table["values"] = [vars(use) for use in self.values]
        table["sizes"] = {name: vars(size) for name, size in self.sizes.items()}
        findings = [{"severity": f.severity, "text": f.text} for f in self.findings]
        return {**table, "status": self.status, "findings": findings}


def check_case(cohort: Cohort, case: Case) -> CaseReport:
    """Read the label map and the CT of a case completely and list their problems.

    Args:
        cohort: the data set.
        case: a case of it.

    Returns:
        The report; a file that cannot be used is a finding, not an exception.
    """
    image = None if case.image_path is None else case.image_path.name
    try:
        volume = cohort.read_labels(case)
        cohort.check_writable(volume)
    except BadInputError as error:
        return CaseReport(case.id, case.labels_path.name, image, findings=(Finding("error", str(error)),))
    grid = volume.grid
    voxels = _count_voxels(volume, cohort)
    findings = [Finding("warning", text) for text in (*volume.warnings, *_label_warnings(volume, voxels))]
    try:
        findings += [Finding("warning", text) for text in cohort.check_image(case, grid)]
        findings += [Finding("warning", text) for text in cohort.check_image_values(case, volume)]
    except BadInputError as error:
        findings.append(Finding("error", str(error)))
    box = main_components_box(volume.labels, cohort.anatomy.ids, grid.spacing_mm)
    size_mm = None
    if box is not None:
        size_mm = tuple(round((s.stop - s.start) * mm, 1) for s, mm in zip(box, grid.spacing_mm, strict=True))
    return CaseReport(
        case.id, case.labels_path.name, image, grid.shape, tuple(round(s, 5) for s in grid.spacing_mm),
        "".join(grid.axcodes), size_mm, voxels, _value_uses(volume, cohort),
        measure_sizes(volume.labels, grid, cohort.anatomy), _size_of(case),
        content_of(volume.labels, grid), tuple(findings),
    )  # fmt: skip


def _count_voxels(volume: LabelVolume, cohort: Cohort) -> dict[str, int]:
    counts = count_ids(volume.labels)
    return {s.name: int(counts[s.id]) for s in cohort.anatomy.structures}


def _value_uses(volume: LabelVolume, cohort: Cohort) -> tuple[ValueUse, ...]:
    meaning = volume.meaning
    if meaning is None:
        return ()
    voxel_ml = math.prod(volume.grid.spacing_mm) / 1000
    return tuple(
        ValueUse(
            value,
            meaning.name(value, cohort.anatomy),
            value in meaning.ids,
            meaning.source(value),
            round(count * voxel_ml, 4),
        )
        for value, count in sorted(volume.value_counts.items())
    )


def _label_warnings(volume: LabelVolume, voxels: dict[str, int]) -> list[str]:
    texts = [f"{name} has {plural(n, 'voxel')} only" for name, n in voxels.items() if 0 < n < MIN_VOXELS]
    if volume.unknown is not None:
        texts.append(f"{plural(int(volume.unknown.sum()), 'voxel')} of no structure of the anatomy; not changed")
    return texts


def _size_of(case: Case) -> int:
    return sum(path.stat().st_size for path in files_of(case.labels_path))
