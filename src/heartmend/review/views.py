"""Views of a case beyond the planes of its axes: those of cardiac imaging, and straightened vessels."""

from __future__ import annotations

from typing import Any

import numpy as np

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.centrelines.vessel_paths import find_vessel_paths
from heartmend.geometry.grid import Grid
from heartmend.geometry.heart_axes import find_heart_axes
from heartmend.types import Labels, Mask

LEFT_VENTRICLE, LEFT_ATRIUM, RIGHT_VENTRICLE, AORTA = "LV", "LA", "RV", "Aorta"
"""Names of the structures that the views are derived from; an anatomy without them has no such views."""


def describe_views(labels: Labels, grid: Grid, anatomy: Anatomy) -> dict[str, Any]:
    """Compute the views of a case.

    Args:
        labels: repaired label map (x, y, z) of the displayed part.
        grid: grid of the displayed part.
        anatomy: anatomy of the label map.

    Returns:
        JSON: `planes` with name, centre (RAS+ mm), right, up and sides of each (empty where there are no axes), and
        `vessels` with structure, length_mm, step_mm, points and normals of each path.
    """

    def mask(name: str) -> Mask:
        return labels == anatomy.by_name(name).id if name in anatomy.names else np.zeros(labels.shape, bool)

    axes = find_heart_axes(mask(LEFT_VENTRICLE), mask(LEFT_ATRIUM), mask(RIGHT_VENTRICLE), grid)
    planes = [
        {"name": p.name, "centre": p.centre_mm.round(3).tolist(), "right": p.right.round(6).tolist(),
         "up": p.up.round(6).tolist(), "sides": p.sides}
        for p in (axes.planes() if axes else ())
    ]  # fmt: skip
    vessels = [
        {"structure": s.name, "length_mm": round(path.length_mm, 1), "step_mm": path.step_mm,
         "points": path.points_mm.round(2).ravel().tolist(), "normals": path.normal.round(4).ravel().tolist()}
        for s in anatomy.structures if s.kind == "tube"
        for path in find_vessel_paths(mask(s.name), grid, mask(AORTA))
    ]  # fmt: skip
    return {"planes": planes, "vessels": vessels}
