"""Errors that all cases share in a report: a table by region, and the mean heart coloured by them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from heartmend.anatomy.schema import Anatomy
from heartmend.figures.files import as_data_url
from heartmend.figures.style import StructureStyle
from heartmend.figures.surfaces import FRONT_AND_BACK, surface_figure
from heartmend.figures.view import BeforeAfter
from heartmend.geometry.grid import Grid
from heartmend.geometry.mesh import Mesh, mesh_of_distance
from heartmend.repair.shared_errors.convention import Convention
from heartmend.repair.shared_errors.estimate import Evidence
from heartmend.repair.shared_errors.report import PatchRecord, SharedErrors
from heartmend.repair.shared_errors.tables import describe_source, list_regions
from heartmend.report.scene import MAX_TRIANGLES, ScenePart, pack_parts
from heartmend.report.tables import ReportTable
from heartmend.run_folder.folder import RunFolder

LIMITS_MM = (-2.0, -1.0, -0.5, -0.2, 0.2, 0.5, 1.0, 2.0)
"""Limits between the colours."""
COLOURS = (
    "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#f7f7f7", "#fddbc7", "#f4a582", "#d6604d", "#b2182b",
)  # fmt: skip
"""From too thin (blue) to too wide (red): ColorBrewer RdBu."""
UNKNOWN_COLOUR = "#b5bac2"
_NAMES = (
    "2 mm too thin or more", "1 to 2", "0.5 to 1", "0.2 to 0.5 too thin", "within 0.2 mm", "0.2 to 0.5 too wide",
    "0.5 to 1", "1 to 2", "2 mm too wide or more", "not measured",
)  # fmt: skip
_UNKNOWN = len(COLOURS)
_NOT_MEASURED: tuple[Evidence, Evidence] = ("unclear", "none")


@dataclass(frozen=True, eq=False)
class SharedErrorSection:
    """Section of a report.

    Attributes:
        text: what the surfaces were compared with, and whether they were corrected.
        table: the errors by region.
        still: the mean heart before and after the correction, as a data URL.
        scene: the same for the 3D view.
        legend: text and colour of each range of errors.
    """

    text: str
    table: ReportTable
    still: str
    scene: dict[str, Any]
    legend: Sequence[tuple[str, str]]


def shared_error_section(run: RunFolder, anatomy: Anatomy) -> SharedErrorSection | None:
    """Make the section of a run.

    Args:
        run: the run.
        anatomy: the structures.

    Returns:
        The section; None where the errors were not measured.

    Raises:
        RunError: if a record is damaged.
    """
    shared = run.shared_errors()
    if shared is None or not shared.patches:
        return None
    convention = run.mean_heart()
    known = {name: _Surface(convention, head, shared) for head, name in enumerate(convention.correction.heads)}
    parts = [part for name, surface in known.items() for part in surface.parts(name)]
    verb = "corrected" if shared.is_corrected else "not corrected"
    text = f"Compared with {describe_source(shared)}; {verb}."
    legend = list(zip(_NAMES, (*COLOURS, UNKNOWN_COLOUR), strict=True))
    return SharedErrorSection(text, _table(shared), _still(convention, known, anatomy), pack_parts(parts), legend)


class _Surface:
    """The surface of one structure of the mean heart, with the errors of its patches."""

    def __init__(self, convention: Convention, head: int, shared: SharedErrors) -> None:
        name = convention.correction.heads[head]
        self.grid = _grid(convention)
        self.distance_mm = convention.template_mm[..., head]
        own = [one for one in shared.patches if one.structure == name]
        places = sorted({one.place_mm for one in own})
        self._tree = cKDTree(np.array(places)) if places else None
        self._bins = [_bins_at(own, places, which) for which in ("error_mm", "left_mm")]

    def bins(self, points_mm: npt.NDArray[np.floating], which: int) -> npt.NDArray[np.intp]:
        """Colour (n,) of points (n, 3), before (0) or after (1) the correction."""
        if self._tree is None or len(points_mm) == 0:
            return np.full(len(points_mm), _UNKNOWN)
        return self._bins[which][self._tree.query(points_mm)[1]]

    def parts(self, name: str) -> list[ScenePart]:
        """Parts of the 3D view, one for each colour."""
        mesh = mesh_of_distance(self.distance_mm, self.grid).simplified(MAX_TRIANGLES // 4)
        if len(mesh.triangles) == 0:
            return []
        centres = mesh.vertices_mm[mesh.triangles].mean(axis=1)
        before, after = self.bins(centres, 0), self.bins(centres, 1)
        return [
            ScenePart(
                name, (*COLOURS, UNKNOWN_COLOUR)[colour], _part(mesh, before == colour), _part(mesh, after == colour)
            )
            for colour in range(_UNKNOWN + 1)
            if (before == colour).any() or (after == colour).any()
        ]


def _bins_at(
    patches: Sequence[PatchRecord], places: Sequence[tuple[float, float, float]], which: str
) -> npt.NDArray[np.intp]:
    """Colour of each place: that of its largest known error."""
    found = dict.fromkeys(places, math.nan)
    for one in patches:
        value = getattr(one, which)
        if value is not None and not abs(found[one.place_mm]) > abs(value):
            found[one.place_mm] = value
    values = np.array([found[place] for place in places])
    return np.where(np.isnan(values), _UNKNOWN, np.searchsorted(LIMITS_MM, np.nan_to_num(values)))


def _part(mesh: Mesh, chosen: npt.NDArray[np.bool_]) -> Mesh:
    """Some triangles of a mesh with their vertices."""
    triangles = mesh.triangles[chosen]
    used, inverse = np.unique(triangles, return_inverse=True)
    return Mesh(mesh.vertices_mm[used], inverse.reshape(-1, 3).astype(np.int32))


def _grid(convention: Convention) -> Grid:
    side, size = convention.template_mm.shape[0], np.asarray(convention.size_mm)
    affine = np.diag([*(size / side), 1.0])
    affine[:3, 3] = size / side / 2 - size / 2
    return Grid((side,) * 3, affine)


def _still(convention: Convention, surfaces: dict[str, _Surface], anatomy: Anatomy) -> str:
    """The mean heart from the front and from behind, before and after, as a data URL."""
    grid = _grid(convention)
    nearest = convention.template_mm.argmax(axis=-1)
    inside = convention.template_mm.max(axis=-1) > 0
    maps = [np.zeros(grid.shape, np.uint8) for _ in range(2)]
    for head, surface in enumerate(surfaces.values()):
        index = np.argwhere(inside & (nearest == head))
        for which, labels in enumerate(maps):
            labels[tuple(index.T)] = surface.bins(grid.index_to_world(index), which) + 1
    colours = [tuple(int(text[at : at + 2], 16) for at in (1, 3, 5)) for text in (*COLOURS, UNKNOWN_COLOUR)]
    style = StructureStyle(
        {at: (r, g, b) for at, (r, g, b) in enumerate(colours, start=1)}, dict(enumerate(_NAMES, start=1))
    )
    both = BeforeAfter(maps[0], maps[1], grid.spacing_mm, grid.axcodes)
    figure = surface_figure(
        both, style, title="Mean heart: error before and after the correction", views_deg=FRONT_AND_BACK
    )
    return as_data_url(figure)


def _table(shared: SharedErrors) -> ReportTable:
    headings = ("structure", "region", "cases", "error, mm", "95 % interval, mm", "SD of the cases, mm", "left, mm")
    rows = []
    for one in shared.regions:
        if one.evidence == "measured":
            interval = f"{one.ci95_low_mm:+.2f} to {one.ci95_high_mm:+.2f}"
            left = "" if math.isnan(one.left_mm) else f"{one.left_mm:+.2f}"
            numbers = (f"{one.mean_mm:+.2f}", interval, f"{one.case_sd_mm:.2f}", left)
            rows.append((one.structure, one.region, str(one.n_cases), *numbers))
    others = {evidence: list_regions(shared, evidence) for evidence in _NOT_MEASURED}
    notes = [
        "Mean signed distance between the surfaces and what they are compared with. Positive: the labels are too wide."
    ]
    if others["unclear"]:
        notes.append(f"The cases do not agree, not corrected: {others['unclear']}.")
    if others["none"]:
        notes.append(f"Not measured, not corrected: {others['none']}.")
    return ReportTable("Errors by region of the surface", headings, tuple(rows), tuple(notes))
