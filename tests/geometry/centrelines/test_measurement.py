"""A vessel is measured the same wherever it is in its volume."""

import numpy as np

from heartmend.geometry.centrelines.measurement import measure_tree


def test_the_background_about_a_vessel_does_not_change_its_tree() -> None:
    vessel = np.zeros((46, 11, 11), bool)
    vessel[3:43, 3:8, 3:8] = vessel[20:25, 3:8, 3:11] = True
    volume = np.zeros((60, 30, 40), bool, order="F")
    volume[7:53, 9:20, 17:28] = vessel
    spacing_mm = (0.5, 0.6, 0.7)
    small, whole = measure_tree(vessel, spacing_mm), measure_tree(volume, spacing_mm)
    assert len(whole) > 10
    assert np.allclose(small.points_mm + np.multiply((7, 9, 17), spacing_mm), whole.points_mm)
    assert np.allclose(small.radius_mm, whole.radius_mm)
    assert (small.edges == whole.edges).all()
