"""Topology of a mask: connected components, tunnels, cavities, and the Euler number."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from heartmend.geometry.components import count_components
from heartmend.types import Mask


class BettiNumbers(NamedTuple):
    """Numbers of components, tunnels and cavities of a mask.

    Attributes:
        components: connected components (26-connectivity), Betti number 0.
        tunnels: holes that go through, as in a ring, Betti number 1.
        cavities: enclosed components of the background (6-connectivity), Betti number 2.
    """

    components: int
    tunnels: int
    cavities: int

    @property
    def euler(self) -> int:
        """Euler number: components - tunnels + cavities."""
        return self.components - self.tunnels + self.cavities


def betti_numbers(mask: Mask) -> BettiNumbers:
    """Count the components, tunnels and cavities of a mask.

    Components and cavities are counted; the tunnels follow from the Euler number.

    Args:
        mask: boolean mask (x, y, z). Outside the array is background.

    Returns:
        The three Betti numbers.

    Example:
        >>> import numpy as np
        >>> ring = np.ones((3, 3, 1), bool)
        >>> ring[1, 1] = False
        >>> betti_numbers(ring)
        BettiNumbers(components=1, tunnels=1, cavities=0)
    """
    found, closed = components(mask), holes(mask)
    return BettiNumbers(found, found + closed - euler_number(mask), closed)


def components(mask: Mask) -> int:
    """Count the connected components of a mask (26-connectivity).

    Args:
        mask: boolean mask (x, y, z).

    Returns:
        The number of components; voxels that share a corner belong to one component.

    Example:
        >>> import numpy as np
        >>> mask = np.zeros((4, 4, 4), bool)
        >>> mask[0, 0, 0] = mask[1, 1, 1] = mask[3, 3, 3] = True
        >>> components(mask)
        2
    """
    return count_components(mask)


def holes(mask: Mask) -> int:
    """Count the cavities of a mask: components of the background (6-connectivity) that the mask encloses.

    Args:
        mask: boolean mask (x, y, z). Outside the array is background.

    Returns:
        The number of cavities.

    Example:
        >>> import numpy as np
        >>> shell = np.ones((3, 3, 3), bool)
        >>> shell[1, 1, 1] = False
        >>> holes(shell)
        1
    """
    return count_components(~np.pad(mask, 1), 6) - 1


def euler_number(mask: Mask) -> int:
    """Compute the Euler number of a mask, as the union of its closed voxels.

    It is the number of corners - edges + faces - voxels, each counted once. Voxels that share a corner are joined, so
    the number belongs to 26-connected components: a ball has 1, a ring 0, a hollow ball 2, a tree with n loops 1 - n.

    Args:
        mask: boolean mask (x, y, z). Outside the array is background.

    Returns:
        The Euler number: components - tunnels + cavities.

    Example:
        >>> import numpy as np
        >>> euler_number(np.ones((1, 1, 1), bool))  # 8 corners - 12 edges + 6 faces - 1 voxel
        1
    """
    body = np.pad(mask, 1)
    x, y, z = body[1:] | body[:-1], body[:, 1:] | body[:, :-1], body[:, :, 1:] | body[:, :, :-1]
    xy, xz, yz = x[:, 1:] | x[:, :-1], x[:, :, 1:] | x[:, :, :-1], y[:, :, 1:] | y[:, :, :-1]
    corners = xy[:, :, 1:] | xy[:, :, :-1]
    return _count(corners) - _count(xy, xz, yz) + _count(x, y, z) - _count(body)


def _count(*masks: Mask) -> int:
    return sum(int(np.count_nonzero(mask)) for mask in masks)
