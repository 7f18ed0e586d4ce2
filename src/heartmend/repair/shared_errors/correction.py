"""Correction of errors that all cases share: a table on the template that moves the surfaces of each case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from heartmend.geometry.distance import CLIP_MM, DistanceMap, smooth_distance_mm
from heartmend.geometry.roi import Roi
from heartmend.repair.shared_errors.estimate import PatchError
from heartmend.repair.shared_errors.surface import Floats, SurfacePatches, near_patches, unit_lattice

SIDE = 40
"""Cells along each side of the table of errors that were measured at patches."""
SMOOTH_MM = 4.0
"""Standard deviation of the weights with which the patches about a place are averaged."""
DECISION_MM = 8.0
"""The same for the decision whether a surface moves at all: one patch is no evidence."""
NEAREST = 12
"""Patches that are averaged."""
NO_EDGE_WEIGHT = 0.5
"""Weight of a patch without an edge: it stays, but less certainly than its neighbours move."""
MEASUREMENT_MM = 0.1
"""Standard deviation of the offset of an edge that more cases do not lower."""
IGNORED_MM, CERTAIN_MM = 0.4, 0.6
"""A smaller error is not corrected, as it is within the accuracy of the method; a larger one is corrected in full."""
OWN_MM = 0.4
"""The width of a vessel that differs less from that of a usual case is no error of its own."""
MOVED_MM = 0.1
"""Where a surface was moved already, a smaller error is not corrected further."""


@dataclass(frozen=True, eq=False)
class Correction:
    """Correction of the surfaces of a cohort.

    Attributes:
        table_mm: (side, side, side, head) float32, by how much each surface moves outwards, on the cells of the
            template's unit frame.
        heads: names of the structures.
        tubes_mm: by how much the surface of each thin vessel moves outwards, everywhere, by name.
        typical_tubes_mm: by how much the lumen in the CT lies outside that surface in a usual case, by name. A case
            that differs much from it has an error of its own. Empty where no CTs were measured.
    """

    table_mm: npt.NDArray[np.float32]
    heads: tuple[str, ...]
    tubes_mm: Mapping[str, float] = field(default_factory=dict)
    typical_tubes_mm: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def none(cls, heads: tuple[str, ...]) -> Correction:
        """Create a correction that moves nothing.

        Args:
            heads: names of the structures.

        Returns:
            The correction.
        """
        return cls(np.zeros((SIDE, SIDE, SIDE, len(heads)), np.float32), heads)

    @property
    def largest_mm(self) -> dict[str, float]:
        """Largest absolute movement of each structure, in mm."""
        return {name: float(np.abs(self.table_mm[..., head]).max()) for head, name in enumerate(self.heads)}

    def at(self, points: Floats) -> npt.NDArray[np.float32]:
        """Interpolate the movements at points.

        Args:
            points: (n, 3) coordinates in the template's unit frame.

        Returns:
            (n, head) float32, in mm outwards.
        """
        places = (np.asarray(points, np.float64).T + 1) * self.table_mm.shape[0] / 2 - 0.5
        columns = [
            map_coordinates(self.table_mm[..., head], places, order=1, mode="nearest")
            for head in range(len(self.heads))
        ]
        return np.stack(columns, axis=-1).astype(np.float32)

    def tube_shift_mm(self, name: str, own_mm: float | None) -> float:
        """Compute by how much the surface of a thin vessel of a case moves outwards.

        Args:
            name: name of the structure.
            own_mm: by how much the lumen in its own CT lies outside the surface; None where that is not known.

        Returns:
            The movement that all cases have in common, and that of the case where it differs by `OWN_MM` or more from
            a usual case.
        """
        shared = self.tubes_mm.get(name, 0.0)
        if own_mm is None or name not in self.typical_tubes_mm:
            return shared
        rest = own_mm - self.typical_tubes_mm[name]
        return shared + (rest if abs(rest) >= OWN_MM else 0.0)

    def apply(
        self, maps: Mapping[str, DistanceMap], roi: Roi, to_template: Callable[[Floats], Floats]
    ) -> dict[str, DistanceMap]:
        """Move the surfaces of a case.

        Args:
            maps: distance map of each structure on the voxels of the ROI, by name. An absent structure stays absent.
            roi: the region of interest.
            to_template: maps points (n, 3) of the case's unit frame to the template's.

        Returns:
            The moved maps; those of structures without a correction are the same objects.
        """
        moved = dict(maps)
        largest_mm = self.largest_mm
        heads = [at for at, name in enumerate(self.heads) if largest_mm[name] > 0 and name in maps]
        if not heads:
            return moved
        side = self.table_mm.shape[0]
        cells = self.at(to_template(unit_lattice(side))).reshape(side, side, side, -1)
        for head in heads:
            name = self.heads[head]
            if maps[name].inside.any():
                shift = roi.image_to_source(cells[..., head])
                mm = smooth_distance_mm(maps[name].inside, roi.grid.spacing_mm)
                # Not from the stored distances: near the surface they are those of a vote between shape and label.
                # Beyond the clipped distances no surface can move to a voxel.
                mm = np.where(np.abs(mm) < CLIP_MM - 0.1, mm + shift, mm)
                moved[name] = DistanceMap.of_mm(mm, keep_inside=True)
        return moved


def correct_patches(
    before: Correction, errors: Sequence[PatchError], patches: Mapping[str, SurfacePatches], names: Mapping[int, str]
) -> Correction:
    """Correct the errors that were measured at patches.

    A surface without evidence stays where it is; between it and a corrected one the movement changes smoothly. An
    error within the accuracy of the method is no reason to move a surface; one that was moved already is moved more
    precisely.

    Args:
        before: the correction that was applied when the errors were measured.
        errors: the errors.
        patches: patches of each structure, by name.
        names: id -> name of the structures.

    Returns:
        The correction before and the further one together.
    """
    table = before.table_mm.copy()
    for head, name in enumerate(before.heads):
        own = _with_evidence([error for error in errors if names.get(error.structure) == name])
        if name in patches and any(error.evidence == "measured" for error in own):
            moved_mm = before.at(np.array([error.place for error in own]))[:, head]
            table[..., head] += _spread(own, patches[name].size_mm, moved_mm).reshape(SIDE, SIDE, SIDE)
    return replace(before, table_mm=table)


def _with_evidence(errors: Sequence[PatchError]) -> list[PatchError]:
    """The measured patches, and those of borders that have no edge anywhere: these stay.

    A patch that was not measured at a border with edges says nothing: it moves as its neighbours do.
    """
    with_edge = {error.border for error in errors if error.evidence == "measured"}
    return [
        error for error in errors
        if error.evidence == "measured" or (error.evidence == "none" and error.border not in with_edge)
    ]  # fmt: skip


def _spread(
    errors: Sequence[PatchError], size_mm: Floats, moved_mm: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """The movement (cells,) outwards in mm: a weighted mean of the patches about each cell."""
    half = size_mm / 2
    # Not the middle of the patch: a part of it may border on another structure, without an edge.
    places = np.array([error.place for error in errors]) * half
    is_measured = np.array([error.evidence == "measured" for error in errors])
    uncertain = np.array([error.standard_error_mm for error in errors])
    uncertain[~is_measured] = np.median(uncertain[is_measured])
    area = np.array([error.n_cases * error.samples for error in errors]) * np.where(is_measured, 1, NO_EDGE_WEIGHT)
    precision = area / (np.square(uncertain) + MEASUREMENT_MM**2)
    movement = -np.array([error.mean_mm for error in errors])
    at_patches = _average(places, movement, precision, places)
    is_moved = np.abs(moved_mm) > MOVED_MM
    low, high = np.where(is_moved, MOVED_MM, IGNORED_MM), np.where(is_moved, 2 * MOVED_MM, CERTAIN_MM)
    measured = places[is_measured], movement[is_measured], precision[is_measured]
    about = _average(*measured, places, DECISION_MM)
    at_patches *= np.clip((np.abs(about) - low) / (high - low), 0, 1)
    return _average(places, at_patches, precision, unit_lattice(SIDE) * half)


def _average(
    places: Floats, values: Floats, weights: Floats, at: Floats, width_mm: float = SMOOTH_MM
) -> npt.NDArray[np.float64]:
    """Weighted mean of the values near each point; far from all places the value of the nearest ones."""
    kernel, nearest = near_patches(places, at, width_mm, NEAREST)
    kernel = kernel * weights[nearest]
    mean: npt.NDArray[np.float64] = (kernel * values[nearest]).sum(axis=1) / kernel.sum(axis=1)
    return mean
