"""Shared maps of the tests of corruptions."""

from __future__ import annotations

import numpy as np
import pytest

from heartmend.phantom.plan import Label


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(8)


@pytest.fixture
def two_balls() -> np.ndarray:
    """An LV of radius 12 that touches an LA of radius 10, at 1 mm."""
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in (64, 40, 40)), indexing="ij"), axis=-1)
    labels = np.zeros(grid.shape[:3], np.uint8)
    labels[np.linalg.norm(grid - [44, 20, 20], axis=-1) < 10] = Label.LA
    labels[np.linalg.norm(grid - [22, 20, 20], axis=-1) < 12.5] = Label.LV
    return labels


@pytest.fixture
def tube() -> np.ndarray:
    labels = np.zeros((80, 20, 20), np.uint8)
    labels[5:75, 9:12, 9:12] = Label.CORONARY
    return labels
