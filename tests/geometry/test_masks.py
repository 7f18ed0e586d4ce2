from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.geometry.masks import count_ids, grow_mask, mask_of_ids, shrink_mask

small_masks = arrays.arrays(bool, st.tuples(*[st.integers(1, 9)] * 3), elements=st.booleans())
spacings = st.tuples(*[st.sampled_from([0.4, 0.5, 0.9, 1.0, 2.5])] * 3)


@given(arrays.arrays(np.uint8, (3, 4, 5), elements=st.integers(0, 6)), st.sets(st.integers(0, 9)))
def test_mask_of_ids_is_numpys_isin(labels, ids):
    for ordered in (labels, np.asfortranarray(labels)):
        found = mask_of_ids(ordered, ids)
        np.testing.assert_array_equal(found, np.isin(ordered, list(ids)))
        assert found.flags.f_contiguous == ordered.flags.f_contiguous


@settings(max_examples=150)
@given(small_masks, st.sampled_from([0.0, 0.5, 0.9, 1.0, 1.8, 2.0, 2.3, 3.0, 9.0]), spacings)
def test_growing_and_shrinking_are_thresholds_of_the_distance(mask, reach_mm, spacing_mm):
    grown, shrunk = grow_mask(mask, reach_mm, spacing_mm), shrink_mask(mask, reach_mm, spacing_mm)
    if mask.any():
        distance_mm = distance_transform_mm(~mask, spacing_mm)
        np.testing.assert_array_equal(grown, distance_mm <= np.float32(reach_mm))
    else:
        assert not grown.any()
    if mask.all():
        assert shrunk.all(), "the border of the volume is no outside"
    else:
        np.testing.assert_array_equal(shrunk, mask & (distance_transform_mm(mask, spacing_mm) > np.float32(reach_mm)))


@pytest.mark.parametrize("reach_mm", [2.0, 12.0])
def test_a_point_grows_to_a_ball_by_rows_and_by_the_distance_transform(reach_mm):
    mask = np.zeros((27, 27, 27), dtype=bool)
    mask[13, 13, 13] = True
    away = np.linalg.norm(np.indices(mask.shape) - 13, axis=0)
    np.testing.assert_array_equal(grow_mask(np.asfortranarray(mask), reach_mm, (1.0, 1.0, 1.0)), away <= reach_mm)


@given(arrays.arrays(np.uint8, st.tuples(*[st.integers(0, 5)] * 3)), st.sampled_from("CF"))
def test_ids_are_counted(labels: np.ndarray, order: str) -> None:
    ids = np.asarray(labels, order=order)
    assert count_ids(ids).tolist() == np.bincount(labels.ravel(), minlength=256).tolist()
    more = ids.astype(np.uint16) + 300
    assert count_ids(more)[300:556].tolist() == count_ids(ids).tolist()
