"""Model of a data set: one function, a code for each heart, and everything needed to evaluate it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from heartmend.anatomy.calibre import Calibre
from heartmend.anatomy.schema import Anatomy
from heartmend.errors import ConfigError
from heartmend.geometry.distance import CLIP_MM
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.io.mesh_files import Surface
from heartmend.io.reading import MAX_VOXELS
from heartmend.models.base import Codes
from heartmend.models.code_book import CodeBook
from heartmend.models.label_decision import decide_labels
from heartmend.models.lattice import CHUNK, Axes, evaluate_lattice
from heartmend.models.surfaces import extract_surfaces
from heartmend.models.unified import UnifiedShape
from heartmend.types import Labels

SLAB_VOXELS = 1 << 22
"""Voxels that are evaluated at once."""
Fields = dict[str, npt.NDArray[np.float32]]
"""Signed distances in mm by structure, positive inside."""


@dataclass(frozen=True, eq=False)
class Heart:
    """One heart of a model.

    Attributes:
        code: tensors whose first axis has length 1.
        frame: position of its unit frame in space.
        absent: names of the structures that it lacks.
    """

    code: Codes
    frame: Roi
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class RenderedLabels:
    """Label map predicted by a model.

    Attributes:
        labels: (x, y, z) uint8, ids of the anatomy.
        grid: grid of the voxels.
    """

    labels: Labels
    grid: Grid


@dataclass(frozen=True, eq=False)
class HeartModel:
    """One function with a head for every structure, the codes of all cases, and what belongs to them.

    Attributes:
        shape: the function.
        codes: codes of all cases.
        anatomy: the structures, their priority and ids.
        thresholds: probability threshold of each structure.
        frames: for each case the position of its unit frame: a box on its original grid.
        absent: for each case the structures that it lacks.
        calibres: radius of each thin vessel in this cohort.
        lowest_surface_noise_mm2: for each structure the surface noise of the cleanest labels of this cohort, in mm², as
            on voxels of `REFERENCE_VOXEL_MM`.
        metadata: further information, as JSON values.

    Example:
        ``model = load_heart_model(path)``; ``model.render("001", spacing_mm=0.5).labels`` is a label map;
        ``model.mesh("001")["LV"].save("lv.stl")`` writes a surface.
    """

    shape: UnifiedShape
    codes: CodeBook
    anatomy: Anatomy
    thresholds: dict[str, float]
    frames: dict[str, Roi]
    absent: dict[str, tuple[str, ...]] = field(default_factory=dict)
    calibres: dict[str, Calibre] = field(default_factory=dict)
    lowest_surface_noise_mm2: dict[str, float] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    def heart(self, case_id: str) -> Heart:
        """Return the heart of a case.

        Args:
            case_id: id of the case.

        Returns:
            Its code, unit frame and absent structures.

        Raises:
            ConfigError: if the model does not contain the case.
        """
        if case_id not in self.frames:
            ids = list(self.codes.ids)
            some = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
            raise ConfigError(f"the model does not contain case {case_id!r}; it contains {len(ids)} cases: {some}")
        return Heart(self.codes.of([case_id]), self.frames[case_id], tuple(self.absent.get(case_id, ())))

    def render(self, case_id: str, spacing_mm: float | None = None, grid: Grid | None = None) -> RenderedLabels:
        """Predict the label map of a case.

        Args:
            case_id: id of the case.
            spacing_mm: voxel spacing of a map of the case's box, in mm, in the axes right, anterior, superior.
            grid: any grid; if neither is given, the original grid of the case.

        Returns:
            The label map and its grid.

        Raises:
            ConfigError: if the model does not contain the case, the spacing is not positive, or both a spacing and a
                grid are given.
        """
        heart = self.heart(case_id)
        if spacing_mm is not None and grid is not None:
            raise ConfigError("give either a spacing or a grid, not both")
        if spacing_mm is not None:
            grid = grid_with_spacing(heart.frame, spacing_mm)
        target = heart.frame.grid if grid is None else grid
        return RenderedLabels(evaluate_labels(self, heart, target), target)

    def mesh(self, case_id: str, spacing_mm: float = 0.8, structures: Iterable[str] = ()) -> dict[str, Surface]:
        """Extract the closed surfaces of a case.

        Args:
            case_id: id of the case.
            spacing_mm: grid spacing for surface extraction, in mm.
            structures: names of the structures; all if empty.

        Returns:
            For each structure that the case has its surface in mm, RAS+, which can be written with `save(path)`.

        Raises:
            ConfigError: if the model does not contain the case, or the anatomy has no such structure,
                or the spacing is not positive.
        """
        heart = self.heart(case_id)
        grid = grid_with_spacing(heart.frame, spacing_mm)
        fields = evaluate_distances(self, heart, grid)
        return extract_surfaces(fields, grid, self.anatomy, self.thresholds, structures)


def grid_with_spacing(frame: Roi, spacing_mm: float) -> Grid:
    """Divide a box into cells of about one spacing, at least 8 along each axis.

    Args:
        frame: the box.
        spacing_mm: largest cell size along each axis, in mm.

    Returns:
        The grid of the cells, in the axes right, anterior, superior.

    Raises:
        ConfigError: if the spacing is not positive, or so small that there would be more than 2³¹ cells.
    """
    if not spacing_mm > 0:
        raise ConfigError(f"the spacing is {spacing_mm} mm; it must be more than 0")
    counts = [max(length / spacing_mm, 8) for length in frame.size_mm]
    if (cells := math.prod(counts)) > MAX_VOXELS:
        raise ConfigError(
            f"a spacing of {spacing_mm:g} mm divides the box into {cells:.2g} cells, the limit is {MAX_VOXELS}; give a "
            "larger spacing"
        )
    x, y, z = (math.ceil(count) for count in counts)
    return frame.grid_at((x, y, z))


def evaluate_distances(model: HeartModel, heart: Heart, grid: Grid) -> Fields:
    """Evaluate the signed distances of every structure at the voxels of a grid.

    Args:
        model: the model.
        heart: one of its hearts, or a new one.
        grid: any grid.

    Returns:
        For each structure (x, y, z) float32 in mm, positive inside; -`CLIP_MM` outside the heart's frame and for
        structures that the heart lacks.
    """
    parts = [part for _, part in _slabs(model, heart, grid)]
    logits = np.concatenate(parts, axis=1)
    return dict(zip(model.shape.heads, logits, strict=True))


def evaluate_labels(model: HeartModel, heart: Heart, grid: Grid) -> Labels:
    """Evaluate the label map of a heart on a grid, slab by slab.

    Args:
        model: the model.
        heart: one of its hearts, or a new one.
        grid: any grid.

    Returns:
        (x, y, z) uint8 labels in the anatomy's ids.
    """
    labels = np.zeros(grid.shape, dtype=np.uint8)
    for slab, logits in _slabs(model, heart, grid):
        fields = dict(zip(model.shape.heads, logits, strict=True))
        labels[slab] = decide_labels(fields, model.anatomy, model.thresholds)
    return labels


def _slabs(model: HeartModel, heart: Heart, grid: Grid) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    """Yield logits (head, n, ny, nz) of consecutive slices along the grid's first axis."""
    frame, absent = heart.frame, [model.shape.heads.index(name) for name in heart.absent]
    # From an index of the grid to the unit frame is an affine map.
    corner = frame.index_to_unit(frame.grid.world_to_index(grid.index_to_world(np.zeros(3))))
    steps = frame.index_to_unit(frame.grid.world_to_index(grid.index_to_world(np.eye(3)))) - corner
    thickness = max(SLAB_VOXELS // (grid.shape[1] * grid.shape[2]), 8)
    for start in range(0, grid.shape[0], thickness):
        stop = min(start + thickness, grid.shape[0])
        shape = (stop - start, grid.shape[1], grid.shape[2])
        logits = _evaluate_slab(model.shape, heart, corner + start * steps[0], steps, shape)
        logits[absent] = -CLIP_MM
        yield slice(start, stop), logits


def _evaluate_slab(
    shape: UnifiedShape, heart: Heart, corner: np.ndarray, steps: np.ndarray, count: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    """Evaluate logits (head, *count) at corner + index @ steps, in unit coordinates."""
    out = np.full((len(shape.heads), *count), -CLIP_MM, dtype=np.float32)
    grid_axes = np.abs(steps).argmax(axis=0)
    off_axis = steps.copy()
    off_axis[grid_axes, range(3)] = 0
    if sorted(grid_axes) == [0, 1, 2] and np.abs(off_axis * np.array(count)[:, None]).max() < 1e-4:
        # The grid's axes are the frame's, in some order: the lattice can be evaluated coarse to fine.
        axes = [corner[u] + steps[g, u] * np.arange(count[g]) for u, g in enumerate(grid_axes)]
        within = [np.flatnonzero(np.abs(axis) <= 1) for axis in axes]
        if all(len(w) for w in within):
            x, y, z = (axis[w].astype(np.float32) for axis, w in zip(axes, within, strict=True))
            lattice: Axes = (x, y, z)
            back = np.argsort(grid_axes)
            logits = evaluate_lattice(shape, heart.code, lattice, heart.frame.size_mm).transpose(0, *(back + 1))
            box = tuple(slice(w[0], w[-1] + 1) for w in (within[u] for u in back))
            out[(slice(None), *box)] = logits
        return out
    index = np.stack(np.meshgrid(*map(np.arange, count), indexing="ij"), axis=-1)
    points = corner + index.reshape(-1, 3) @ steps
    inside = (np.abs(points) <= 1).all(axis=1)
    device = next(iter(heart.code.values())).device
    with torch.no_grad():
        parts = [
            shape(part[None].to(device), heart.code)[0].cpu()
            for part in torch.from_numpy(points[inside].astype(np.float32)).split(CHUNK)
        ]
    if parts:
        out.reshape(len(out), -1)[:, inside] = torch.cat(parts).numpy().T
    return out
