"""Tests of the errors that all cases share, on balls of contrast whose labels have a known error."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.distance import DistanceMap
from heartmend.repair.shared_errors.estimate import (
    MIN_CASES,
    CohortOffsets,
    PatchError,
    confidence_interval_mm,
    edge_shares,
    estimate_patch_errors,
    locate_edges,
    trusted_offsets,
)
from heartmend.repair.shared_errors.measurement import MeasuredCase, PatchMeasurements, measure_case
from heartmend.repair.shared_errors.regions import name_patches, summarise_regions
from heartmend.repair.shared_errors.surface import SurfacePatches, divide_surface

SIDE, TRUE_MM = 49, 15.0
ANATOMY = load_anatomy("heart")
LV = ANATOMY.by_name("LV").id


def ball_mm(radius_mm: float) -> np.ndarray:
    at = np.indices((SIDE,) * 3) - SIDE // 2
    return (radius_mm - np.sqrt((at**2).sum(axis=0))).astype(np.float32)


def patches() -> dict[str, SurfacePatches]:
    found = divide_surface(ball_mm(TRUE_MM), np.full(3, float(SIDE)))
    assert found is not None
    return {"LV": found}


def to_template(points: np.ndarray) -> np.ndarray:
    return (np.asarray(points) + 0.5) / SIDE * 2 - 1


def measured(seed: int, label_mm: float, contrast: float = 400.0) -> PatchMeasurements:
    """A case whose label has another radius than the ball in its image."""
    rng = np.random.default_rng(seed)
    image = np.where(ball_mm(TRUE_MM) > 0, contrast, -80.0) + rng.normal(0, 20, (SIDE,) * 3)
    distance, truth = ball_mm(label_mm), np.where(ball_mm(TRUE_MM) > 0, LV, 0).astype(np.uint8)
    labels = np.where(distance > 0, LV, 0).astype(np.uint8)
    case = MeasuredCase(
        {"LV": DistanceMap.of_mm(distance)}, labels, (1.0, 1.0, 1.0), to_template, gaussian_filter(image, 0.7), truth
    )
    return measure_case(case, ANATOMY, patches())


@pytest.mark.parametrize("error_mm", [-1.5, -0.8, 0.0, 1.0])
def test_an_error_of_all_labels_is_measured_by_the_image(error_mm: float) -> None:
    errors = estimate_patch_errors(locate_edges([measured(n, TRUE_MM + error_mm) for n in range(MIN_CASES)]))
    assert len(errors) > 20 and all(one.evidence == "measured" for one in errors)
    assert np.mean([one.mean_mm for one in errors]) == pytest.approx(error_mm, abs=0.15)
    assert max(one.spread_mm for one in errors) < 0.3


def test_what_is_a_cases_own_is_no_shared_error() -> None:
    sizes = (-1.6, -0.8, 0.0, 0.8, 1.6, 0.0)
    errors = estimate_patch_errors(locate_edges([measured(n, TRUE_MM + s) for n, s in enumerate(sizes)]))
    assert {one.evidence for one in errors} <= {"unclear", "none"}


def test_without_contrast_nothing_is_measured() -> None:
    errors = estimate_patch_errors(locate_edges([measured(n, TRUE_MM + 1, contrast=-80.0) for n in range(MIN_CASES)]))
    assert errors and all(one.evidence == "none" and one.mean_mm == 0 for one in errors)


def test_too_few_cases_show_nothing() -> None:
    errors = estimate_patch_errors(locate_edges([measured(n, TRUE_MM + 1) for n in range(MIN_CASES - 1)]))
    assert all(one.evidence == "none" for one in errors)


def test_trusted_surfaces_give_the_same_error() -> None:
    errors = estimate_patch_errors(trusted_offsets([measured(n, TRUE_MM + 2) for n in range(3)]))
    assert all(one.evidence == "measured" for one in errors)
    assert np.mean([one.mean_mm for one in errors]) == pytest.approx(2.0, abs=0.25)


def test_the_error_of_a_region_has_an_interval_over_the_cases() -> None:
    cases = [measured(n, TRUE_MM + 1 + shift) for n, shift in enumerate((-0.2, -0.1, 0.0, 0.1, 0.2))]
    offsets = locate_edges(cases)
    errors = estimate_patch_errors(offsets)
    names = name_patches(errors, patches(), ANATOMY)
    assert set(names.values()) == {"free surface"}
    (region,) = summarise_regions(offsets, errors, names, ANATOMY)
    assert (region.structure, region.n_cases, region.evidence) == ("LV", 5, "measured")
    assert region.ci95_low_mm < 1.0 < region.ci95_high_mm
    # By hand: the standard deviation of the five shifts is 0.158.
    assert region.case_sd_mm == pytest.approx(0.158, abs=0.06)


def test_an_outlier_is_not_part_of_the_mean() -> None:
    error = PatchError(LV, 0, 0, True, 9, 50.0, (0.0, 0.0, 0.0), "measured", 1.0, 0.05, 0.1)
    assert error.agrees_with(-1.2) and not error.agrees_with(0.4) and not error.agrees_with(float("nan"))


def test_confidence_interval_of_one_value_is_infinite() -> None:
    assert confidence_interval_mm(np.array([0.3])) == (-np.inf, np.inf)


def test_the_share_of_patches_with_an_edge_is_that_of_each_case() -> None:
    offsets = CohortOffsets(
        np.array([0, 0, 1, 1, 1], np.int32), np.full(5, 3, np.uint8), np.arange(5, dtype=np.int32),
        np.zeros(5, np.uint8), np.zeros(5, bool), np.array([0.5, np.nan, -1, 0, np.nan]), np.full(5, 9, np.int32),
        np.zeros((5, 3), np.float32), by_image=True,
    )  # fmt: skip
    assert edge_shares(offsets, ["a", "b", "without patches"]) == {"a": 0.5, "b": pytest.approx(2 / 3, abs=1e-4)}
