"""Surface extraction from a model: smooth, closed surfaces in mm from the function itself, not from a label map."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.mesh import mesh_of_distance
from heartmend.io.mesh_files import Surface
from heartmend.models.heart_model import Heart, HeartModel, evaluate_distances, grid_with_spacing
from heartmend.models.label_decision import DistanceFields, Thresholds, threshold_depth_mm


def extract_surfaces(
    model: HeartModel, heart: Heart, spacing_mm: float = 0.8, names: Iterable[str] = ()
) -> dict[str, Surface]:
    """Extract the surfaces of a heart's structures by marching cubes (Lewiner et al. 2003).

    Args:
        model: the model.
        heart: one of its hearts, or a new one.
        spacing_mm: grid spacing for surface extraction, in mm.
        names: names of the structures; all if empty.

    Returns:
        For each structure that the heart has its surface in mm, RAS+, closed at the faces of the heart's frame.

    Raises:
        ConfigError: if the anatomy has no such structure, or the spacing is not positive.
    """
    grid = grid_with_spacing(heart.frame, spacing_mm)
    fields = evaluate_distances(model, heart, grid)
    wanted = [model.anatomy.by_name(name) for name in list(names) or model.shape.heads]
    found = {}
    for structure in wanted:
        distance = exclusive_distance_mm(fields, model.anatomy, model.thresholds, structure.name)
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
