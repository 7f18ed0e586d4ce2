"""One small cohort for all tests of the phantom: hearts at 2 mm are made in well under a second."""

from __future__ import annotations

import pytest

from heartmend.phantom.cohort import PhantomCase, make_cohort

SPACING_MM = 2.0


@pytest.fixture(scope="session")
def hearts() -> list[PhantomCase]:
    return list(make_cohort(5, seed=21, spacing_mm=SPACING_MM, vary_grid=False))
