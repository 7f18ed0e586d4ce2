"""Contact and gap: of boxes by hand, of random shapes over all pairs of voxels."""

import numpy as np
import pytest

from heartmend.metrics.contact import contact_mm2, gap_mm


def box(*ranges: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((20, 20, 20), bool)
    mask[tuple(slice(*at) for at in ranges)] = True
    return mask


def test_contact_of_two_boxes_face_to_face() -> None:
    a, b = box((2, 8), (3, 7), (4, 9)), box((8, 12), (5, 12), (4, 6))
    assert contact_mm2(a, b, (9.0, 0.5, 2.0)) == contact_mm2(b, a, (9.0, 0.5, 2.0)) == 2 * 2 * 0.5 * 2.0
    assert gap_mm(a, b, (9.0, 0.5, 2.0)) == 0


def test_a_common_corner_has_no_contact_area_and_no_gap() -> None:
    a, b = box((2, 5), (2, 5), (2, 5)), box((5, 8), (5, 8), (5, 8))
    assert contact_mm2(a, b, (1, 1, 1)) == 0
    assert gap_mm(a, b, (1, 1, 1)) == 0


@pytest.mark.parametrize(("off", "gap"), [((3, 0, 0), 2 * 0.5), ((0, 3, 0), 2 * 1.0), ((0, 3, 3), np.hypot(2, 4))])
def test_the_gap_is_between_the_voxels_faces(off: tuple[int, int, int], gap: float) -> None:
    a = box((2, 5), (2, 5), (2, 5))
    b = np.roll(box((4, 5), (4, 5), (4, 5)), off, axis=(0, 1, 2))
    assert gap_mm(a, b, (0.5, 1.0, 2.0)) == pytest.approx(gap)


def test_the_gap_to_an_empty_mask_is_none() -> None:
    assert gap_mm(box((2, 5), (2, 5), (2, 5)), np.zeros((20, 20, 20), bool), (1, 1, 1)) is None


@pytest.mark.parametrize("seed", range(6))
def test_the_definition_written_out(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spacing = rng.uniform(0.4, 1.6, 3)
    labels = rng.choice(3, size=(7, 6, 8), p=[0.8, 0.1, 0.1])
    # In half of the cases there is a gap between the two.
    if seed % 2:
        labels[2:5] = 0
        labels[:2][labels[:2] == 2] = 0
        labels[5:][labels[5:] == 1] = 0
    a, b = labels == 1, labels == 2
    away = np.abs(np.argwhere(a)[:, None] - np.argwhere(b)[None])
    face = [float(np.prod(spacing) / spacing[axis]) for axis in range(3)]
    shared = sum(face[int(pair.argmax())] for pair in away.reshape(-1, 3) if pair.sum() == 1)
    assert contact_mm2(a, b, tuple(spacing)) == pytest.approx(shared)
    between = np.linalg.norm(np.maximum(away - 1, 0) * spacing, axis=2).min()
    assert gap_mm(a, b, tuple(spacing)) == pytest.approx(between)
