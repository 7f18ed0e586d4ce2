"""Surface extraction from a model: smooth, closed surfaces in mm from the function itself, not from a label map."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.grid import Grid
from heartmend.geometry.mesh import mesh_of_distance
from heartmend.io.mesh_files import Surface
from heartmend.models.label_decision import DistanceFields, Thresholds, threshold_depth_mm


def extract_surfaces(
    fields: DistanceFields, grid: Grid, anatomy: Anatomy, thresholds: Thresholds, names: Iterable[str] = ()
) -> dict[str, Surface]:
    """Extract the surfaces of structures from their distances by marching cubes (Lewiner et al. 2003).

    Args:
        fields: signed distances in mm, positive inside, of all structures.
        grid: their grid.
        anatomy: defines the priority.
        thresholds: probability threshold of each structure.
        names: names of the structures; all if empty.

    Returns:
        For each structure that is not empty its surface in mm, RAS+, closed at the faces of the grid.

    Raises:
        ConfigError: if the anatomy has no such structure.
    """
    found = {}
    for structure in (anatomy.by_name(name) for name in list(names) or fields):
        distance = exclusive_distance_mm(fields, anatomy, thresholds, structure.name)
        mesh = mesh_of_distance(distance, grid)
        if len(mesh.triangles):
            found[structure.name] = Surface.of_structure(mesh, structure)
    return found


def exclusive_distance_mm(
    fields: DistanceFields, anatomy: Anatomy, thresholds: Thresholds, name: str
) -> npt.NDArray[np.float32]:
    """Compute the signed distance to a structure without the parts that structures of higher priority take.

    The sign is the decision of the label map; the values have no steps between voxels.

    Args:
        fields: signed distances in mm, positive inside, of all structures.
        anatomy: defines the priority.
        thresholds: probability threshold of each structure.
        name: name of the structure.

    Returns:
        Signed distance in mm (float32) of the same shape as the fields, positive inside.
    """
    depth = fields[name] - np.float32(threshold_depth_mm(thresholds.get(name, 0.5)))
    for other in anatomy.priority[: anatomy.priority.index(name)]:
        if other in fields:
            depth = np.minimum(depth, np.float32(threshold_depth_mm(thresholds.get(other, 0.5))) - fields[other])
    return depth
