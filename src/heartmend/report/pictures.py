"""Pictures of one case: planes through a change, and surfaces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from heartmend.compute.progress import NoProgress, Progress
from heartmend.errors import BadInputError, ConfigError
from heartmend.figures.files import as_data_url, save
from heartmend.figures.planes import before_after_figure
from heartmend.figures.style import StructureStyle
from heartmend.figures.surfaces import surface_figure
from heartmend.figures.view import BeforeAfter, largest_change
from heartmend.io.dataset import Case
from heartmend.io.label_maps import LabelVolume
from heartmend.report.scene import pack_scene
from heartmend.report.vessels import draw_vessels
from heartmend.run_folder.finished import FinishedRun

FRONT = ((-25.0, 10.0),)
"""View of the surfaces in degrees: rotation about the long axis, and tilt forward."""


@dataclass(frozen=True)
class CasePictures:
    """Pictures of a case for a report.

    Attributes:
        case: case id.
        planes: three planes through the largest change, as a data URL.
        surface: surfaces before and after, as a data URL.
        scene: surfaces for the 3D view (`scene.pack_scene`).
        vessels: straightened coronary arteries, as a data URL; empty without a CT or without them.
    """

    case: str
    planes: str
    surface: str
    scene: dict[str, Any]
    vessels: str = ""


def draw_case(finished: FinishedRun, case: Case) -> CasePictures:
    """Draw a case for a report.

    Args:
        finished: the run.
        case: a case of it.

    Returns:
        The pictures.

    Raises:
        BadInputError: if a label map cannot be read, or the two are on different grids.
    """
    before, after = _read_maps(finished, case)
    image = _read_image(finished, case, before)
    planes = _draw_planes(finished, case, before, after, image, None)
    surfaces = _draw_surfaces(finished, case, before, after)
    scene = pack_scene(before.labels, after.labels, before.grid, finished.anatomy)
    vessels = None if image is None else _draw_vessels(finished, case, before, after, image)
    return CasePictures(
        case.id, as_data_url(planes), as_data_url(surfaces), scene, "" if vessels is None else as_data_url(vessels)
    )


def write_view(
    finished: FinishedRun,
    case_id: str,
    folder: Path,
    voxels: Sequence[Sequence[int]] = (),
    points_mm: Sequence[Sequence[float]] = (),
    structures: Sequence[str] = (),
    progress: Progress | None = None,
) -> list[Path]:
    """Write pictures of a case as PNG files: planes through given positions, the surfaces, straightened coronaries.

    Without a position, the planes go through the largest change.

    Args:
        finished: the run.
        case_id: id of the case.
        folder: folder to write to.
        voxels: indices (x, y, z) in the axis order of the file, from 0.
        points_mm: positions in RAS+ mm, as `heartmend explain` prints them.
        structures: names of structures; the planes go through the largest change of each.
        progress: receiver of progress reports.

    Returns:
        Paths of the files.

    Raises:
        BadInputError: if there is no such case, or a position is outside its volume.
        ConfigError: if a structure is unknown or unchanged.
    """
    case = finished.cohort[case_id]
    before, after = _read_maps(finished, case)
    positions: list[tuple[str, tuple[int, int, int] | None]] = []
    for index in [*voxels, *(np.rint(before.grid.world_to_index(point)) for point in points_mm)]:
        voxel = _voxel(index, before, case_id)
        positions.append(("_".join(map(str, voxel)), voxel))
    for name in structures:
        structure = finished.anatomy.by_name(name)
        mask_before, mask_after = (volume.labels == structure.id for volume in (before, after))
        if not (mask_before != mask_after).any():
            raise ConfigError(f"{structure.name} of case {case_id} is unchanged; give another structure")
        x, y, z = (int(i) for i in largest_change(mask_before, mask_after, np.asarray(before.grid.spacing_mm)))
        positions.append((structure.name, (x, y, z)))
    image = _read_image(finished, case, before)
    figures: list[tuple[str, Callable[[], Figure | None]]] = [
        (name, partial(_draw_planes, finished, case, before, after, image, voxel))
        for name, voxel in positions or [("change", None)]
    ]
    figures.append(("surface", partial(_draw_surfaces, finished, case, before, after)))
    if image is not None:
        figures.append(("vessels", partial(_draw_vessels, finished, case, before, after, image)))
    progress = progress or NoProgress()
    progress.start("pictures", len(figures))
    paths: list[Path] = []
    for done, (name, draw) in enumerate(figures, start=1):
        if (figure := draw()) is not None:
            paths.append(folder / f"{case_id}_{name}.png")
            save(figure, paths[-1])
        progress.advance(done, name)
    return paths


def _read_maps(finished: FinishedRun, case: Case) -> tuple[LabelVolume, LabelVolume]:
    before, after = finished.before(case), finished.after(case)
    if not after.grid.is_close(before.grid):
        raise BadInputError(f"{after.path}: not on the grid of {before.path}; repair the case again")
    return before, after


def _read_image(finished: FinishedRun, case: Case, before: LabelVolume) -> npt.NDArray[np.generic] | None:
    image = finished.image(case, before.grid)
    return None if image is None else image.values


def _draw_planes(
    finished: FinishedRun, case: Case, before: LabelVolume, after: LabelVolume,
    image: npt.NDArray[np.generic] | None, voxel: tuple[int, int, int] | None,
) -> Figure:  # fmt: skip
    grid = before.grid
    maps = BeforeAfter(before.labels, after.labels, grid.spacing_mm, grid.axcodes, image=image)
    return before_after_figure(maps, StructureStyle.of(finished.anatomy), title=f"Case {case.id}", through=voxel)


def _draw_surfaces(finished: FinishedRun, case: Case, before: LabelVolume, after: LabelVolume) -> Figure:
    maps = BeforeAfter(before.labels, after.labels, before.grid.spacing_mm, before.grid.axcodes)
    return surface_figure(maps, StructureStyle.of(finished.anatomy), title=f"Case {case.id}", views_deg=FRONT)


def _draw_vessels(
    finished: FinishedRun, case: Case, before: LabelVolume, after: LabelVolume, image: npt.NDArray[np.generic]
) -> Figure | None:
    return draw_vessels(before, after, image, finished.anatomy, f"Case {case.id}: straightened coronary arteries")


def _voxel(index: Any, volume: LabelVolume, case_id: str) -> tuple[int, int, int]:
    x, y, z = (int(i) for i in np.asarray(index).ravel())
    if not all(0 <= i < n for i, n in zip((x, y, z), volume.labels.shape, strict=True)):
        shape = " x ".join(map(str, volume.labels.shape))
        raise BadInputError(
            f"voxel {x}, {y}, {z} is outside case {case_id}, which has {shape} voxels; count them from 0"
        )
    return x, y, z
