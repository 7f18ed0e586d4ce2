"""Connected components of masks and label maps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from heartmend.geometry.boxes import (
    Box,
    bounding_box,
    boxes_by_id,
    full_box,
    gap_mm,
    join_boxes,
    nested_box,
    relative_box,
)
from heartmend.types import Labels, Mask

Connectivity = Literal[6, 18, 26]
"""Neighbours of a voxel: those that share a face, an edge too, or a corner too."""

SMALL_COMPONENT_SHARE = 0.04
"""A component below this share of its structure's largest one carries no information about the shape."""
MAX_SPARSE_VOXELS = 3
"""Up to this number of voxels, small components are found without connecting the whole label map."""
# A component counts as a main one from this share of the voxels of its structure's largest component on.
MAIN_SHARE = 0.1
# A main component further than this from the box counts only when it is large beside the largest one of all.
REACH_MM = 10.0


def label_components(
    mask: npt.NDArray[np.generic], connectivity: Connectivity = 26
) -> tuple[npt.NDArray[np.unsignedinteger], npt.NDArray[np.int64]]:
    """Label the connected components of a mask and count their voxels.

    Args:
        mask: (x, y, z) bool; or integer, then only voxels of equal value are connected. 0 is background.
        connectivity: number of neighbours of a voxel.

    Returns:
        The number of each voxel's component (x, y, z), 0 for background; and the numbers of voxels (n + 1,), where
        entry 0 stands for the background and is 0.

    Example:
        >>> import numpy as np
        >>> mask = np.zeros((5, 3, 3), dtype=bool)
        >>> mask[0], mask[3:, 0, 0] = True, True
        >>> labels, sizes = label_components(mask)
        >>> sizes.tolist(), int(labels[4, 0, 0])
        ([0, 9, 2], 2)
    """
    box, part, sizes = _labelled_box(mask, connectivity)
    if part.shape == mask.shape:
        return part, sizes
    components = np.zeros(mask.shape, part.dtype, order=_memory_order(mask))
    components[box] = part
    return components, sizes


def _labelled_box(
    mask: npt.NDArray[np.generic], connectivity: Connectivity
) -> tuple[Box, npt.NDArray[np.unsignedinteger], npt.NDArray[np.int64]]:
    """The bounding box of a mask, and its components there with their numbers of voxels, as of `label_components`."""
    import cc3d  # here, so that the GPU benchmark can import the training modules without it

    box = bounding_box(mask)
    if box is None:
        return full_box(mask.shape), np.zeros(mask.shape, np.uint16, order=_memory_order(mask)), np.zeros(1, np.int64)
    # In the order of the whole mask, because components are numbered in the order of the memory.
    part = np.asarray(mask[box], order=_memory_order(mask))
    if part.dtype == bool and min(part.shape) <= 3:
        # The binary method of cc3d 4.1 fails on some masks of a single row or layer; that for integers does not.
        part = part.view(np.uint8)
    components, count = cc3d.connected_components(part, connectivity=connectivity, return_N=True)
    if count == 1:
        return box, components, np.array([0, np.count_nonzero(part)])
    sizes = np.bincount(components[components > 0], minlength=int(count) + 1)
    return box, components, sizes


def _memory_order(mask: npt.NDArray[np.generic]) -> Literal["F", "C"]:
    return "F" if mask.flags.f_contiguous else "C"


def count_components(mask: Mask, connectivity: Connectivity = 26) -> int:
    """Count the connected components of a mask.

    Args:
        mask: (x, y, z) bool.
        connectivity: number of neighbours of a voxel.

    Returns:
        The number of components.

    Example:
        >>> import numpy as np
        >>> mask = np.zeros((3, 3, 3), dtype=bool)
        >>> mask[0, 0, 0] = mask[1, 1, 1] = True
        >>> count_components(mask), count_components(mask, connectivity=6)
        (1, 2)
    """
    return len(_labelled_box(mask, connectivity)[2]) - 1


def largest_component(mask: Mask, connectivity: Connectivity = 26) -> Mask:
    """Keep the largest connected component of a mask.

    Args:
        mask: (x, y, z) bool.
        connectivity: number of neighbours of a voxel.

    Returns:
        The component (x, y, z) bool; of two equal ones the first in index order. Empty for an empty mask.

    Example:
        >>> import numpy as np
        >>> mask = np.zeros((5, 3, 3), dtype=bool)
        >>> mask[0], mask[3:, 0, 0] = True, True
        >>> int(largest_component(mask).sum())
        9
    """
    components, sizes = label_components(mask, connectivity)
    largest: Mask = components == max(int(sizes.argmax()), 1)
    return largest


