"""Chambers that are as dark as the muscle in a CT: what is seen there is the outside of their wall, not their surface.

Where contrast medium has left the right heart, its blood and its thin wall have the same level. The edge between the
wall and the fat is 1 to 3 mm outside the chamber, all around.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.distance import DistanceMap

DEPTH_MM, MIN_VOXELS = 2.0, 200
"""Levels are measured at this depth and deeper, in at least so many voxels."""
MIN_STEP_HU = 20.0
"""A chamber whose level is nearer to that of the muscle has no surface of its own. (Measured: chambers with 25 HU and
more come nearer to the truth by their edges; with 15 HU and less they go away from it.)"""


def chambers_like_muscle(
    maps: Mapping[str, DistanceMap], image: npt.NDArray[np.generic], anatomy: Anatomy
) -> frozenset[str]:
    """Find the chambers that are as dark as the muscle.

    Args:
        maps: distance map (x, y, z) of each structure, by name.
        image: (x, y, z) CT in HU on the same voxels.
        anatomy: the structures.

    Returns:
        Their names; none where the muscle cannot be measured.
    """
    walls = [one.name for one in anatomy.structures if one.kind == "wall"]
    chambers = [one.name for one in anatomy.structures if one.kind == "chamber"]
    levels = {name: _level(maps[name], image) for name in (*walls, *chambers) if name in maps}
    muscle = [level for name in walls if (level := levels.get(name)) is not None]
    if not muscle:
        return frozenset()
    near = {name: abs(level - np.mean(muscle)) for name in chambers if (level := levels.get(name)) is not None}
    return frozenset(name for name, step in near.items() if step < MIN_STEP_HU)


def _level(distances: DistanceMap, image: npt.NDArray[np.generic]) -> float | None:
    deep = distances.steps > DEPTH_MM / distances.step_mm
    return float(np.median(np.asarray(image[deep], np.float64))) if np.count_nonzero(deep) >= MIN_VOXELS else None
