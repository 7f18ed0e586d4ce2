"""Smooth, closed surfaces of a heart's structures in mm, from the function itself and not from a label map."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.mesh import Mesh, mesh_of_distance
from heartmend.models.heart_model import Heart, HeartModel, fields_on
from heartmend.models.label_decision import Fields, Thresholds, margin_mm


def surfaces_of(model: HeartModel, heart: Heart, spacing_mm: float = 0.8, names: Iterable[str] = ()) -> dict[str, Mesh]:
    """The surface of each structure that the heart has (of `names` alone, if given), within its frame.

    spacing_mm: of the lattice on which the function is asked; between its points the surface is found by
    interpolation (marching cubes: Lewiner et al. 2003). What leaves the frame is closed at its face.
    """
    counts = [max(int(np.ceil(length / spacing_mm)), 8) for length in heart.frame.size_mm]
    grid = heart.frame.grid_at((counts[0], counts[1], counts[2]))
    fields = fields_on(model, heart, grid)
    wanted = [model.anatomy.by_name(name).name for name in names] or list(model.shape.heads)
    found = {}
    for name in wanted:
        mesh = mesh_of_distance(claim(fields, model.anatomy, model.thresholds, name), grid)
        if len(mesh.triangles):
            found[name] = mesh
    return found


def claim(fields: Fields, anatomy: Anatomy, thresholds: Thresholds, name: str) -> npt.NDArray[np.float32]:
    """How deep (mm) each point lies in what a structure has when all have claimed theirs: the label map's decision as
    a function without steps."""
    depth = fields[name] - np.float32(margin_mm(thresholds.get(name, 0.5)))
    for other in anatomy.priority[: anatomy.priority.index(name)]:
        if other in fields:
            depth = np.minimum(depth, np.float32(margin_mm(thresholds.get(other, 0.5))) - fields[other])
    return depth
