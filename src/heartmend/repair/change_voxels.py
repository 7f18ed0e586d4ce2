"""Changes as sets of voxels: every voxel that differs between two label maps belongs to exactly one change.

A change of the log has a box, a structure and an action. It gets the voxels in its box that the action explains; of
two changes, the one with the smaller box is the more precise and is served first. Where far more voxels than the log
counts are explained, such as by specks all over the heart, it gets the smallest components up to that count. What no
entry of the log explains is the movement of the surface: its thick parts are changes of their own, the thin rest is
one change for each structure.

The key of a change is the digest of its voxels with their values before and after. A decision names it, so that it is
valid for exactly these voxels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.components import label_components
from heartmend.geometry.distance import signed_distance_mm
from heartmend.geometry.grid import Grid
from heartmend.repair.changes import ORIGINAL_KEPT, REVIEW_MM3, Change, Severity, box_in_mm
from heartmend.types import BACKGROUND, Labels, Mask

RULE = "surface"
"""Name of the changes that no entry of the log explains."""
REMARKS = frozenset({ORIGINAL_KEPT, "not joined", "not moved", "cut off"})
"""Actions that changed nothing."""
_GAINED = frozenset({"filled", "joined", "bridged", "extended", "widened"})
_LOST = frozenset({"removed", "pruned", "narrowed", "moved to neighbours"})
THICK_MM = 1.5
"""A part of a moved surface that is deeper than this is a change of its own, from `MIN_PART_MM3` on."""
MIN_PART_MM3 = 100.0
EXCESS, EXCESS_VOXELS = 1.5, 20
"""A change of the log gets all voxels that it explains unless they are more than this multiple of its count, and so
many more."""
_ROUNDING_MM = 0.02
"""Boxes are rounded to 0.01 mm."""

IntArray = npt.NDArray[np.integer]


@dataclass(frozen=True)
class VoxelChange:
    """A change with the voxels that it has in the result, or a remark.

    Attributes:
        change: the entry of the log; `voxels` and `volume_mm3` are those of the result where there are any.
        key: digest of its voxels; empty for a remark, and for a change that others have overwritten.
        structures: names of the structures that gained or lost a voxel by it.
    """

    change: Change
    key: str
    structures: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class CaseChanges:
    """Changes of a case with their voxels.

    Attributes:
        changes: the changes: those of the log in their order, then those of the surfaces.
        voxels: (n,) int64 flat index (x, y, z in C order) of each changed voxel, ascending.
        numbers: (n,) uint16 position in `changes` of the change that each of them belongs to.
    """

    changes: tuple[VoxelChange, ...]
    voxels: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.uint16]

    def volume(self, shape: Sequence[int]) -> npt.NDArray[np.uint16]:
        """Draw the numbers of the changes into a volume.

        Args:
            shape: shape of the label maps.

        Returns:
            (x, y, z): 0 where nothing changed, else one more than the position in `changes`.
        """
        drawn = np.zeros(int(np.prod(shape)), np.uint16)
        drawn[self.voxels] = self.numbers + 1
        return drawn.reshape(tuple(shape))


def split_into_changes(
    before: Labels, after: Labels, grid: Grid, anatomy: Anatomy, log: Sequence[Change]
) -> CaseChanges:
    """Split the difference of two label maps into changes.

    Args:
        before: (x, y, z) uint8, the original label map.
        after: (x, y, z) uint8, the repaired label map.
        grid: grid of both.
        anatomy: the structures.
        log: entries of the change log of the case.

    Returns:
        The changes. Each changed voxel belongs to one of them, and each change to one structure: an entry of the log
        about all structures becomes one change for each.
    """
    difference = _Difference.of(before, after, grid, anatomy)
    entries = [
        (position, change) for position, change in enumerate(log) if change.action not in REMARKS
    ]  # fmt: skip
    found: dict[int, list[VoxelChange]] = {position: [] for position in range(len(log))}
    members: list[tuple[VoxelChange, IntArray]] = []
    for position, change in sorted(entries, key=lambda entry: _box_mm3(entry[1])):
        for part, chosen in difference.claim(change):
            found[position].append(part)
            members.append((part, chosen))
    surfaces = list(difference.claim_surfaces())
    members += surfaces
    changes = []
    for position, change in enumerate(log):
        changes += found[position] or [VoxelChange(change, "", (change.structure,) if change.structure else ())]
    changes += [part for part, _ in surfaces]
    order = {id(part): number for number, part in enumerate(changes)}
    numbers = np.zeros(len(difference.voxels), np.uint16)
    for part, chosen in members:
        numbers[chosen] = order[id(part)]
    return CaseChanges(tuple(changes), difference.voxels, numbers)


def _box_mm3(change: Change) -> float:
    low, high = np.array(change.box_mm)
    return float(np.prod(high - low))


@dataclass(frozen=True, eq=False)
class _Difference:
    """The voxels that differ, with their values, positions, and which of them are not in a change yet."""

    voxels: npt.NDArray[np.int64]
    before: Labels
    after: Labels
    index: IntArray
    points_mm: npt.NDArray[np.float64]
    is_free: Mask
    grid: Grid
    anatomy: Anatomy

    @classmethod
    def of(cls, before: Labels, after: Labels, grid: Grid, anatomy: Anatomy) -> _Difference:
        index = np.argwhere(before != after)
        voxels = np.flatnonzero(before != after).astype(np.int64)
        at = tuple(index.T)
        points = grid.index_to_world(index) if len(index) else np.zeros((0, 3))
        return cls(voxels, before[at], after[at], index, points, np.ones(len(index), bool), grid, anatomy)

    @property
    def owner(self) -> Labels:
        """The structure that a voxel belongs to now, or did where it is background now."""
        return np.where(self.after == BACKGROUND, self.before, self.after)

    def claim(self, change: Change) -> Iterator[tuple[VoxelChange, IntArray]]:
        """Give a change of the log the free voxels that it explains."""
        low, high = np.array(change.box_mm)
        inside = ((self.points_mm >= low - _ROUNDING_MM) & (self.points_mm <= high + _ROUNDING_MM)).all(axis=1)
        chosen: IntArray = np.flatnonzero(self.is_free & inside & self._is_explained(change))
        count = abs(change.voxels)  # older runs counted the voxels of a widened vessel as negative
        if count and len(chosen) > EXCESS * count + EXCESS_VOXELS:
            chosen = self._smallest_components(chosen, count)
        if change.structure in self.anatomy.names:
            owners = [change.structure]
        else:
            owners = [self.anatomy.by_id(int(id)).name for id in np.unique(self.owner[chosen])]
        for name in owners:
            part = chosen
            if change.structure not in self.anatomy.names:
                part = chosen[self.owner[chosen] == self.anatomy.by_name(name).id]
            if len(part):
                yield self._change(replace(change, structure=name), part), part

    def claim_surfaces(self) -> Iterator[tuple[VoxelChange, IntArray]]:
        """Give the voxels that are still free to the surfaces of their structures."""
        owner = self.owner
        for structure in self.anatomy.structures:
            chosen = np.flatnonzero(self.is_free & (owner == structure.id))
            for part, is_thick in self._parts(chosen):
                mm3 = len(part) * self.grid.voxel_mm3
                severity: Severity = "review" if is_thick and mm3 >= REVIEW_MM3 else "info"
                note = f"by the shape of the heart, deeper than {THICK_MM:g} mm" if is_thick else "by the shape"
                change = Change(RULE, structure.name, "moved", 0, 0.0, self._box_mm(part), severity, note)
                yield self._change(change, part), part

    def _parts(self, chosen: IntArray) -> Iterator[tuple[IntArray, bool]]:
        """Thick parts of a moved surface, the largest first, and then the rest of it."""
        if not len(chosen):
            return
        mask, at = self._mask(chosen)
        cores, _ = label_components(signed_distance_mm(mask, self.grid.spacing_mm) > THICK_MM)
        if not cores.any():
            yield chosen, False
            return
        # A part reaches as far around its core as the core is below the surface.
        reach_mm, nearest = distance_transform_edt(cores == 0, sampling=self.grid.spacing_mm, return_indices=True)
        label = np.where(reach_mm <= 2 * THICK_MM, cores[tuple(nearest)], 0)[at]
        parts = [chosen[label == number] for number in range(1, int(cores.max()) + 1)]
        parts = [part for part in parts if len(part) * self.grid.voxel_mm3 >= MIN_PART_MM3]
        for part in sorted(parts, key=len, reverse=True):
            yield part, True
        rest = np.setdiff1d(chosen, np.concatenate(parts)) if parts else chosen
        if len(rest):
            yield rest, False

    def _mask(self, chosen: IntArray) -> tuple[Mask, tuple[IntArray, ...]]:
        """The chosen voxels as a mask of their box with a margin, and their indices in it."""
        low = self.index[chosen].min(axis=0) - 1
        at = tuple((self.index[chosen] - low).T)
        mask = np.zeros(self.index[chosen].max(axis=0) - low + 2, bool)
        mask[at] = True
        return mask, at

    def _smallest_components(self, chosen: IntArray, limit: int) -> IntArray:
        """Those of the chosen voxels that are in the smallest components, at most `limit`."""
        mask, at = self._mask(chosen)
        components, sizes = label_components(mask)
        order = np.argsort(sizes[1:], kind="stable") + 1
        taken = order[np.cumsum(sizes[order]) <= limit]
        return chosen[np.isin(components[at], taken)]

    def _is_explained(self, change: Change) -> Mask:
        action = change.action
        if not change.structure:
            return np.ones(len(self.voxels), bool)
        id = self.anatomy.by_name(change.structure).id if change.structure in self.anatomy.names else BACKGROUND
        had, has = self.before == id, self.after == id
        if action in _GAINED:
            return has & ~had
        if action in _LOST:
            return had & ~has
        target = action.removeprefix("moved to ")
        if target != action and target in self.anatomy.names:
            return had & (self.after == self.anatomy.by_name(target).id)
        return had | has

    def _change(self, change: Change, chosen: IntArray) -> VoxelChange:
        self.is_free[chosen] = False
        before, after = self.before[chosen], self.after[chosen]
        mm3 = round(len(chosen) * self.grid.voxel_mm3, 2)
        ids = set(np.unique(before).tolist()) | set(np.unique(after).tolist())
        names = tuple(s.name for s in self.anatomy.structures if s.id in ids)
        digest = hashlib.blake2b(self.voxels[chosen].astype("<i8").tobytes(), digest_size=6)
        digest.update(before.tobytes())
        digest.update(after.tobytes())
        # The letter keeps a spreadsheet from reading a number.
        key = f"c{digest.hexdigest()}"
        return VoxelChange(replace(change, voxels=len(chosen), volume_mm3=mm3), key, names)

    def _box_mm(self, chosen: IntArray) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        low, high = self.index[chosen].min(axis=0), self.index[chosen].max(axis=0)
        return box_in_mm(tuple(slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True)), self.grid)  # type: ignore[arg-type]
