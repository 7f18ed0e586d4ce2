"""Chambers that are as dark as the muscle, by levels that are known."""

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.distance import DistanceMap
from heartmend.repair.image_edges.muscle_level import chambers_like_muscle

HEART = load_anatomy("heart").without_absent(())
SIDE = 24
LEVELS = {"Myocardium": 110.0, "LV": 400.0, "RA": 129.0, "RV": 91.0, "PA": 110.0}


def maps_and_ct(names: list[str], levels: dict[str, float]) -> tuple[dict[str, DistanceMap], np.ndarray]:
    """Boxes one after the other along x, each with its level and a rim that has the level of something else."""
    maps, image = {}, np.full((SIDE * len(names), SIDE, SIDE), -80.0)
    for number, name in enumerate(names):
        mask = np.zeros(image.shape, bool)
        mask[number * SIDE + 4 : (number + 1) * SIDE - 4, 4:-4, 4:-4] = True
        image[mask] = -1000.0
        image[number * SIDE + 5 : (number + 1) * SIDE - 5, 5:-5, 5:-5] = levels[name]
        maps[name] = DistanceMap.of_mask(mask, (1.0, 1.0, 1.0))
    return maps, image


def test_chambers_within_twenty_hu_of_the_muscle_have_no_edge() -> None:
    maps, image = maps_and_ct([*LEVELS], LEVELS)
    assert chambers_like_muscle(maps, image, HEART) == {"RA", "RV"}


@pytest.mark.parametrize(("level", "expected"), [(131.0, set()), (89.0, set()), (129.5, {"RA"})])
def test_the_limit_is_the_same_on_both_sides(level: float, expected: set[str]) -> None:
    maps, image = maps_and_ct(["Myocardium", "RA"], {"Myocardium": 110.0, "RA": level})
    assert chambers_like_muscle(maps, image, HEART) == expected


def test_without_muscle_nothing_is_known() -> None:
    maps, image = maps_and_ct(["RA"], {"RA": 110.0})
    assert chambers_like_muscle(maps, image, HEART) == frozenset()