def without_small_components(mask: Mask, share: float = SMALL_COMPONENT_SHARE) -> Mask:
    """Remove the components of a mask that are small beside its largest component.

    The segments of an interrupted vessel stay: only the gap between them is missing.

    Args:
        mask: (x, y, z) bool.
        share: components (26-connectivity) with fewer voxels than this share of the largest one are removed.

    Returns:
        The mask (x, y, z) bool without them; the same array where there is at most one component.

    Example:
        >>> import numpy as np
        >>> mask = np.zeros((5, 3, 3), dtype=bool)
        >>> mask[0], mask[3:, 0, 0] = True, True
        >>> int(without_small_components(mask, share=0.5).sum())
        9
    """
    box, components, sizes = _labelled_box(mask, 26)
    if len(sizes) < 3:
        return mask
    return _filtered(mask, box, (sizes >= share * sizes.max())[components])


def without_components_below(mask: Mask, min_voxels: int) -> Mask:
    """Remove the components of a mask that have less than a number of voxels.

    Args:
        mask: (x, y, z) bool.
        min_voxels: components (26-connectivity) with fewer voxels are removed.

    Returns:
        A copy of the mask (x, y, z) bool without them.

    Example:
        >>> import numpy as np
        >>> mask = np.zeros((5, 3, 3), dtype=bool)
        >>> mask[0], mask[3:, 0, 0] = True, True
        >>> int(without_components_below(mask, 3).sum())
        9
    """
    box, components, sizes = _labelled_box(mask, 26)
    return _filtered(mask, box, (sizes >= min_voxels)[components])


def components_through(mask: Mask, line: Mask) -> Mask:
    """Keep the components that contain a voxel of a line, such as the skeleton of a vessel, and the line itself.

    Args:
        mask: (x, y, z) bool.
        line: (x, y, z) bool; a vessel may be one voxel wide, so the mask need not contain it.

    Returns:
        (x, y, z) bool.

    Example:
        >>> import numpy as np
        >>> mask, line = np.array([[[1, 1, 0, 0, 1]]], dtype=bool), np.array([[[0, 1, 1, 0, 0]]], dtype=bool)
        >>> components_through(mask, line).astype(int).tolist()
        [[[1, 1, 1, 0, 0]]]
    """
    components, sizes = label_components(mask | line)
    kept: Mask = (np.bincount(components[line], minlength=len(sizes)) > 0)[components]
    return kept


def _filtered(mask: Mask, box: Box, kept: Mask) -> Mask:
    """The voxels of a mask that are kept in its box."""
    result: Mask = np.zeros(mask.shape, bool, order=_memory_order(mask))
    result[box] = kept & mask[box]
    return result


