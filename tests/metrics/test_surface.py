"""Surface distances with values derived by hand, and compared with the scorer of the benchmark where it exists."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from heartmend.metrics.centreline import cldice
from heartmend.metrics.overlap import dice
from heartmend.metrics.surface import assd, hd95, surface_dice
from heartmend.metrics.topology import components

SCORER = Path(__file__).resolve().parents[3] / "shared" / "bench" / "score.py"


def cube(start: int, size: int, shape: int = 20) -> np.ndarray:
    mask = np.zeros((shape,) * 3, bool)
    mask[start : start + size, start : start + size, start : start + size] = True
    return mask


def test_surface_distances_of_empty_masks() -> None:
    empty, full = np.zeros((6, 6, 6), bool), cube(1, 3, 6)
    assert surface_dice(empty, empty, (1, 1, 1)) == 1
    assert hd95(empty, empty, (1, 1, 1)) == assd(empty, empty, (1, 1, 1)) == 0
    assert surface_dice(full, empty, (1, 1, 1)) == surface_dice(empty, full, (1, 1, 1)) == 0
    assert hd95(full, empty, (1, 1, 1)) == pytest.approx(np.sqrt(3) * 6)


def test_the_distance_of_shifted_slabs_is_in_mm() -> None:
    a, b = np.zeros((30, 5, 5), bool), np.zeros((30, 5, 5), bool)
    a[10:11], b[12:13] = True, True
    for spacing in (0.5, 3.0):
        assert hd95(a, b, (spacing, 1, 1)) == pytest.approx(2 * spacing)
        assert assd(a, b, (spacing, 1, 1)) == pytest.approx(2 * spacing)
        assert surface_dice(a, b, (spacing, 1, 1), tolerance_mm=2 * spacing) == 1
        assert surface_dice(a, b, (spacing, 1, 1), tolerance_mm=1.9 * spacing) == 0


def test_a_false_positive_voxel_is_an_error_at_every_tolerance() -> None:
    """Also where its box is smaller than the tolerance."""
    voxel = cube(1, 1, 6)
    assert surface_dice(voxel, np.zeros_like(voxel), (0.5, 0.5, 0.5), tolerance_mm=3) == 0


def test_hd95_is_the_larger_percentile_of_the_two_directions() -> None:
    """A plane, and the same plane with a second one far away: the two directions differ."""
    a = np.zeros((40, 10, 10), bool)
    a[5] = True
    b = a.copy()
    b[35] = True
    assert hd95(a, b, (1, 1, 1)) == hd95(b, a, (1, 1, 1)) == pytest.approx(30)
    assert assd(a, b, (1, 1, 1)) == pytest.approx(10)


@settings(max_examples=40, deadline=None)
@given(arrays(bool, (7, 6, 5)), arrays(bool, (7, 6, 5)))
def test_symmetric_and_independent_of_empty_margins(a: np.ndarray, b: np.ndarray) -> None:
    spacing = (0.8, 1.0, 1.7)
    wide_a, wide_b = np.pad(a, 9), np.pad(b, 9)
    for measure in (surface_dice, hd95, assd):
        assert measure(a, b, spacing) == pytest.approx(measure(b, a, spacing))
        if a.any() != b.any() and measure is not surface_dice:
            # A miss costs the diagonal of the volume.
            continue
        inner_a, inner_b = np.pad(a, 5), np.pad(b, 5)
        assert measure(inner_a, inner_b, spacing) == pytest.approx(measure(wide_a, wide_b, spacing))
    assert surface_dice(a, a, spacing) == 1 and hd95(a, a, spacing) == 0


@pytest.fixture(scope="module")
def scorer() -> ModuleType:
    if not SCORER.exists():
        pytest.skip("the scorer of the benchmark is not beside this repository")
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
def test_equal_to_the_scorer_of_the_benchmark(scorer: ModuleType, seed: int) -> None:
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in (34, 30, 26)), indexing="ij"), axis=-1)
    true = np.linalg.norm(grid - [15, 14, 12], axis=-1) < 9
    other = (np.linalg.norm(grid - [16, 14, 13], axis=-1) < 8.5) ^ (rng.random(true.shape) < 0.002)
    spacing = tuple(float(s) for s in rng.uniform(0.5, 1.6, 3))
    theirs = scorer.one(np.where(true, 9, 0), np.where(other, 9, 0), 9, spacing)
    assert dice(true, other) == theirs["dice"]
    assert surface_dice(other, true, spacing) == theirs["nsd"]
    assert hd95(other, true, spacing) == pytest.approx(theirs["hd95"], rel=1e-6)
    assert abs(components(other) - components(true)) == theirs["pieces"]
    assert cldice(other, true) == theirs["cldice"]
