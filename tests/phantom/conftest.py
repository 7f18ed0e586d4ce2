"""One small cohort for all tests of the phantom; a heart at 2 mm takes well under a second."""

from __future__ import annotations

import pytest

from heartmend.phantom.cohort import PhantomCase, PhantomSettings, make_cohort

SPACING_MM = 2.0


@pytest.fixture(scope="session")
def hearts() -> list[PhantomCase]:
    return list(make_cohort(5, seed=21, settings=PhantomSettings(SPACING_MM, faults="harsh", vary_grid=False)))
