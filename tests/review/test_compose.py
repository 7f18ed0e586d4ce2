"""Tests of the composition of a label map from decisions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.grid import Grid
from heartmend.io.dataset import Case
from heartmend.repair.change_voxels import split_into_changes
from heartmend.repair.changes import Change
from heartmend.review.compose import compose_labels
from heartmend.review.plan import CasePlan
from heartmend.review.priority import ReviewPriority
from heartmend.review.summary import ReviewChange, ReviewSummary

HEART = load_anatomy("heart")
MAPS = arrays(np.uint8, (3, 3, 2), elements=st.integers(0, 5))
CHOICES = st.sampled_from(["accept", "reject", "corrected"])
NAMES = ("Myocardium", "LA", "LV", "RA", "RV")


def plan(**choices: str) -> CasePlan:
    summary = ReviewSummary("1", "s", ReviewPriority(0, 0, 0, 0), "info", 0, (), (), (1, 1, 1), (), False)
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


def test_a_rejected_change_gets_its_original_voxels_back_and_the_others_stay() -> None:
    before, after = line(2, 2, 0, 0, 4, 3), line(2, 4, 2, 2, 0, 2)
    changes = (np.array([1, 2, 3, 4, 5]), np.array([0, 1, 2, 3, 3], np.uint16))
    keys = tuple(
        ReviewChange(Change("r", "LA", "a", 1, 1.0, ((0, 0, 0), (1, 1, 1))), f"c{n}", ("LA",), (0, 0, 0))
        for n in range(4)
    )

    def composed(own: dict[str, str], **choices: str) -> list[int]:
        one = replace(plan(**choices), own_choices=own)
        one = replace(one, summary=replace(one.summary, changes=keys))
        return compose_labels(before, after, one, HEART, changes=changes).ravel().tolist()

    assert composed({"c1": "reject"}, LA="accept") == [2, 4, 0, 2, 0, 2]
    # Change 3 has two voxels, of other structures too: all of it is taken back.
    assert composed({"c3": "reject"}, LA="accept", RA="accept", LV="accept") == [2, 4, 2, 2, 4, 3]
    # A decision about a change outweighs the one about its structures.
    assert composed({"c1": "accept"}, LA="reject", RA="accept") == [2, 2, 2, 0, 0, 3]


@given(MAPS, MAPS, st.integers(0, 2**32 - 1))
def test_the_released_map_has_exactly_the_accepted_changes(before: np.ndarray, after: np.ndarray, seed: int) -> None:
    box = ((-1.0, -1.0, -1.0), (9.0, 9.0, 9.0))
    log = [Change("holes", "LV", "filled", 1, 1.0, box), Change("swaps", "LA", "moved to RA", 1, 1.0, box)]
    found = split_into_changes(before, after, Grid(before.shape, np.eye(4)), HEART, log)
    rng = np.random.default_rng(seed)
    own = {c.key: str(rng.choice(["accept", "reject"])) for c in found.changes if c.key}
    reviewed = tuple(ReviewChange(c.change, c.key, c.structures, (0, 0, 0)) for c in found.changes)
    one = plan()
    one = replace(one, own_choices=own, summary=replace(one.summary, changes=reviewed))  # type: ignore[arg-type]
    # Also for label maps in the memory layout of NIfTI files.
    maps = (np.asfortranarray(before), np.asfortranarray(after))
    composed = compose_labels(*maps, one, HEART, changes=(found.voxels, found.numbers))
    number = found.volume(before.shape)
    for position, change in enumerate(found.changes, start=1):
        source = before if own.get(change.key) == "reject" else after
        assert (composed[number == position] == source[number == position]).all()
    assert (composed[number == 0] == after[number == 0]).all()
