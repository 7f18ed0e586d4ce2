"""What the page draws: the two label maps and the CT cut to the heart, axes to the right, the front and the head.

Both label maps travel as one stream of byte pairs (before, after), x fastest, so that the page blends them as it
draws; surfaces as a small table of counts and then their numbers. All of it is packed once and sent as it lies.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.grid import Grid
from heartmend.geometry.mesh import mesh_of_mask
from heartmend.types import Labels

MARGIN_MM = 15.0
# The page shows the CT in bytes: steps of 6 HU from -500 to 1,024 hold lung, fat, muscle and contrast apart.
LOWEST_HU, STEP_HU = -500.0, 6.0
# Surfaces coarser than this lose the shape of an appendage; thin vessels keep every voxel.
SURFACE_STEP_MM = 1.4


@dataclass(frozen=True)
class Window:
    """The part of a case's grid that is shown: voxels start to stop in RAS+ order, and the grid of that part."""

    orientation: tuple[tuple[int, int], ...]
    start: tuple[int, int, int]
    grid: Grid

    @classmethod
    def about(cls, mask: npt.NDArray[np.bool_], grid: Grid, margin_mm: float = MARGIN_MM) -> Window:
        """The window about a mask with a margin; all of the grid for an empty mask."""
        turn, affine = _to_ras(grid)
        turned = apply_orientation(mask, turn)
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        start, stop = [0, 0, 0], list(turned.shape)
        if turned.any():
            for axis in range(3):
                line = np.flatnonzero(turned.any(axis=tuple(a for a in range(3) if a != axis)))
                margin = round(margin_mm / float(spacing[axis]))
                start[axis] = max(int(line[0]) - margin, 0)
                stop[axis] = min(int(line[-1]) + margin + 1, turned.shape[axis])
        origin = affine @ [*start, 1]
        moved = affine.copy()
        moved[:3, 3] = origin[:3]
        shape = tuple(b - a for a, b in zip(start, stop, strict=True))
        kept = tuple((int(a), int(b)) for a, b in turn)
        return cls(kept, (start[0], start[1], start[2]), Grid(shape, moved))

    @classmethod
    def showing(cls, shown: Grid, grid: Grid) -> Window:
        """The window of `grid` whose grid is `shown`: the way back from a window that was kept by its grid."""
        turn, affine = _to_ras(grid)
        x, y, z = np.rint(np.linalg.solve(affine, [*shown.affine[:3, 3], 1])[:3]).astype(int).tolist()
        return cls(tuple((int(a), int(b)) for a, b in turn), (x, y, z), shown)

    def of(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """The shown part of a volume (x, y, z) in the file's own order."""
        turned = apply_orientation(values, np.array(self.orientation, dtype=float))
        part = tuple(slice(a, a + n) for a, n in zip(self.start, self.grid.shape, strict=True))
        return turned[part]


def _to_ras(grid: Grid) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """How to turn a volume's axes to the right, the front and the head, and the affine of the turned one."""
    turn = io_orientation(grid.affine)
    return turn, grid.affine @ inv_ornt_aff(turn, grid.shape)


def pack_maps(before: Labels, after: Labels) -> bytes:
    """Byte pairs (before, after), x fastest, gzipped."""
    pairs = np.stack([before.ravel(order="F"), after.ravel(order="F")], axis=1)
    return gzip.compress(pairs.tobytes(), compresslevel=4, mtime=0)


def pack_surfaces(before: Labels, after: Labels, grid: Grid, anatomy: Anatomy) -> bytes:
    """Each structure's surface before and after, gzipped.

    A 4-byte length (little endian), that many bytes of JSON ({structure, state, vertices, faces} for each surface),
    then for each surface its vertices (float32, mm, RAS+) and triangles (uint32).
    """
    table, body = [], io.BytesIO()
    coarse = max(1, round(SURFACE_STEP_MM / min(grid.spacing_mm)))
    for s in anatomy.structures:
        for state, labels in (("before", before), ("after", after)):
            mesh = mesh_of_mask(labels == s.id, grid, 1 if s.kind == "tube" else coarse)
            vertices, faces = mesh.vertices_mm, mesh.triangles
            if len(faces):
                table.append({"structure": s.id, "state": state, "vertices": len(vertices), "faces": len(faces)})
                body.write(vertices.astype("<f4").tobytes())
                body.write(np.ascontiguousarray(faces, dtype="<u4").tobytes())
    head = json.dumps(table).encode()
    head += b" " * (-len(head) % 4)
    return gzip.compress(struct.pack("<I", len(head)) + head + body.getvalue(), compresslevel=4, mtime=0)


def image_file(values: npt.NDArray[np.generic] | None, grid: Grid) -> bytes:
    """The CT as an uncompressed NIfTI in bytes of `STEP_HU`; without a CT an empty one, which still says the grid."""
    if values is None:
        steps = np.zeros(grid.shape, np.uint8)
    else:
        hu = np.nan_to_num(np.asarray(values, dtype=np.float32), nan=LOWEST_HU)
        steps = np.clip(np.rint((hu - LOWEST_HU) / STEP_HU), 0, 255).astype(np.uint8)
    image = nib.Nifti1Image(steps, grid.affine)
    image.header.set_slope_inter(STEP_HU, LOWEST_HU)
    image.header.set_xyzt_units("mm")
    return bytes(image.to_bytes())
