"""Where a label map's structures are, whatever islands lie about them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cc3d
import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects

# A piece of a structure carries its bulk when it has this share of the voxels of the structure's largest piece.
BULK_SHARE = 0.1
# A piece further than this from the heart's box counts only when it is large beside the largest piece of all.
REACH_MM = 10.0

Box = npt.NDArray[np.int64]
"""(2, 3): the first index inside and the first index behind, on each axis."""


@dataclass(frozen=True)
class _Piece:
    box: Box
    voxels: int


def bulk_box(labels: npt.NDArray[np.integer], ids: Iterable[int], spacing_mm: tuple[float, ...]) -> Box | None:
    """The smallest box about the pieces that carry the bulk of the structures `ids`; None when there are none.

    labels: (x, y, z). Beginning at the largest piece, each piece joins that holds at least a tenth of its
    structure's largest one and lies within 10 mm of the box so far, or that holds a tenth of the largest piece of
    all wherever it lies. So a far island does not move the box, crumbs never do, and a structure that is cut in
    two, a descending aorta and the second of two coronary trees count in full.
    """
    wanted = sorted(set(ids))
    regions = _regions(labels, max(wanted, default=0))
    components = [component for id in wanted if id in regions for component in _bulk_pieces(labels, id, regions[id])]
    if not components:
        return None
    components.sort(key=lambda p: (-p.voxels, p.box.tolist()))
    seed = components[0]
    large = [p.box for p in components if p.voxels >= BULK_SHARE * seed.voxels]
    box = _joined(large)
    waiting = [p.box for p in components if p.voxels < BULK_SHARE * seed.voxels]
    while near := [b for b in waiting if _gap_mm(box, b, spacing_mm) <= REACH_MM]:
        box = _joined([box, *near])
        waiting = [b for b in waiting if _gap_mm(box, b, spacing_mm) > REACH_MM]
    return box


def filled_box(volume: npt.NDArray[np.generic], margin: int | Iterable[int] = 0) -> tuple[slice, slice, slice] | None:
    """The smallest box about all that is not 0 in a volume (x, y, z); None when there is nothing.

    margin: so many voxels wider to both sides, one number or one for each axis, as far as the volume goes.
    """
    box = [slice(0, n) for n in volume.shape]
    # The axis along which memory jumps furthest comes first: what it rules out is never read again.
    for axis in np.argsort([-s for s in volume.strides], kind="stable"):
        filled = np.flatnonzero(volume[tuple(box)].any(axis=tuple({0, 1, 2} - {int(axis)})))
        if not filled.size:
            return None
        box[axis] = slice(int(filled[0]), int(filled[-1]) + 1)
    x, y, z = box
    return widen((x, y, z), margin, volume.shape)


def widen(
    box: tuple[slice, slice, slice], margin: int | Iterable[int], shape: tuple[int, ...]
) -> tuple[slice, slice, slice]:
    """The box with a margin of voxels, as far as the volume goes."""
    margins = (margin,) * 3 if isinstance(margin, int) else tuple(margin)
    x, y, z = (slice(max(s.start - m, 0), min(s.stop + m, n)) for s, m, n in zip(box, margins, shape, strict=True))
    return x, y, z


def _regions(labels: npt.NDArray[np.integer], largest_id: int) -> dict[int, tuple[slice, ...]]:
    """The smallest box about each id up to `largest_id` that there is."""
    filled = filled_box(labels) if largest_id > 0 else None
    if filled is None:
        return {}
    offset = [side.start for side in filled]
    part = labels[filled]
    # find_objects walks the last axis fastest: several times faster when that is how the memory lies.
    order = np.argsort([-s for s in part.strides], kind="stable")
    boxes = find_objects(part.transpose(order), max_label=largest_id)
    back = np.argsort(order)
    return {
        id: tuple(slice(box[b].start + o, box[b].stop + o) for b, o in zip(back, offset, strict=True))
        for id, box in enumerate(boxes, start=1)
        if box is not None
    }


def _bulk_pieces(labels: npt.NDArray[np.integer], id: int, region: tuple[slice, ...]) -> list[_Piece]:
    components = cc3d.connected_components(labels[region] == id, connectivity=26)
    counts = np.bincount(components.ravel(order="K"))
    counts[0] = 0
    found = []
    for component, box in _regions(components, len(counts) - 1).items():
        if counts[component] >= BULK_SHARE * counts.max():
            edges = [(r.start + b.start, r.start + b.stop) for r, b in zip(region, box, strict=True)]
            found.append(_Piece(box=np.array(edges).T, voxels=int(counts[component])))
    return found


def _joined(boxes: list[Box]) -> Box:
    return np.stack([np.min([b[0] for b in boxes], axis=0), np.max([b[1] for b in boxes], axis=0)])


def _gap_mm(a: Box, b: Box, spacing_mm: tuple[float, ...]) -> float:
    gap_voxels = np.maximum(0, np.maximum(a[0] - b[1], b[0] - a[1]))
    return float(np.linalg.norm(gap_voxels * spacing_mm))
