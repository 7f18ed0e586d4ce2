"""Size and shape of structures, compared with what is possible for their kind."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
from scipy.ndimage import find_objects

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.grid import Grid
from heartmend.types import Labels

Bounds = dict[str, tuple[float, float]]
_UNITS = {"volume_ml": ("", "ml"), "extent_mm": ("extent ", "mm"), "thickness_mm": ("mean thickness ", "mm")}


@dataclass(frozen=True)
class StructureSize:
    """Size and shape of a structure.

    Attributes:
        volume_ml: its volume.
        extent_mm: longest side of its bounding box along the axes of the file.
        thickness_mm: 6 x volume / area of its voxel faces: about the diameter of a tube.
    """

    volume_ml: float
    extent_mm: float
    thickness_mm: float


@lru_cache(maxsize=1)
def structure_bounds() -> dict[str, dict[str, Bounds]]:
    """Read the bounds of the sizes of structures.

    Returns:
        Anatomy -> kind of structure -> measure -> lowest and highest value.
    """
    text = resources.files("heartmend.quality").joinpath("structure_bounds.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def measure_sizes(labels: Labels, grid: Grid, anatomy: Anatomy) -> dict[str, StructureSize]:
    """Measure the structures of a label map.

    Args:
        labels: (x, y, z) uint8, ids of the anatomy.
        grid: where the voxels are.
        anatomy: the structures.

    Returns:
        The size of each structure that is present.
    """
    spacing = np.array(grid.spacing_mm)
    voxel_mm3 = float(spacing.prod())
    boxes = find_objects(labels, max(anatomy.ids))
    sizes = {}
    for structure in anatomy.structures:
        box = boxes[structure.id - 1]
        if box is None:
            continue
        mask = np.pad(labels[box] == structure.id, 1)
        faces_mm2 = sum(
            np.count_nonzero(np.diff(mask, axis=axis)) * voxel_mm3 / spacing[axis] for axis in range(mask.ndim)
        )
        volume_mm3 = np.count_nonzero(mask) * voxel_mm3
        extent_mm = max((part.stop - part.start) * mm for part, mm in zip(box, spacing, strict=True))
        sizes[structure.name] = StructureSize(
            round(volume_mm3 / 1000, 4), round(float(extent_mm), 2), round(float(6 * volume_mm3 / faces_mm2), 3)
        )
    return sizes


def impossible_size(name: str, size: StructureSize, anatomy: Anatomy) -> str:
    """Compare the size and the shape of a structure with what is possible for its kind.

    Args:
        name: name of the structure.
        size: its size.
        anatomy: the structures.

    Returns:
        A warning; empty if the size is possible, or if there are no bounds for the anatomy.

    Example:
        >>> from heartmend.anatomy.load import load_anatomy
        >>> print(impossible_size("Myocardium", StructureSize(5, 130, 2.5), load_anatomy("heart")))
        Myocardium: 5 ml (possible: 8 to 900 ml), mean thickness 2.5 mm (possible: 5 to 60 mm): are these Coronary?
    """
    kinds = structure_bounds().get(anatomy.name, {})
    kind = anatomy.by_name(name).kind
    outside = _outside(size, kinds.get(kind, {}))
    if not outside:
        return ""
    # A thin structure is recognised by its shape; the other kinds have sizes in common.
    fitting = [other for other, bounds in kinds.items() if not _outside(size, bounds)]
    guess = ""
    if "tube" in fitting and "thickness_mm" in outside:
        guess = ": are these " + " or ".join(s.name for s in anatomy.structures if s.kind == "tube") + "?"
    parts = [
        f"{_UNITS[measure][0]}{getattr(size, measure):.3g} {_UNITS[measure][1]} "
        f"(possible: {low:g} to {high:g} {_UNITS[measure][1]})"
        for measure, (low, high) in outside.items()
    ]
    return f"{name}: {', '.join(parts)}{guess}"


def _outside(size: StructureSize, bounds: Bounds) -> Bounds:
    """The bounds that a size violates."""
    return {m: (low, high) for m, (low, high) in bounds.items() if not low <= getattr(size, m) <= high}
