"""Corruptions in one place change what their name says, and nothing else."""

from __future__ import annotations

import numpy as np

from heartmend.metrics.topology import components
from heartmend.phantom.corruption.patches import hole, label_swap, leak, small_component, speckle
from heartmend.phantom.corruption.surfaces import rough_structure, rough_surfaces
from heartmend.phantom.plan import Label

SPACING = np.array([1.0, 1.0, 1.0])


def test_a_corruption_does_not_change_its_input(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    original = two_balls.copy()
    for corruption in (small_component, hole, leak, label_swap):
        corruption(two_balls, SPACING, rng, 4.0)
    rough_surfaces(two_balls, SPACING, rng, 1.0, 3.0)
    rough_structure(two_balls, SPACING, rng, Label.LV, 1.0, 3.0)
    speckle(two_balls, rng, 0.05)
    np.testing.assert_array_equal(two_balls, original)


def test_small_components_are_added_to_the_background(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    noisy = two_balls
    for _ in range(6):
        noisy = small_component(noisy, SPACING, rng, 2.5)
    changed = noisy != two_balls
    assert changed.any() and (two_balls[changed] == 0).all()
    assert components(noisy > 0) > 1


def test_holes_only_remove_labels(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    noisy = hole(two_balls, SPACING, rng, 3.0)
    changed = noisy != two_balls
    assert 20 < changed.sum() < 400 and (noisy[changed] == 0).all()


def test_a_leak_crosses_the_boundary_of_neighbours(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    noisy = leak(two_balls, SPACING, rng, 4.0)
    assert ((noisy != two_balls) & (two_balls > 0) & (noisy > 0)).any()


def test_a_label_swap_relabels_a_patch(two_balls: np.ndarray) -> None:
    patched = [label_swap(two_balls, SPACING, np.random.default_rng(seed), 5.0) for seed in range(8)]
    changed = [noisy != two_balls for noisy in patched]
    assert any(where.any() for where in changed)
    assert all(
        (two_balls[where] > 0).all() and (noisy[where] > 0).all() for noisy, where in zip(patched, changed, strict=True)
    )


def test_speckle_is_sparse(two_balls: np.ndarray, rng: np.random.Generator) -> None:
    share = (speckle(two_balls, rng, 0.02) != two_balls).mean()
    assert 0 < share < 0.02
