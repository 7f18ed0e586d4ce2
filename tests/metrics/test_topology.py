"""Components, tunnels, cavities and Euler number of shapes with known numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from skimage.measure import euler_number as euler_of_skimage

from heartmend.metrics.topology import betti_numbers, components, euler_number, holes


def block() -> np.ndarray:
    mask = np.zeros((9, 9, 9), bool)
    mask[1:8, 1:8, 1:8] = True
    return mask


def drilled() -> np.ndarray:
    mask = block()
    mask[4, 4, :] = False
    return mask


def hollow() -> np.ndarray:
    mask = block()
    mask[3:6, 3:6, 3:6] = False
    return mask


def frame() -> np.ndarray:
    """The twelve edges of a cube: 12 - 8 + 1 tunnels."""
    mask = block()
    for window in ((slice(None), slice(2, 7), slice(2, 7)), (slice(2, 7), slice(None), slice(2, 7)),
                   (slice(2, 7), slice(2, 7), slice(None))):  # fmt: skip
        mask[window] = False
    return mask


def corners() -> np.ndarray:
    mask = np.zeros((6, 6, 6), bool)
    mask[1, 1, 1] = mask[2, 2, 2] = mask[5, 5, 5] = True
    return mask


@pytest.mark.parametrize(
    ("mask", "numbers"),
    [
        (block(), (1, 0, 0)),
        (drilled(), (1, 1, 0)),
        (hollow(), (1, 0, 1)),
        (frame(), (1, 5, 0)),
        (corners(), (2, 0, 0)),
        (np.zeros((3, 3, 3), bool), (0, 0, 0)),
        (np.ones((3, 3, 3), bool), (1, 0, 0)),
    ],
    ids=["block", "drilled", "hollow", "frame", "corners", "empty", "full"],
)
def test_numbers_of_known_shapes(mask: np.ndarray, numbers: tuple[int, int, int]) -> None:
    found = betti_numbers(mask)
    assert found == numbers
    assert found.euler == euler_number(mask) == numbers[0] - numbers[1] + numbers[2]


def test_a_cavity_opens_through_faces_only() -> None:
    shell = block()
    shell[4, 4, 4] = False
    assert holes(shell) == 1
    shell[3, 3, 3] = shell[2, 2, 2] = shell[1, 1, 1] = False
    assert holes(shell) == 3, "corners do not open a cavity"
    shell[4, 4, 4:9] = False
    assert holes(shell) == 2


@settings(max_examples=60, deadline=None)
@given(arrays(bool, (6, 5, 7)))
def test_equal_to_scikit_image_and_scipy(mask: np.ndarray) -> None:
    """Exactly equal: counts have no rounding."""
    wide = np.pad(mask, 1)
    found = betti_numbers(mask)
    assert found.euler == euler_of_skimage(wide, connectivity=3)
    assert found.components == components(mask) == ndimage.label(mask, np.ones((3, 3, 3)))[1]
    assert found.cavities == holes(mask) == ndimage.label(~wide)[1] - 1
    assert found.tunnels >= 0
