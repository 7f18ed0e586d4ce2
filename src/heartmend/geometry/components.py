"""Connected components of masks and label maps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from heartmend.geometry.boxes import Box, boxes_by_id, full_box, gap_mm, join_boxes, nested_box, relative_box
from heartmend.types import Labels, Mask

Connectivity = Literal[6, 18, 26]
"""Neighbours of a voxel: those that share a face, an edge too, or a corner too."""

SMALL_COMPONENT_SHARE = 0.04
"""A component below this share of its structure's largest one carries no information about the shape."""
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
    import cc3d  # here, so that the GPU benchmark can import the training modules without it

    components = cc3d.connected_components(mask, connectivity=connectivity)
    sizes = np.bincount(components.ravel(order="K"), minlength=1)
    sizes[0] = 0
    return components, sizes


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
    import cc3d

    _, count = cc3d.connected_components(mask, connectivity=connectivity, return_N=True)
    return int(count)


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
    components, sizes = label_components(mask)
    if len(sizes) < 3:
        return mask
    kept: Mask = (sizes >= share * sizes.max())[components] & mask
    return kept


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
    labels, sizes = label_components(mask, connectivity)
    components = [
        Component(labels[inner] == number, nested_box(outer, inner), int(sizes[number]))
        for number, inner in boxes_by_id(labels).items()
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
    components, sizes = label_components(labels[region] == id)
    return [
        (nested_box(region, box), int(sizes[number]))
        for number, box in boxes_by_id(components).items()
        if sizes[number] >= MAIN_SHARE * sizes.max()
    ]
