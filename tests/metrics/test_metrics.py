"""Answers derived by hand; and the same numbers as the benchmark's own scorer where that is at hand."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from heartmend.metrics import assd, cldice, dice, hd95, holes, iou, pieces, surface_dice

SCORER = Path(__file__).resolve().parents[3] / "shared" / "bench" / "score.py"


def cube(start: int, size: int, shape: int = 20) -> np.ndarray:
    mask = np.zeros((shape,) * 3, bool)
    mask[start : start + size, start : start + size, start : start + size] = True
    return mask


def test_overlap_of_two_slabs_that_share_half() -> None:
    a, b = np.zeros((4, 4, 4), bool), np.zeros((4, 4, 4), bool)
    a[:2], b[1:3] = True, True
    assert dice(a, b) == 0.5
    assert iou(a, b) == pytest.approx(1 / 3)


def test_two_empty_masks_agree_and_one_does_not() -> None:
    empty, full = np.zeros((6, 6, 6), bool), cube(1, 3, 6)
    assert dice(empty, empty) == iou(empty, empty) == surface_dice(empty, empty, (1, 1, 1)) == cldice(empty, empty) == 1
    assert hd95(empty, empty, (1, 1, 1)) == assd(empty, empty, (1, 1, 1)) == 0
    assert dice(full, empty) == surface_dice(full, empty, (1, 1, 1)) == cldice(full, empty) == 0
    assert hd95(full, empty, (1, 1, 1)) == pytest.approx(np.sqrt(3) * 3)


def test_shifted_slabs_are_one_true_spacing_apart() -> None:
    a, b = np.zeros((30, 5, 5), bool), np.zeros((30, 5, 5), bool)
    a[10:11], b[12:13] = True, True
    for spacing in (0.5, 3.0):
        assert hd95(a, b, (spacing, 1, 1)) == pytest.approx(2 * spacing)
        assert assd(a, b, (spacing, 1, 1)) == pytest.approx(2 * spacing)
        assert surface_dice(a, b, (spacing, 1, 1), tolerance_mm=2 * spacing) == 1
        assert surface_dice(a, b, (spacing, 1, 1), tolerance_mm=1.9 * spacing) == 0


def test_pieces_join_at_corners_and_holes_leak_through_faces_only() -> None:
    mask = np.zeros((6, 6, 6), bool)
    mask[1, 1, 1] = mask[2, 2, 2] = True
    assert pieces(mask) == 1
    mask[5, 5, 5] = True
    assert pieces(mask) == 2
    shell = cube(2, 7)
    shell[5, 5, 5] = False
    assert holes(shell) == 1
    shell[5, 5, 6:9] = False
    assert holes(shell) == 0


def test_centreline_ignores_width_but_sees_a_lost_half() -> None:
    thick, thin = np.zeros((60, 15, 15), bool), np.zeros((60, 15, 15), bool)
    thick[5:55, 5:10, 5:10] = True
    thin[5:55, 6:9, 6:9] = True
    assert cldice(thin, thick) > 0.95
    half = thin & (np.arange(60) < 30)[:, None, None]
    assert cldice(half, thick) == pytest.approx(2 / 3, abs=0.05)


@settings(max_examples=40, deadline=None)
@given(arrays(bool, (7, 6, 5)), arrays(bool, (7, 6, 5)))
def test_symmetric_bounded_and_blind_to_empty_surroundings(a: np.ndarray, b: np.ndarray) -> None:
    spacing = (0.8, 1.0, 1.7)
    wide_a, wide_b = np.pad(a, 9), np.pad(b, 9)
    assert 0 <= iou(a, b) <= dice(a, b) <= 1
    for measure in (surface_dice, hd95, assd):
        assert measure(a, b, spacing) == pytest.approx(measure(b, a, spacing))
        inner_a, inner_b = np.pad(a, 5), np.pad(b, 5)
        assert measure(inner_a, inner_b, spacing) == pytest.approx(measure(wide_a, wide_b, spacing))
    assert surface_dice(a, a, spacing) == 1 and hd95(a, a, spacing) == 0


@pytest.fixture(scope="module")
def scorer() -> ModuleType:
    if not SCORER.exists():
        pytest.skip("the benchmark's scorer is not beside this repository")
    spec = importlib.util.spec_from_file_location("bench_score", SCORER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = written
    return module


@pytest.mark.parametrize("seed", range(6))
def test_same_numbers_as_the_benchmark(scorer: ModuleType, seed: int) -> None:
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in (34, 30, 26)), indexing="ij"), axis=-1)
    true = np.linalg.norm(grid - [15, 14, 12], axis=-1) < 9
    other = (np.linalg.norm(grid - [16, 14, 13], axis=-1) < 8.5) ^ (rng.random(true.shape) < 0.002)
    spacing = tuple(float(s) for s in rng.uniform(0.5, 1.6, 3))
    theirs = scorer.one(np.where(true, 9, 0), np.where(other, 9, 0), 9, spacing)
    assert dice(true, other) == theirs["dice"]
    assert surface_dice(other, true, spacing) == theirs["nsd"]
    assert hd95(other, true, spacing) == pytest.approx(theirs["hd95"], rel=1e-6)
    assert abs(pieces(other) - pieces(true)) == theirs["pieces"]
    assert cldice(other, true) == theirs["cldice"]
