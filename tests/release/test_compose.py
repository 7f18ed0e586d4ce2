"""Tests of the composition of a label map from decisions."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from heartmend.anatomy.load import load_anatomy
from heartmend.io.dataset import Case
from heartmend.release.compose import compose_labels
from heartmend.release.plan import CasePlan
from heartmend.review.priority import ReviewPriority
from heartmend.review.summary import ReviewSummary

HEART = load_anatomy("heart")
MAPS = arrays(np.uint8, (3, 3, 2), elements=st.integers(0, 5))
CHOICES = st.sampled_from(["accept", "reject", "corrected"])
NAMES = ("Myocardium", "LA", "LV", "RA", "RV")


def plan(**choices: str) -> CasePlan:
    summary = ReviewSummary("1", "s", ReviewPriority(0, 0, 0, 0), "info", 0, (), (), (), (1, 1, 1), (), False)
    return CasePlan(Case("1", Path("1.nii.gz")), summary, choices)  # type: ignore[arg-type]


def line(*ids: int) -> np.ndarray:
    return np.array(ids, dtype=np.uint8).reshape(-1, 1, 1)


def test_a_rejected_structure_gets_its_original_voxels_back() -> None:
    """LA (2) is rejected, RA (4) accepted: no voxel moves between the two."""
    before, after = line(2, 2, 4, 4, 0, 0, 2), line(2, 4, 2, 4, 4, 2, 0)
    composed = compose_labels(before, after, plan(LA="reject", RA="accept"), HEART)
    assert composed.ravel().tolist() == [2, 2, 4, 4, 4, 0, 2]


def test_all_accepted_is_the_repaired_map_and_all_rejected_the_original() -> None:
    before, after = line(2, 2, 4, 0, 3), line(4, 2, 0, 3, 3)
    assert (compose_labels(before, after, plan(LA="accept", RA="accept", LV="accept"), HEART) == after).all()
    assert (compose_labels(before, after, plan(LA="reject", RA="reject", LV="reject"), HEART) == before).all()


@given(MAPS, MAPS, MAPS, st.tuples(*[CHOICES] * 5))
def test_rejected_and_corrected_structures_are_exact(
    before: np.ndarray, after: np.ndarray, corrected: np.ndarray, choices: tuple[str, ...]
) -> None:
    composed = compose_labels(before, after, plan(**dict(zip(NAMES, choices, strict=True))), HEART, corrected)
    by_hand = [i for i, choice in enumerate(choices, start=1) if choice == "corrected"]
    rejected = [i for i, choice in enumerate(choices, start=1) if choice == "reject"]
    for id in by_hand:
        assert ((composed == id) == (corrected == id)).all()
    covered = np.isin(corrected, by_hand)
    for id in rejected:
        assert ((composed == id) == ((before == id) & ~covered)).all()
    # Each voxel has the label of one of the maps.
    assert ((composed == before) | (composed == after) | (composed == corrected) | (composed == 0)).all()
    # Where only accepted structures are involved, it is the repaired map.
    others = [*rejected, *by_hand]
    involved = np.isin(before, rejected) | np.isin(after, others) | np.isin(corrected, by_hand)
    assert (composed[~involved] == after[~involved]).all()
