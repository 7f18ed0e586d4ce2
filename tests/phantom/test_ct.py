"""Simulated CT."""

import numpy as np

from heartmend.phantom.ct import ThinVessels, scan
from heartmend.phantom.plan import Label

SHAPE = (24, 24, 24)


def constant(value: float) -> np.ndarray:
    return np.full(SHAPE, value, np.float32)


def test_a_voxel_is_the_mixture_of_what_it_contains() -> None:
    vessels = ThinVessels(constant(0.5), constant(0.8), constant(0.25), constant(1000))
    # Half lumen of 0.8 * 400 HU in fat of -100 HU, and a quarter of the whole is calcium.
    assert np.allclose(vessels.drawn_on(constant(-100), 400.0), 0.25 * 1000 + 0.75 * (0.5 * 320 - 50))


def test_vessels_are_drawn_before_the_blur() -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[:4] = Label.MYOCARDIUM
    share = constant(0)
    share[12, 12] = 1
    line = ThinVessels(share, constant(1), constant(0), constant(0))
    spacing = np.array([0.5, 0.5, 0.5])
    without, with_line = (
        scan(labels, spacing, np.random.default_rng(1), vessels).astype(float) for vessels in (None, line)
    )
    added = (with_line - without)[..., 12]
    assert added[12, 12] == added.max() and 20 < added.max() < 300  # a line of one voxel fades
    assert 0 < added[13, 12] < added[12, 12]
    assert np.abs(added[:6]).max() <= 1
