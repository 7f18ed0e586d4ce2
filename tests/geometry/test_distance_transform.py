"""Distances by edt, and the core that they are computed on."""

import os

import edt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from heartmend.geometry import distance_transform
from heartmend.geometry.distance_transform import distance_transform_mm


@settings(max_examples=50, deadline=None)
@given(
    npst.arrays(np.uint8, npst.array_shapes(min_dims=3, max_dims=3, max_side=5), elements=st.integers(0, 2)),
    st.tuples(*[st.sampled_from([0.5, 1.0, 2.5])] * 3),
    st.sampled_from(["C", "F", "slice"]),
)
def test_each_voxel_has_the_distance_to_the_nearest_other_value(labels, spacing_mm, layout):
    if layout == "F":
        labels = np.asfortranarray(labels)
    if layout == "slice":
        labels = np.repeat(labels, 2, axis=1)[:, ::2]
    at = np.argwhere(np.ones(labels.shape, bool))
    apart = np.linalg.norm((at[:, None] - at[None]) * np.asarray(spacing_mm), axis=-1)
    same = labels.ravel()[:, None] == labels.ravel()[None]
    expected = np.where(same, np.inf, apart).min(axis=1)
    expected[labels.ravel() == 0] = 0
    np.testing.assert_allclose(distance_transform_mm(labels, spacing_mm).ravel(), expected, rtol=1e-6)


def test_closed_counts_the_border_as_another_value():
    line = np.ones((4, 9, 9), dtype=bool)
    assert distance_transform_mm(line, (2.0, 9.0, 9.0), closed=True)[:, 4, 4].tolist() == [2.0, 4.0, 4.0, 2.0]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinity of threads")
def test_the_threads_of_edt_stay_on_the_core_of_the_caller(monkeypatch):
    allowed, during = os.sched_getaffinity(0), []

    def recorded(labels, **settings):
        during.append(os.sched_getaffinity(0))
        raise ValueError("edt failed")

    monkeypatch.setattr(edt, "edt", recorded)
    with pytest.raises(ValueError, match="edt failed"):
        distance_transform_mm(np.ones((2, 2, 2), bool), (1.0, 1.0, 1.0))
    assert [len(cores) for cores in during] == [1]
    assert during[0] <= allowed
    assert os.sched_getaffinity(0) == allowed


def test_without_a_name_of_the_core_nothing_is_changed(monkeypatch):
    monkeypatch.setattr(distance_transform, "_sched_getcpu", lambda: None)
    mask = np.array([True, False]).reshape(2, 1, 1)
    assert distance_transform_mm(mask, (3.0, 1.0, 1.0)).ravel().tolist() == [3.0, 0.0]
