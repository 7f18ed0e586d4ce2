"""A vessel is measured in its own box as in the whole volume."""

import numpy as np

from heartmend.geometry.centrelines.measurement import measure_small_tree, measure_tree


def test_the_box_of_a_vessel_gives_the_same_tree_as_the_volume() -> None:
    mask = np.zeros((60, 30, 40), bool)
    mask[10:50, 12:17, 20:25] = True
    spacing_mm = (0.5, 0.6, 0.7)
    whole, small = measure_tree(mask, spacing_mm), measure_small_tree(mask, spacing_mm)
    assert len(whole) > 10
    assert np.allclose(small.points_mm, whole.points_mm)
    assert np.allclose(small.radius_mm, whole.radius_mm)
    assert (small.edges == whole.edges).all()
