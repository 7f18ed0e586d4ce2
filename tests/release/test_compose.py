"""Decisions put together on one map."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from heartmend.anatomy.load import load_anatomy
from heartmend.io.dataset import Case
from heartmend.release.compose import Plan, compose
from heartmend.review.summary import Digest
from heartmend.review.priority import Doubt

HEART = load_anatomy("heart")
MAPS = arrays(np.uint8, (3, 3, 2), elements=st.integers(0, 5))
CHOICES = st.sampled_from(["accept", "keep", "corrected"])
NAMES = ("Myocardium", "LA", "LV", "RA", "RV")


def plan(**choices: str) -> Plan:
    digest = Digest("1", "s", Doubt(0, 0, 0, 0), "info", 0, (), (), (), (1, 1, 1), (), False)
    return Plan(Case("1", Path("1.nii.gz")), digest, choices)  # type: ignore[arg-type]


def line(*ids: int) -> np.ndarray:
    return np.array(ids, dtype=np.uint8).reshape(-1, 1, 1)


def test_by_hand() -> None:
    """LA (2) is kept, RA (4) is mended. A voxel that the LA took from the RA goes back; one that it gave stays."""
    before, after = line(2, 2, 4, 4, 0, 0, 2), line(2, 4, 2, 4, 4, 2, 0)
    put = compose(before, after, plan(LA="keep", RA="accept"), HEART)
    assert put.ravel().tolist() == [2, 2, 4, 4, 4, 0, 2]


def test_all_accepted_is_the_mended_map_and_all_kept_the_original() -> None:
    before, after = line(2, 2, 4, 0, 3), line(4, 2, 0, 3, 3)
    assert (compose(before, after, plan(LA="accept", RA="accept", LV="accept"), HEART) == after).all()
    assert (compose(before, after, plan(LA="keep", RA="keep", LV="keep"), HEART) == before).all()


@given(MAPS, MAPS, MAPS, st.tuples(*[CHOICES] * 5))
def test_kept_and_corrected_structures_are_exact(
    before: np.ndarray, after: np.ndarray, corrected: np.ndarray, choices: tuple[str, ...]
) -> None:
    put = compose(before, after, plan(**dict(zip(NAMES, choices, strict=True))), HEART, corrected)
    by_hand = [i for i, choice in enumerate(choices, start=1) if choice == "corrected"]
    kept = [i for i, choice in enumerate(choices, start=1) if choice == "keep"]
    for id in by_hand:
        assert ((put == id) == (corrected == id)).all()
    drawn = np.isin(corrected, by_hand)
    for id in kept:
        assert ((put == id) == ((before == id) & ~drawn)).all()
    # Nothing is invented: each voxel is that of one of the maps.
    assert ((put == before) | (put == after) | (put == corrected) | (put == 0)).all()
    # Where only mended structures are concerned, it is the mended map.
    others = [*kept, *by_hand]
    concerned = np.isin(before, kept) | np.isin(after, others) | np.isin(corrected, by_hand)
    assert (put[~concerned] == after[~concerned]).all()
