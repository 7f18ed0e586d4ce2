"""Tests of which voxel classifiers are trained."""

import pytest

from heartmend.repair.voxel_classifier.cohort import classifiers_wanted


@pytest.mark.parametrize(("images", "reads_images"), [(0, [False]), (4, [False]), (5, [True, False]), (6, [True])])
def test_images_are_read_where_enough_cases_have_one(images: int, reads_images: list[bool]) -> None:
    assert classifiers_wanted(["LAA"], ["LAA"], 6, images) == [("LAA", reads) for reads in reads_images]
    assert classifiers_wanted(["LAA"], [], 6, images) == [("LAA", False)]
