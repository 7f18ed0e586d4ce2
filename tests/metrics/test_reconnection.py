"""Fragments of an interrupted tree: which were joined to it, and which should have been."""

import numpy as np
import pytest

from heartmend.metrics.reconnection import Fragment, Reconnection, find_fragments
from heartmend.types import Mask

SHAPE = (60, 20, 20)
SPACING = (1.0, 1.0, 1.0)


def rod(first: int, last: int, y: int = 5) -> Mask:
    mask = np.zeros(SHAPE, bool)
    mask[first:last, y : y + 3, 5:8] = True
    return mask


TRUTH = rod(2, 55)
BEFORE = rod(2, 30) | rod(33, 40) | rod(44, 55) | rod(20, 26, y=14)
"""The main piece, two fragments of the vessel and an island beside it."""


def rates(after: Mask) -> tuple[float | None, float | None]:
    found = Reconnection.of(find_fragments(BEFORE, after, TRUTH, SPACING))
    assert (found.true, found.false) == (2, 1)
    return found.sensitivity, found.specificity


def test_what_is_joined_removed_or_left_apart_is_counted() -> None:
    assert rates(TRUTH) == (1.0, 1.0)
    assert rates(BEFORE) == (0.0, 1.0)  # nothing is joined, neither the island
    assert rates(rod(2, 30)) == (0.0, 1.0)  # what was removed is not joined
    assert rates(TRUTH & ~rod(40, 44)) == (0.5, 1.0)
    assert rates(TRUTH | rod(20, 26, y=14) | rod(22, 24, y=8) | rod(22, 24, y=11)) == (1.0, 0.0)


def test_fragments_that_are_joined_to_each_other_but_not_to_their_tree_are_not_joined() -> None:
    assert rates(TRUTH & ~rod(30, 33)) == (0.0, 1.0)


def test_a_fragment_that_is_joined_to_the_other_tree_is_not_joined() -> None:
    truth = rod(2, 55) | rod(2, 55, y=14)
    before = rod(2, 30) | rod(36, 55) | rod(2, 55, y=14)
    wrong = before | rod(40, 42, y=8) | rod(40, 42, y=11)
    (fragment,) = find_fragments(before, wrong, truth, SPACING)
    assert fragment.is_vessel and not fragment.is_joined


def test_a_fragment_belongs_to_the_part_of_the_reference_that_it_is_in_or_nearest_to() -> None:
    parts = np.where(TRUTH, 7, 0)
    parts[:38] *= 3
    found = find_fragments(BEFORE, TRUTH, TRUTH, SPACING, parts)
    assert {(one.part, one.is_vessel, one.mm3) for one in found} == {
        (21, True, 63.0),
        (7, True, 99.0),
        (21, False, 54.0),
    }


def test_specks_do_not_count_and_empty_maps_have_no_fragments() -> None:
    speck = np.zeros(SHAPE, bool)
    speck[50, 15, 15] = True
    assert find_fragments(TRUTH | speck, TRUTH, TRUTH, SPACING) == []
    nothing = np.zeros(SHAPE, bool)
    assert find_fragments(nothing, TRUTH, TRUTH, SPACING) == find_fragments(TRUTH, TRUTH, nothing, SPACING) == []
    none = Reconnection.of([])
    assert none.sensitivity is None and none.specificity is None


def test_the_numbers_of_several_cases_are_summed() -> None:
    found = Reconnection.of(
        [Fragment(9.0, 1, True, True), Fragment(9.0, 1, True, False), Fragment(9.0, 1, False, False)]
    )
    assert (found.sensitivity, found.specificity) == (pytest.approx(0.5), 1.0)
