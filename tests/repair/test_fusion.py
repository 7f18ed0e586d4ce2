"""Who has a voxel that several structures claim, and who one that lies between two."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from heartmend.anatomy.load import load_anatomy
from heartmend.repair.fusion import fuse

HEART = load_anatomy("heart")
LA, LV, AORTA, RA, CORONARY, PV = 2, 3, 6, 4, 9, 10
UNIT = (1.0, 1.0, 1.0)


def along_x(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32).reshape(-1, 1, 1)


def test_priority_decides_where_the_evidence_does_not() -> None:
    fields = {"PV": along_x(2.0, 0.5, 0.5, -1.0), "LA": along_x(0.4, 1.2, 3.0, 2.0)}
    assert fuse(fields, HEART, UNIT).ravel().tolist() == [PV, PV, LA, LA]
    assert fuse(fields, HEART, UNIT, mode="priority").ravel().tolist() == [PV, PV, PV, LA]


def test_a_thin_vessel_yields_to_nothing() -> None:
    fields = {"Coronary": along_x(0.3), "LV": along_x(7.0)}
    assert fuse(fields, HEART, UNIT).ravel().tolist() == [CORONARY]


def test_a_stack_in_the_order_of_the_anatomy_and_steps_of_bytes_are_the_same() -> None:
    rng = np.random.default_rng(1)
    stack = rng.integers(-127, 128, (10, 6, 5, 4)).astype(np.int8)
    named = {name: stack[i].astype(np.float32) / 16 for i, name in enumerate(HEART.names)}
    assert np.array_equal(fuse(stack, HEART, UNIT, step_mm=1 / 16), fuse(named, HEART, UNIT))


def test_a_crack_between_two_closes_towards_the_nearer_one() -> None:
    fields = {"LA": along_x(1.5, 0.6, -0.3, -1.3), "RA": along_x(-1.6, -0.7, -0.4, 0.5)}
    assert fuse(fields, HEART, UNIT).ravel().tolist() == [LA, LA, LA, RA]


def test_no_crack_is_closed_that_is_wide_open_or_was_background() -> None:
    fields = {"LA": along_x(1.5, 0.6, -0.3, -1.3), "RA": along_x(-1.6, -0.7, -0.4, 0.5)}
    before = np.array([LA, LA, 0, RA], dtype=np.uint8).reshape(-1, 1, 1)
    assert fuse(fields, HEART, UNIT, before=before).ravel().tolist() == [LA, LA, 0, RA]
    alone = {"LA": along_x(0.5, -0.3, -1.3), "RA": along_x(-8, -8, -8)}
    assert fuse(alone, HEART, UNIT).ravel().tolist() == [LA, 0, 0]
    wide = {"LA": along_x(0.5, -0.7, -1.7), "RA": along_x(-1.7, -0.7, 0.5)}
    assert fuse(wide, HEART, UNIT).ravel().tolist() == [LA, 0, RA]


@given(
    fields=arrays(np.float32, (10, 4, 3, 2), elements=st.floats(-8, 8, width=16)),
    margin=st.floats(0, 3),
    mode=st.sampled_from(["evidence", "priority"]),
)
@settings(max_examples=60, deadline=None)
def test_a_voxel_goes_to_one_that_claims_it(fields: np.ndarray, margin: float, mode: str) -> None:
    labels = fuse(fields, HEART, UNIT, mode=mode, margin_mm=margin)  # type: ignore[arg-type]
    claimed = (fields > 0).any(axis=0)
    own = np.take_along_axis(fields, np.maximum(labels.astype(int) - 1, 0)[None], axis=0)[0]
    assert (own[claimed] > 0).all() and (labels[claimed] > 0).all()
    assert (fields.max(axis=0)[labels == 0] <= 0).all()
    rank = [HEART.priority.index(name) for name in HEART.names]
    first = np.where(fields > 0, np.reshape(rank, (-1, 1, 1, 1)), 99).argmin(axis=0) + 1
    if mode == "priority" or margin > 8:
        assert np.array_equal(labels[claimed], first[claimed])


def test_fields_that_do_not_fit_are_an_error() -> None:
    with pytest.raises(ValueError, match="3 fields for the 10"):
        fuse(np.zeros((3, 2, 2, 2)), HEART, UNIT)
    with pytest.raises(ValueError, match="unlike shapes"):
        fuse({"LA": np.zeros((2, 2, 2)), "RA": np.zeros((2, 2, 3))}, HEART, UNIT)
    with pytest.raises(ValueError, match="nothing to fuse"):
        fuse({}, HEART, UNIT)
