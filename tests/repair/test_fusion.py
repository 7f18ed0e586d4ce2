"""Fusion of overlapping structures, and of the gaps between two structures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.distance import STEP_MM, DistanceMap
from heartmend.repair.fusion import fuse

HEART = load_anatomy("heart")
LA, LV, AORTA, RA, CORONARY, PV = 2, 3, 6, 4, 9, 10
UNIT = (1.0, 1.0, 1.0)


def along_x(*distances_mm: float) -> DistanceMap:
    return DistanceMap.of_mm(np.array(distances_mm, dtype=np.float32).reshape(-1, 1, 1))


def test_the_priority_decides_unless_another_structure_is_deeper_by_more_than_the_margin() -> None:
    maps = {"PV": along_x(2.0, 0.5, 0.5, -1.0), "LA": along_x(0.4, 1.2, 3.0, 2.0)}
    assert fuse(maps, HEART, UNIT).ravel().tolist() == [PV, PV, LA, LA]
    assert fuse(maps, HEART, UNIT, mode="priority").ravel().tolist() == [PV, PV, PV, LA]


def test_a_thin_vessel_keeps_its_voxels() -> None:
    maps = {"Coronary": along_x(0.3), "LV": along_x(7.0)}
    assert fuse(maps, HEART, UNIT).ravel().tolist() == [CORONARY]


def test_a_narrow_gap_between_two_structures_goes_to_the_nearer_one() -> None:
    maps = {"LA": along_x(1.5, 0.6, -0.3, -1.3), "RA": along_x(-1.6, -0.7, -0.4, 0.5)}
    assert fuse(maps, HEART, UNIT).ravel().tolist() == [LA, LA, LA, RA]


def test_a_gap_stays_if_it_is_wide_or_background_in_the_original() -> None:
    maps = {"LA": along_x(1.5, 0.6, -0.3, -1.3), "RA": along_x(-1.6, -0.7, -0.4, 0.5)}
    original = np.array([LA, LA, 0, RA], dtype=np.uint8).reshape(-1, 1, 1)
    assert fuse(maps, HEART, UNIT, original=original).ravel().tolist() == [LA, LA, 0, RA]
    alone = {"LA": along_x(0.5, -0.3, -1.3), "RA": along_x(-8, -8, -8)}
    assert fuse(alone, HEART, UNIT).ravel().tolist() == [LA, 0, 0]
    wide = {"LA": along_x(0.5, -0.7, -1.7), "RA": along_x(-1.7, -0.7, 0.5)}
    assert fuse(wide, HEART, UNIT).ravel().tolist() == [LA, 0, RA]


@given(
    steps=arrays(np.int8, (len(HEART.names), 4, 3, 2), elements=st.integers(-127, 127)),
    margin_mm=st.floats(0, 3),
    mode=st.sampled_from(["evidence", "priority"]),
)
@settings(max_examples=60, deadline=None)
def test_a_voxel_goes_to_a_structure_that_contains_it(steps: np.ndarray, margin_mm: float, mode: str) -> None:
    maps = {name: DistanceMap(own) for name, own in zip(HEART.names, steps, strict=True)}
    labels = fuse(maps, HEART, UNIT, mode=mode, margin_mm=margin_mm)  # type: ignore[arg-type]
    inside = (steps > 0).any(axis=0)
    own = np.take_along_axis(steps, np.maximum(labels.astype(int) - 1, 0)[None], axis=0)[0]
    assert (own[inside] > 0).all() and (labels[inside] > 0).all()
    assert (steps.max(axis=0)[labels == 0] <= 0).all()
    rank = [HEART.priority.index(name) for name in HEART.names]
    first = np.where(steps > 0, np.reshape(rank, (-1, 1, 1, 1)), 99).argmin(axis=0) + 1
    if mode == "priority" or margin_mm > 127 * STEP_MM:
        assert np.array_equal(labels[inside], first[inside])


def test_maps_that_do_not_fit_are_an_error() -> None:
    steps = np.zeros((2, 2, 2), dtype=np.int8)
    with pytest.raises(ValueError, match="one shape"):
        fuse({"LA": DistanceMap(steps), "RA": DistanceMap(steps[:1])}, HEART, UNIT)
    with pytest.raises(ValueError, match="one step"):
        fuse({"LA": DistanceMap(steps), "RA": DistanceMap(steps, 0.5)}, HEART, UNIT)
    with pytest.raises(ValueError, match="nothing to fuse"):
        fuse({}, HEART, UNIT)


@given(
    steps=arrays(np.int8, (len(HEART.names), 3, 3, 2), elements=st.integers(-127, 127)),
    spacing_mm=st.sampled_from([0.5, 1.0, 8.0]),
)
@settings(max_examples=30, deadline=None)
def test_the_volume_about_the_structures_makes_no_difference(steps: np.ndarray, spacing_mm: float) -> None:
    """Each structure is fused in the box in which it can count, which is smaller than the volume."""
    wide = np.pad(steps, ((0, 0), (4, 2), (0, 3), (1, 1)), constant_values=-127)
    inner, outer = (
        fuse({name: DistanceMap(own) for name, own in zip(HEART.names, one, strict=True)}, HEART, (spacing_mm,) * 3)
        for one in (steps, wide)
    )
    assert (outer[4:-2, :-3, 1:-1] == inner).all()
    # At 8 mm a voxel beside a structure is nearer than the clipped distance: every gap may be closed.
    assert spacing_mm == 8 or np.count_nonzero(outer) == np.count_nonzero(inner)


def test_a_far_structure_alone_bounds_no_gap() -> None:
    """Voxels of 8 mm: the limits are beyond the clipped distances."""
    labels = fuse({"LA": along_x(-8, -2.0, 3.0), "Coronary": along_x(-8, -8, -8)}, HEART, (8.0, 8.0, 8.0))
    assert labels.ravel().tolist() == [0, 0, LA]
