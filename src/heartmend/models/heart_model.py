"""The product of a data set: one function, a short code for each heart, and all that is needed to ask it anything."""

from __future__ import annotations

from collections.abc import Iterator
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
from heartmend.models.base import Codes
from heartmend.models.code_book import CodeBook
from heartmend.models.label_decision import decide
from heartmend.models.lattice import CHUNK, Axes, render
from heartmend.models.unified import UnifiedShape
from heartmend.types import Labels

SLAB_VOXELS = 1 << 22


@dataclass(frozen=True, eq=False)
class Heart:
    """One heart of a model: its code (tensors whose first axis has length one), where its unit frame lies, and the
    structures that it lacks."""

    code: Codes
    frame: Roi
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class HeartModel:
    """One function with a head for every structure, and what belongs to it.

    frames: where each case's unit frame lies (its box on the grid that it came on); absent: structures that a case
    lacks; thresholds: how probable each structure must be; calibres: how wide thin vessels are in this cohort;
    lowest_surface_noise_mm2: how rough its cleanest labels are; about: what else a reader may want to know.
    """

    shape: UnifiedShape
    codes: CodeBook
    anatomy: Anatomy
    thresholds: dict[str, float]
    frames: dict[str, Roi]
    absent: dict[str, tuple[str, ...]] = field(default_factory=dict)
    calibres: dict[str, Calibre] = field(default_factory=dict)
    lowest_surface_noise_mm2: dict[str, float] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def heart(self, case_id: str) -> Heart:
        """The heart of a case; ConfigError, telling some that there are, when the model does not hold it."""
        if case_id not in self.frames:
            ids = list(self.codes.ids)
            some = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
            raise ConfigError(f"the model holds no case {case_id!r}; it has {len(ids)}: {some}")
        return Heart(self.codes.of([case_id]), self.frames[case_id], tuple(self.absent.get(case_id, ())))


Fields = dict[str, npt.NDArray[np.float32]]


def fields_on(model: HeartModel, heart: Heart, grid: Grid) -> Fields:
    """Signed distances in mm (positive inside) of every structure at the voxels of a grid.

    Outside the heart's frame nothing is known: there, and of a structure that it lacks, all are `CLIP_MM` outside.
    """
    parts = [part for _, part in _slabs(model, heart, grid)]
    logits = np.concatenate(parts, axis=1)
    return dict(zip(model.shape.heads, logits, strict=True))


def labels_on(model: HeartModel, heart: Heart, grid: Grid) -> Labels:
    """The label map (x, y, z) on any grid: one evaluation, coarse to fine, a slab at a time."""
    labels = np.zeros(grid.shape, dtype=np.uint8)
    for slab, logits in _slabs(model, heart, grid):
        fields = dict(zip(model.shape.heads, logits, strict=True))
        labels[slab] = decide(fields, model.anatomy, model.thresholds)
    return labels


def _slabs(model: HeartModel, heart: Heart, grid: Grid) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
    """Logits (head, n, ny, nz) of one run of slices of the grid's first axis after the other."""
    frame, lacking = heart.frame, [model.shape.heads.index(name) for name in heart.absent]
    # From an index of the grid to the unit frame is an affine map.
    corner = frame.index_to_unit(frame.grid.world_to_index(grid.index_to_world(np.zeros(3))))
    steps = frame.index_to_unit(frame.grid.world_to_index(grid.index_to_world(np.eye(3)))) - corner
    thick = max(SLAB_VOXELS // (grid.shape[1] * grid.shape[2]), 8)
    for start in range(0, grid.shape[0], thick):
        stop = min(start + thick, grid.shape[0])
        shape = (stop - start, grid.shape[1], grid.shape[2])
        logits = _asked(model.shape, heart, corner + start * steps[0], steps, shape)
        logits[lacking] = -CLIP_MM
        yield slice(start, stop), logits


def _asked(
    shape: UnifiedShape, heart: Heart, corner: np.ndarray, steps: np.ndarray, count: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    out = np.full((len(shape.heads), *count), -CLIP_MM, dtype=np.float32)
    carriers = np.abs(steps).argmax(axis=0)
    off = steps.copy()
    off[carriers, range(3)] = 0
    if sorted(carriers) == [0, 1, 2] and np.abs(off * np.array(count)[:, None]).max() < 1e-4:
        # The grid's axes are the frame's, in some order: the lattice is asked coarse to fine.
        axes = [corner[u] + steps[g, u] * np.arange(count[g]) for u, g in enumerate(carriers)]
        within = [np.flatnonzero(np.abs(axis) <= 1) for axis in axes]
        if all(len(w) for w in within):
            x, y, z = (axis[w].astype(np.float32) for axis, w in zip(axes, within, strict=True))
            lattice: Axes = (x, y, z)
            back = np.argsort(carriers)
            logits = render(shape, heart.code, lattice, heart.frame.size_mm).transpose(0, *(back + 1))
            box = tuple(slice(w[0], w[-1] + 1) for w in (within[u] for u in back))
            out[(slice(None), *box)] = logits
        return out
    index = np.stack(np.meshgrid(*map(np.arange, count), indexing="ij"), axis=-1)
    points = corner + index.reshape(-1, 3) @ steps
    inside = (np.abs(points) <= 1).all(axis=1)
    device = next(iter(heart.code.values())).device
    with torch.no_grad():
        told = [
            shape(part[None].to(device), heart.code)[0].cpu()
            for part in torch.from_numpy(points[inside].astype(np.float32)).split(CHUNK)
        ]
    if told:
        out.reshape(len(out), -1)[:, inside] = torch.cat(told).numpy().T
    return out
