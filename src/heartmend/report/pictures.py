"""The pictures of one case: planes through a change, and surfaces, in the colours of the anatomy."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from heartmend.errors import BadInputError, ConfigError
from heartmend.figures.files import as_webp, save
from heartmend.figures.planes import before_after_figure
from heartmend.figures.style import StructureStyle
from heartmend.figures.surfaces import surface_figure
from heartmend.figures.view import BeforeAfter, largest_change
from heartmend.io.dataset import Case
from heartmend.io.label_maps import LabelVolume
from heartmend.report.scene import pack_scene
from heartmend.run_folder.finished import FinishedRun

FRONT = ((-25.0, 10.0),)


@dataclass(frozen=True)
class CasePictures:
    """What the page shows of a case: pictures as data URLs, and the scene of the 3D view."""

    case: str
    planes: str
    surface: str
    scene: dict[str, Any]


def pictures_of(finished: FinishedRun, case: Case) -> CasePictures:
    """Draw a case for the page. BadInputError when the two label maps are not on one grid."""
    was, now = _maps(finished, case)
    planes = _planes(finished, case, was, now, None)
    scene = pack_scene(was.labels, now.labels, was.grid, finished.anatomy)
    return CasePictures(case.id, _url(planes), _url(_surface(finished, case, was, now)), scene)


def write_view(
    finished: FinishedRun,
    case_id: str,
    folder: Path,
    voxels: Sequence[Sequence[int]] = (),
    places_mm: Sequence[Sequence[float]] = (),
    structures: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write the pictures of a case as PNG; returns their paths.

    Planes through each of the `voxels` (indices in the file's order, from 0), each of the `places_mm` (RAS+ mm, as
    `heartmend explain` tells them) and the largest change of each of the `structures`; without any of these through
    the largest change of all. And the surfaces. BadInputError for a place outside the volume, ConfigError for a
    structure that did not change. progress: called with how many are drawn, and of how many.
    """
    case = finished.cohort[case_id]
    was, now = _maps(finished, case)
    wanted: list[tuple[str, tuple[int, int, int] | None]] = []
    for at in [*voxels, *(np.rint(was.grid.world_to_index(place)) for place in places_mm)]:
        voxel = _voxel(at, was, case_id)
        wanted.append(("_".join(map(str, voxel)), voxel))
    for name in structures:
        structure = finished.anatomy.by_name(name)
        before, after = (volume.labels == structure.id for volume in (was, now))
        if not (before != after).any():
            raise ConfigError(f"{structure.name} of case {case_id} was not changed; name another structure")
        x, y, z = (int(i) for i in largest_change(before, after, np.asarray(was.grid.spacing_mm)))
        wanted.append((structure.name, (x, y, z)))
    figures: list[tuple[str, Callable[[], Figure]]] = [
        (name, partial(_planes, finished, case, was, now, through)) for name, through in wanted or [("change", None)]
    ]
    figures.append(("surface", partial(_surface, finished, case, was, now)))
    drawn: list[Path] = []
    for name, draw in figures:
        drawn.append(folder / f"{case_id}_{name}.png")
        save(draw(), drawn[-1])
        if progress is not None:
            progress(len(drawn), len(figures))
    return drawn


def _maps(finished: FinishedRun, case: Case) -> tuple[LabelVolume, LabelVolume]:
    was, now = finished.before(case), finished.after(case)
    if not now.grid.is_close(was.grid):
        raise BadInputError(f"{now.path}: is not on the grid of {was.path}; mend the case again")
    return was, now


def _planes(
    finished: FinishedRun, case: Case, was: LabelVolume, now: LabelVolume, through: tuple[int, int, int] | None
) -> Figure:
    image = finished.image(case, was.grid)
    maps = BeforeAfter(
        was.labels, now.labels, was.grid.spacing_mm, was.grid.axcodes, image=None if image is None else image.values
    )
    return before_after_figure(maps, StructureStyle.of(finished.anatomy), title=f"Case {case.id}", through=through)


def _surface(finished: FinishedRun, case: Case, was: LabelVolume, now: LabelVolume) -> Figure:
    maps = BeforeAfter(was.labels, now.labels, was.grid.spacing_mm, was.grid.axcodes)
    return surface_figure(maps, StructureStyle.of(finished.anatomy), title=f"Case {case.id}", views_deg=FRONT)


def _voxel(at: Any, volume: LabelVolume, case_id: str) -> tuple[int, int, int]:
    x, y, z = (int(i) for i in np.asarray(at).ravel())
    if not all(0 <= i < n for i, n in zip((x, y, z), volume.labels.shape, strict=True)):
        shape = " x ".join(map(str, volume.labels.shape))
        raise BadInputError(f"voxel {x}, {y}, {z} lies outside case {case_id}, which has {shape} voxels")
    return x, y, z


def _url(figure: Figure) -> str:
    return "data:image/webp;base64," + base64.b64encode(as_webp(figure)).decode("ascii")
