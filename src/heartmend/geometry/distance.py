"""Signed distance maps in millimetres."""

from __future__ import annotations

from collections.abc import Sequence

import edt
import numpy as np
import numpy.typing as npt

from heartmend.geometry.boxes import filled_box
from heartmend.geometry.components import without_small_components
from heartmend.geometry.roi import Resolution, Roi
from heartmend.types import Labels, Mask

CLIP_MM = 8.0
"""Distances are kept up to here: further off they say nothing that helps, and a byte holds them."""


STEP_MM = CLIP_MM / 127


def signed_distance_mm(mask: Mask, spacing_mm: Sequence[float], clip_mm: float = CLIP_MM) -> npt.NDArray[np.float32]:
    """Signed distance (x, y, z) in mm to the boundary of a mask, positive inside, clipped at ± `clip_mm`.

    The boundary runs on the faces between voxels; where the volume ends there is none, so a structure that leaves
    the field of view is not closed there. Computed in the mask's own box.
    """
    out = np.full(mask.shape, -clip_mm, dtype=np.float32)
    box = filled_box(mask, [int(np.ceil(clip_mm / s)) + 2 for s in spacing_mm])
    if box is None:
        return out
    part = np.ascontiguousarray(mask[box])
    half = min(spacing_mm) / 2
    # edt takes False as the target.
    inward = np.maximum(edt.edt(part, anisotropy=spacing_mm) - half, 0)
    outward = np.maximum(edt.edt(~part, anisotropy=spacing_mm) - half, 0)
    out[box] = np.clip(inward - outward, -clip_mm, clip_mm)
    return out


def unit_frame_distance_mm(source: Labels, roi: Roi, resolution: Resolution, id: int) -> npt.NDArray[np.float32]:
    """Signed distance (nx, ny, nz) in mm to one structure at the cells of the unit frame, its crumbs left out.

    Measured on the source's own voxels and then read between them: a cell that took the label of the nearest voxel
    would know the surface to half a cell only.
    """
    return roi.resample_field(
        signed_distance_mm(without_small_components(source == id), roi.grid.spacing_mm), resolution
    )
