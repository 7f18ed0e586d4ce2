"""Tests of the families of faults, on a ball inside a wall, with answers derived by hand."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from fault_families import FAMILIES, SOLID, Draw, _with_offsets, convention, make_all, melted, nearly, sparse

from heartmend.metrics.overlap import dice
from heartmend.phantom.plan import Label

SPACING = np.ones(3)


def heart() -> np.ndarray:
    """An LV of radius 12 mm in a wall of 6 mm, with a straight coronary beside it."""
    x, y, z = np.mgrid[:60, :60, :60] - 29.5
    radius = np.sqrt(x**2 + y**2 + z**2)
    labels = np.zeros((60, 60, 60), np.uint8)
    labels[radius < 18] = Label.MYOCARDIUM
    labels[radius < 12] = Label.LV
    labels[52:54, 29:31, 10:50] = Label.CORONARY
    return labels


def draw(seed: int = 0) -> Draw:
    return Draw(SPACING, np.random.default_rng(seed), np.random.default_rng(7))


def radius_mm(mask: np.ndarray) -> float:
    return float((mask.sum() * 3 / (4 * np.pi)) ** (1 / 3))


def test_offsets_move_a_surface_to_the_background_by_themselves_and_one_between_two_by_their_difference() -> None:
    offsets = np.zeros(len(SOLID))
    offsets[SOLID.index(Label.MYOCARDIUM)], offsets[SOLID.index(Label.LV)] = 2.0, 1.0
    found = _with_offsets(heart(), draw(), offsets, 0.0, 5.0)
    assert radius_mm(found > 0) == pytest.approx(radius_mm(heart() > 0) + 2, abs=0.35)
    assert radius_mm(found == Label.LV) == pytest.approx(radius_mm(heart() == Label.LV) - 1, abs=0.35)
    assert ((found == Label.CORONARY) == (heart() == Label.CORONARY)).all()


def test_all_cases_of_a_convention_have_the_same_error() -> None:
    first, second = (convention(heart(), draw(seed)) for seed in (1, 2))
    assert abs(radius_mm(first == Label.LV) - radius_mm(second == Label.LV)) < 0.3
    assert abs(radius_mm(first == Label.LV) - radius_mm(heart() == Label.LV)) > 0.3


@pytest.mark.parametrize("fault", FAMILIES, ids=lambda fault: fault.__name__)
def test_a_family_has_errors_is_repeatable_and_leaves_its_input_alone(fault) -> None:
    labels = heart()
    noisy, again = fault(labels, draw()), fault(labels, draw())
    assert (labels == heart()).all() and noisy.dtype == np.uint8 and (noisy == again).all()
    assert set(np.unique(noisy)) <= set(np.unique(labels)) and (noisy != labels).any()
    assert dice(noisy == Label.LV, labels == Label.LV) > 0.6


def test_careful_labels_are_better_than_melted_ones() -> None:
    careful, coarse = (dice(fault(heart(), draw()) == 1, heart() == 1) for fault in (nearly, melted))
    assert careful > coarse and careful > 0.95


def test_what_was_drawn_on_slices_is_right_on_average() -> None:
    """A ball is interpolated inside itself: a little smaller, but not moved."""
    found = np.argwhere(sparse(heart(), draw()) == Label.LV)
    assert found.mean(axis=0) == pytest.approx([29.5] * 3, abs=0.5)


def test_the_cohorts_are_written_with_their_truth(tmp_path: Path) -> None:
    cohort = tmp_path / "hearts" / "labels_true"
    cohort.mkdir(parents=True)
    for name in ("001", "002", "003"):
        nib.save(nib.Nifti1Image(heart(), np.eye(4)), cohort / f"{name}.nii.gz")
    (folder,) = make_all(tmp_path / "out", [cohort.parent], count=2, seed=1, only=["white"])
    assert folder.name == "white-hearts-alone"
    names = [sorted(path.name for path in (folder / kind).iterdir()) for kind in ("labels_true", "labels_noisy")]
    assert names[0] == names[1] and len(names[0]) == 2
    rows = (folder / "cases.csv").read_text().splitlines()
    assert rows[0] == "case,family,dice" and 0.5 < float(rows[1].split(",")[2]) < 1
