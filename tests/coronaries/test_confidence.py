"""Confidence of segment names."""

import numpy as np
import pytest

from heartmend.coronaries.confidence import GROUPS, calibrated
from heartmend.coronaries.segments import Segment


def test_every_name_is_in_one_group() -> None:
    members = [segment for group in GROUPS.values() for segment in group]
    assert sorted(members) == sorted(Segment)


@pytest.mark.parametrize("segment", list(Segment))
def test_the_confidence_rises_with_the_agreement_from_0_and_is_a_share(segment: Segment) -> None:
    agreement = np.linspace(0, 1, 101)
    confidence = calibrated(np.full(101, int(segment)), agreement)
    assert confidence[0] == 0 and (np.diff(confidence) >= 0).all() and confidence[-1] <= 1
    assert confidence[-1] > 0.5


def test_what_has_no_name_has_no_confidence() -> None:
    assert calibrated(np.array([0, int(Segment.LAD)]), np.array([0.9, 0.9])).tolist() == [0.0, 0.94]
