"""Gaps and missing ends of vessels."""

from __future__ import annotations

import numpy as np

from heartmend.metrics.topology import components
from heartmend.phantom.corruption.vessel_faults import missing_end, vessel_gap
from heartmend.phantom.plan import Label

SPACING = np.array([1.0, 1.0, 1.0])


def test_a_gap_divides_a_vessel_and_a_missing_end_does_not(tube: np.ndarray) -> None:
    parts = [
        components(vessel_gap(tube, SPACING, np.random.default_rng(seed), Label.CORONARY, 6.0) > 0) for seed in range(8)
    ]
    assert max(parts) == 2
    lost = missing_end(tube, SPACING, np.random.default_rng(0), Label.CORONARY, 15.0)
    left = np.flatnonzero(lost.any(axis=(1, 2)))
    assert components(lost > 0) == 1 and 45 <= len(left) <= 62