def in_small_components(labels: Labels, max_voxels: int) -> Mask:
    """Find the voxels of the small components of all structures and of the background.

    Components are by faces. A voxel of a component of n voxels has at most n - 1 neighbours of its own id. So for a
    small n only the few such voxels are connected, and not the whole label map.

    Args:
        labels: (x, y, z) uint8 ids.
        max_voxels: number of voxels up to which a component is small.

    Returns:
        (x, y, z) bool.

    Example:
        >>> import numpy as np
        >>> labels = np.zeros((5, 5, 5), dtype=np.uint8)
        >>> labels[1, 1, 1:3], labels[3, :4, :4] = 2, 1
        >>> labels[3, 2, 2] = 0
        >>> np.argwhere(in_small_components(labels, 2)).tolist()
        [[1, 1, 1], [1, 1, 2], [3, 2, 2]]
    """
    if max_voxels > MAX_SPARSE_VOXELS:
        components, sizes = label_components(labels.astype(np.uint16) + 1, connectivity=6)
        return (sizes <= max_voxels)[components]
    order = _memory_order(labels)
    n_alike = _count_alike_neighbours(labels).ravel(order=order)
    ids, is_candidate = labels.ravel(order=order), n_alike < max_voxels
    at = np.flatnonzero(is_candidate)
    pairs = []
    for axis, n in enumerate(labels.shape):
        stride = int(np.prod(labels.shape[:axis] if order == "F" else labels.shape[axis + 1 :]))
        first = at[at // stride % n < n - 1]
        first = first[(ids[first] == ids[first + stride]) & is_candidate[first + stride]]
        pairs.append(np.stack([first, first + stride]))
    a, b = np.searchsorted(at, np.concatenate(pairs, axis=1))
    graph = csr_matrix((np.ones(len(a), bool), (a, b)), shape=(len(at), len(at)))
    component = connected_components(graph, directed=False)[1]
    # A component that continues in other voxels has more neighbours than the two of each pair.
    is_whole = np.bincount(component, n_alike[at]) == 2 * np.bincount(
        component[a], minlength=component.max(initial=-1) + 1
    )
    is_small = is_whole & (np.bincount(component) <= max_voxels)
    small = np.zeros(labels.size, bool)
    small[at[is_small[component]]] = True
    return small.reshape(labels.shape, order=order)


def _count_alike_neighbours(labels: Labels) -> npt.NDArray[np.uint8]:
    """Number of the neighbours by faces of each voxel that have its id."""
    count = np.zeros_like(labels, dtype=np.uint8)
    for axis in range(3):
        of, to = np.moveaxis(labels, axis, 0), np.moveaxis(count, axis, 0)
        alike = (of[1:] == of[:-1]).view(np.uint8)
        to[1:] += alike
        to[:-1] += alike
    return count


@dataclass(frozen=True, eq=False)
class Component:
    """A connected component of a mask.

    Attributes:
        mask: bool, its voxels within `box`.
        box: its bounding box in the volume.
        voxels: its number of voxels.
    """

    mask: Mask
    box: Box
    voxels: int

    def at_border(self, shape: tuple[int, ...]) -> bool:
        """Test whether the component reaches the border of the volume, where the field of view ends.

        Args:
            shape: (x, y, z) of the volume.

        Returns:
            Whether one of its voxels is the first or the last one on an axis.
        """
        for axis, (side, n) in enumerate(zip(self.box, shape, strict=True)):
            if side.start == 0 and self.mask.take(0, axis).any():
                return True
            if side.stop == n and self.mask.take(-1, axis).any():
                return True
        return False

    def in_box(self, box: Box) -> Mask:
        """Return the component as a mask of a larger box.

        Args:
            box: a box that contains the component's own box.

        Returns:
            Bool, of the shape of `box`.
        """
        full = np.zeros(tuple(s.stop - s.start for s in box), dtype=bool)
        full[relative_box(self.box, box)] = self.mask
        return full


def find_components(mask: Mask, box: Box | None = None, connectivity: Connectivity = 26) -> list[Component]:
    """Find the connected components of a mask, the largest first.

    Args:
        mask: (x, y, z) bool, a whole volume or the part of it in `box`.
        box: where the mask is in its volume; None for a whole volume.
        connectivity: number of neighbours of a voxel.

    Returns:
        The components, with boxes in the indices of the volume; equal ones in index order.

    Example:
        >>> import numpy as np
        >>> mask = np.zeros((5, 3, 3), dtype=bool)
        >>> mask[0, 0, 0], mask[3:, 0, 0] = True, True
        >>> [component.voxels for component in find_components(mask)]
        [2, 1]
    """
    outer = full_box(mask.shape) if box is None else box
    filled, labels, sizes = _labelled_box(mask, connectivity)
    outer = nested_box(outer, filled)
    if len(sizes) == 2:
        return [Component(labels == 1, outer, int(sizes[1]))]
    components = [
        Component(labels[inner] == number, nested_box(outer, inner), int(sizes[number]))
        for number, inner in (boxes_by_id(labels).items() if len(sizes) > 2 else ())
    ]
    return sorted(components, key=lambda component: -component.voxels)


def components_of(labels: Labels, id: int, box: Box, connectivity: Connectivity = 26) -> list[Component]:
    """Find the connected components of one structure of a label map, the largest first.

    Args:
        labels: (x, y, z) uint8 ids.
        id: the structure's id.
        box: a box that contains the structure.
        connectivity: number of neighbours of a voxel.

    Returns:
        The components, with boxes in the indices of the label map.
    """
    return find_components(labels[box] == id, box, connectivity)


def main_components_box(
    labels: npt.NDArray[np.integer], ids: Iterable[int], spacing_mm: tuple[float, ...]
) -> Box | None:
    """Find the smallest box that contains the main components of several structures.

    A component is a main one when it has at least a tenth of the voxels of its structure's largest component. The box
    starts at the largest component of all and grows by every main component that is within 10 mm of it, or that has
    at least a tenth of the voxels of the largest one. So a far false-positive component does not move the box, while a
    structure that is interrupted, a descending aorta and the second coronary tree count in full.

    Args:
        labels: (x, y, z) ids.
        ids: ids of the structures.
        spacing_mm: voxel spacing in mm along each axis.

    Returns:
        The box, or None where none of the ids occurs.

    Example:
        >>> import numpy as np
        >>> labels = np.zeros((60, 8, 8), dtype=np.uint8)
        >>> labels[2:8, 2:6, 2:6], labels[50, 0, 0] = 1, 1
        >>> main_components_box(labels, [1], (1.0, 1.0, 1.0))
        (slice(2, 8, None), slice(2, 6, None), slice(2, 6, None))
    """
    wanted = sorted(set(ids))
    largest_id = max(wanted, default=0)
    regions = boxes_by_id(labels, largest_id) if largest_id > 0 else {}
    components = [found for id in wanted if id in regions for found in _main_components(labels, id, regions[id])]
    if not components:
        return None
    components.sort(key=lambda c: (-c[1], [s.start for s in c[0]], [s.stop for s in c[0]]))
    _, largest = components[0]
    box = join_boxes(found for found, voxels in components if voxels >= MAIN_SHARE * largest)
    waiting = [found for found, voxels in components if voxels < MAIN_SHARE * largest]
    while near := [b for b in waiting if gap_mm(box, b, spacing_mm) <= REACH_MM]:
        box = join_boxes([box, *near])
        waiting = [b for b in waiting if gap_mm(box, b, spacing_mm) > REACH_MM]
    return box


def _main_components(labels: npt.NDArray[np.integer], id: int, region: Box) -> list[tuple[Box, int]]:
    """Boxes and numbers of voxels of the main components of one structure."""
    found = find_components(labels[region] == id, region)
    return [(one.box, one.voxels) for one in found if one.voxels >= MAIN_SHARE * found[0].voxels]
