"""What holds together: pieces, cavities, tunnels, and the Euler number that counts all three."""

from __future__ import annotations

from typing import Literal, NamedTuple

import cc3d
import numpy as np

from heartmend.types import Mask


class BettiNumbers(NamedTuple):
    """How many pieces (26 neighbours), tunnels and cavities (joined by faces) a mask has."""

    components: int
    tunnels: int
    cavities: int

    @property
    def euler(self) -> int:
        """The Euler number: pieces - tunnels + cavities."""
        return self.components - self.tunnels + self.cavities


def betti_numbers(mask: Mask) -> BettiNumbers:
    """Count pieces and cavities; the tunnels are what is then missing to the Euler number."""
    found, closed = components(mask), holes(mask)
    return BettiNumbers(found, found + closed - euler_number(mask), closed)


def components(mask: Mask) -> int:
    """Number of pieces that do not touch, not even by a corner (26-connectivity)."""
    return _components(mask, 26)


def holes(mask: Mask) -> int:
    """Number of cavities: outside voxels, joined by faces, that no path by faces leads out of."""
    return _components(~np.pad(mask, 1), 6) - 1


def euler_number(mask: Mask) -> int:
    """Euler number of the union of the closed voxels: corners - edges + faces - voxels, each counted once.

    Voxels that share no more than a corner are joined, so this goes with 26-connected pieces: a ball has 1, a ring 0,
    a hollow ball 2, and a tree with `n` loops 1 - n.
    """
    body = np.pad(mask, 1)
    x, y, z = body[1:] | body[:-1], body[:, 1:] | body[:, :-1], body[:, :, 1:] | body[:, :, :-1]
    xy, xz, yz = x[:, 1:] | x[:, :-1], x[:, :, 1:] | x[:, :, :-1], y[:, :, 1:] | y[:, :, :-1]
    corners = xy[:, :, 1:] | xy[:, :, :-1]
    return _count(corners) - _count(xy, xz, yz) + _count(x, y, z) - _count(body)


def _components(mask: Mask, connectivity: Literal[6, 26]) -> int:
    _, count = cc3d.connected_components(mask, connectivity=connectivity, return_N=True)
    return int(count)


def _count(*masks: Mask) -> int:
    return sum(int(np.count_nonzero(mask)) for mask in masks)
