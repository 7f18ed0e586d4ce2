"""Directions that are evenly spread over a sphere."""

from __future__ import annotations

import numpy as np

from heartmend.types import FloatArray


def spread_directions(count: int) -> FloatArray:
    """Compute directions that are evenly spread (a Fibonacci lattice).

    Args:
        count: number of directions.

    Returns:
        (count, 3) unit vectors.

    Example:
        >>> directions = spread_directions(200)
        >>> directions.shape, bool(np.abs(directions.mean(axis=0)).max() < 0.01)
        ((200, 3), True)
    """
    turn = np.arange(count) + 0.5
    height = 1 - 2 * turn / count
    width, angle = np.sqrt(1 - height**2), np.pi * (1 + np.sqrt(5)) * turn
    return np.stack([width * np.cos(angle), width * np.sin(angle), height], axis=1)
