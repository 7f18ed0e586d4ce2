"""Cohorts of predictions: on the grid of each file, once; and the score of a repair with its interval."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from cohort_score import dice_errors, reduction_interval

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.roi import CT_WINDOW_HU
from heartmend.io.dataset import discover_cohort
from heartmend.metrics.case import Row
from support.hearts import small_heart
from support.volumes import save_nifti

pytest.importorskip("monai", reason="MONAI is an extra: pip install '.[benchmarks]'")

import torch
from network_cohort import NetworkSettings, chamber_dice, coarse_case, make_cohorts, predict

ANATOMY = load_anatomy("heart").without_absent(())
TURNED = np.array([[0, -1.0, 0, 40], [0, 0, 1.5, 60], [1.25, 0, 0, -30], [0, 0, 0, 1]])
TINY = NetworkSettings(
    spacing_mm=(2.0, 2.5), strengths={"early": 0.01, "late": 2.0}, steps=2, every=1, patch=16, channels=(4, 8)
)


class Reader(torch.nn.Module):
    """A network that is right: the brightness of the CT tells the class."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        classes = torch.round(inputs[:, 0] * 10).long()
        return 50 * torch.nn.functional.one_hot(classes, 11).movedim(-1, 1).float()


def write(folder: Path, count: int, affine: np.ndarray = TURNED) -> Path:
    """A cohort whose CT tells the class: a tenth of the window for each."""
    low, high = CT_WINDOW_HU
    for seed in range(count):
        labels = small_heart(seed)[:, 2:, 1:]
        for name, values, dtype in (
            ("labels_true", labels, np.uint8),
            ("images", low + labels / 10 * (high - low), np.int16),
        ):
            (folder / name).mkdir(parents=True, exist_ok=True)
            save_nifti(folder / name / f"{seed + 1:03d}.nii.gz", values, dtype, affine)
    return folder


@pytest.mark.parametrize("nearest", [True, False])
def test_a_prediction_is_on_the_grid_of_its_file(tmp_path: Path, nearest: bool) -> None:
    # The grid of the network is the grid of the file, with its axes in another order and direction.
    folder = write(tmp_path, 1, np.array([[0, -2.0, 0, 40], [0, 0, 2.0, 60], [2.0, 0, 0, -30], [0, 0, 0, 1]]))
    cohort = discover_cohort(folder / "labels_true", folder / "images", anatomy=ANATOMY)
    case = coarse_case(cohort, next(iter(cohort)), ANATOMY, 2.0)
    truth = cohort.read_labels(case.case).labels
    assert case.shape == tuple(truth.shape[axis] for axis in (1, 2, 0)) and case.classes.shape == case.shape
    labels = predict(Reader(), case, ANATOMY, nearest=nearest)
    np.testing.assert_array_equal(labels, truth)
    assert chamber_dice(Reader(), case) == 1.0


def test_a_coarser_grid_makes_steps_only_by_the_nearest_voxel(tmp_path: Path) -> None:
    folder = write(tmp_path, 1, np.diag([1.0, 1.0, 1.0, 1.0]))
    cohort = discover_cohort(folder / "labels_true", folder / "images", anatomy=ANATOMY)
    case = coarse_case(cohort, next(iter(cohort)), ANATOMY, 2.0)
    assert case.classes.shape == (16, 15, 16)
    steps = predict(Reader(), case, ANATOMY, nearest=True)
    assert np.array_equal(steps[::2], steps[1::2]) and np.array_equal(steps[:, ::2], steps[:, 1::2])
    smooth = predict(Reader(), case, ANATOMY, nearest=False)
    assert not np.array_equal(smooth[::2], smooth[1::2])


def test_cohorts_are_made_once_for_each_strength(tmp_path: Path) -> None:
    source, lines = write(tmp_path / "source", 4), list[str]()
    made = make_cohorts(source, tmp_path / "out", ANATOMY, TINY, lines.append)
    assert list(made) == ["early", "late"] and lines
    for folder in made.values():
        for name in ("labels_true", "labels_noisy", "images"):
            assert sorted(path.name for path in (folder / name).iterdir()) == [
                f"{n}.nii.gz" for n in ("001", "002", "003", "004")
            ]
        noisy, true = (nib.load(folder / name / "003.nii.gz") for name in ("labels_noisy", "labels_true"))
        np.testing.assert_array_equal(noisy.affine, true.affine)
        assert noisy.shape == true.shape and set(np.unique(noisy.dataobj)) <= set(range(11))
    paths = sorted((tmp_path / "out").rglob("labels_noisy/*"))
    before = [path.read_bytes() for path in paths]
    assert make_cohorts(source, tmp_path / "out", ANATOMY, TINY, lambda line: pytest.fail(line)) == made
    paths[0].unlink()
    make_cohorts(source, tmp_path / "out", ANATOMY, TINY, lines.append)
    assert [path.read_bytes() for path in paths] == before, "the same seed gives the same labels"


def row(which: str, case: str, structure: str, dice: float) -> Row:
    return Row(case, structure, which, "reference", True, True, {"dice": dice})  # type: ignore[arg-type]


def test_the_share_removed_is_that_of_the_summed_errors() -> None:
    rows = [
        row(which, case, structure, dice)
        for case in ("1", "2")
        for structure, before, after in (("LV", 0.8, 0.9), ("RV", 0.6, 0.9))
        for which, dice in (("a", before), ("b", after))
    ]
    errors = dice_errors(rows, ["LV", "RV"])
    np.testing.assert_allclose(errors, [[[0.2, 0.4]] * 2, [[0.1, 0.1]] * 2])
    # Both cases are equal, so every resample gives the mean of 1/2 and 3/4.
    np.testing.assert_allclose(reduction_interval(errors), (0.625, 0.625, 0.625))
    errors[1, 1] = errors[0, 1]
    mean, low, high = reduction_interval(errors)
    np.testing.assert_allclose((mean, low, high), (0.3125, 0.0, 0.625))
