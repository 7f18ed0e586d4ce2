"""Branches of a repaired vessel are judged one by one."""

import numpy as np

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.centrelines.tree import CentreTree, chain
from heartmend.repair.vessels.branch_acceptance import branches_of, judge_branches
from heartmend.types import Mask

CORONARY = load_anatomy("heart").by_name("Coronary")
SHAPE = (60, 40, 20)
SPACING = (1.0, 1.0, 1.0)


def box(x: tuple[int, int], y: tuple[int, int]) -> Mask:
    mask = np.zeros(SHAPE, bool)
    mask[x[0] : x[1], y[0] : y[1], 8:11] = True
    return mask


def trunk_and_branch() -> tuple[CentreTree, Mask]:
    """A trunk along x and a branch along y that leaves it in the middle."""
    trunk = chain(np.stack([np.arange(2.0, 58), np.full(56, 5.0), np.full(56, 9.0)], axis=1), np.full(56, 1.5))
    branch = chain(np.stack([np.full(29, 30.0), np.arange(6.0, 35), np.full(29, 9.0)], axis=1), np.full(29, 1.5))
    return trunk.joined(branch, [(28, 0)]), box((2, 58), (4, 7)) | box((29, 32), (7, 35))


def test_a_tree_has_a_branch_between_two_divisions_and_bridges_are_their_own() -> None:
    tree, _ = trunk_and_branch()
    branch = branches_of(tree)
    assert len(np.unique(branch)) == 3
    assert len(np.unique(branch[:27])) == 1 and len(np.unique(branch[57:])) == 1
    line = chain(np.arange(30.0).reshape(10, 3), np.ones(10))
    line.bridge[4:6] = 0
    numbers = branches_of(line)
    assert len(np.unique(numbers)) == 3
    assert set(numbers[4:6].tolist()).isdisjoint(numbers[[0, 1, 2, 7, 8, 9]].tolist())


def test_a_branch_that_lost_half_of_its_volume_gets_its_label_back_and_the_others_stay_repaired() -> None:
    tree, label = trunk_and_branch()
    repaired = label & ~box((2, 58), (4, 5))  # a third of the trunk: within the limits
    repaired &= ~box((29, 31), (7, 35))  # two thirds of the branch
    judged = judge_branches(tree, repaired, label, label, CORONARY, SPACING)
    (part,) = judged.rejected
    assert 26 <= part.length_mm <= 30 and "0.3" in part.reason
    branch = box((29, 32), (9, 35))
    assert (judged.mask & branch).sum() == branch.sum()
    np.testing.assert_array_equal(judged.mask & box((2, 27), (4, 7)), box((2, 27), (5, 7)))


def test_nothing_is_judged_where_nothing_changed_and_a_bridge_has_no_original() -> None:
    tree, label = trunk_and_branch()
    judged = judge_branches(tree, label, label, label, CORONARY, SPACING)
    assert judged.mask is label and not judged.rejected
    gap = label & ~box((10, 16), (4, 7))
    tree.bridge[8:14] = 0
    assert not judge_branches(tree, label, gap, gap, CORONARY, SPACING).rejected
