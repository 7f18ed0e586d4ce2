"""Labels corrected by networks: trained until more steps gain nothing, replaced only where cleanlab finds errors."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("monai", reason="MONAI is an extra: pip install '.[benchmarks]'")

import peer_networks
from coarse_cases import coarse_grid
from peer_networks import RelabelNetwork
from small_unet import NetworkSettings

from heartmend.anatomy.load import load_anatomy
from heartmend.io.dataset import Cohort, discover_cohort
from support.hearts import small_heart

SETTINGS = NetworkSettings(spacing_mm=2.0, steps=2, patch=16, channels=(4, 8))


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    for seed in range(2):
        for folder, values in (("labels", small_heart(seed)), ("images", small_heart(seed).astype(np.int16) * 80)):
            (tmp_path / folder).mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(values, np.diag([-1.0, 1.0, 1.0, 1.0])), tmp_path / folder / f"{seed}.nii.gz")
    anatomy = load_anatomy("heart").without_absent(())
    return discover_cohort(tmp_path / "labels", tmp_path / "images", anatomy=anatomy)


def network(cohort: Cohort, folder: Path) -> RelabelNetwork:
    return RelabelNetwork(cohort.cases, (3, 5), SETTINGS, folder)


def certain(labels: np.ndarray) -> np.ndarray:
    """Probabilities of 0.9 for some labels (0, 1, 2)."""
    return np.where(np.arange(3)[:, None, None, None] == labels, 0.9, 0.05).astype(np.float16)


def test_training_ends_when_more_steps_gain_nothing(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = network(cohort, tmp_path / "network")
    tried: list[int] = []

    def predicted(steps: int) -> list[np.ndarray]:
        tried.append(steps)
        # The share of the hearts that is found grows until 8 steps.
        rows = min(steps, 8)
        return [certain(np.where(np.arange(16)[:, None, None] < rows, one, 0)) for one in found.labels]

    monkeypatch.setattr(found, "_predict_all", predicted)
    found.train(1000, lambda text: None)
    assert tried == [2, 4, 8, 16] and found.steps == 8
    again = network(cohort, tmp_path / "network")
    again.train(1000, lambda text: None)
    assert again.steps == 8
    np.testing.assert_array_equal(again.probabilities(cohort.cases[0]), found.probabilities(cohort.cases[0]))


def test_only_what_cleanlab_finds_is_replaced(cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cleanlab", reason="cleanlab is an extra: pip install '.[benchmarks]'")
    found = network(cohort, tmp_path / "network")
    truth = [one.copy() for one in found.labels]
    found.labels[0][1:4, 1:4, 1:4] = 2
    monkeypatch.setattr(found, "_predict_all", lambda steps: [certain(one) for one in truth])
    monkeypatch.setattr(peer_networks, "MIN_GAIN", 2.0)
    found.train(1000, lambda text: None)
    wrong = found.issues()
    expected = np.zeros(truth[0].shape, bool)
    expected[1:4, 1:4, 1:4] = True
    np.testing.assert_array_equal(wrong[0], expected)
    assert not wrong[1].any()
    case = cohort.cases[0]
    volume = cohort.read_labels(case)
    relabelled = found.relabelled(case, volume)
    assert set(np.unique(relabelled)) == {0, 3, 5} and np.mean(relabelled != volume.labels) < 0.05
    corrected = found.corrected(volume, np.full_like(relabelled, 3), wrong[0])
    changed = corrected != volume.labels
    # The box of 6 mm on the grid of the case, whose first axis is reversed; interpolation rounds its corners.
    assert coarse_grid(volume.grid, 2.0).shape == (16, 16, 16)
    assert changed[25:29, 3:7, 3:7].all() and 0.8 * 6**3 < np.count_nonzero(changed) <= 6**3
