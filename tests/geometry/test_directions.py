"""Tests of directions on a sphere."""

import numpy as np

from heartmend.geometry.directions import spread_directions


def test_directions_are_of_length_one_and_nowhere_far_apart() -> None:
    directions = spread_directions(400)
    assert np.allclose(np.linalg.norm(directions, axis=1), 1)
    # Each of 400 equal parts of a sphere is a cap with a radius of 5.7 degrees.
    others = np.sort(directions @ directions.T, axis=1)[:, -2]
    assert np.rad2deg(np.arccos(others)).min() > 5
    anywhere = np.random.default_rng(0).normal(size=(500, 3))
    anywhere /= np.linalg.norm(anywhere, axis=1, keepdims=True)
    assert np.rad2deg(np.arccos((anywhere @ directions.T).max(axis=1))).max() < 12
