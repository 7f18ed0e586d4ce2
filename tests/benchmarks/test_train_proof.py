"""The training benchmark: equal conditions for all arms, ignored voxels, order, and continuation."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("monai", reason="MONAI is an extra: pip install '.[benchmarks]'")

import torch
import train_proof
from small_unet import NetworkSettings, draw_patch, known_loss, predict, train_network, with_place
from train_proof import Proof, Results, Training, score_case, trainings

from support.hearts import small_heart

SMALL = NetworkSettings(spacing_mm=2.0, steps=40, patch=24, channels=(8, 16), rate=1e-2)


def pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Make an image and the truth, which determines its brightness."""
    truth = small_heart(seed)
    noise = np.random.default_rng(seed).normal(0, 0.03, truth.shape)
    return (truth / 12 + noise).astype(np.float32), truth


def test_ignored_voxels_do_not_count() -> None:
    scores = torch.randn(2, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, 3, (2, 4, 4, 4), generator=torch.Generator().manual_seed(1))
    labels[:, :2] = 3
    before = known_loss(scores, labels, 3)
    scores[:, :, :2] += torch.randn(2, 3, 2, 4, 4, generator=torch.Generator().manual_seed(2))
    assert float(known_loss(scores, labels, 3)) == pytest.approx(float(before))
    only_known = known_loss(scores[:, :, 2:], labels[:, 2:], 3)
    assert float(only_known) == pytest.approx(float(before))


def test_what_is_drawn_does_not_depend_on_the_labels() -> None:
    image, truth = pair(0)
    first, labels = draw_patch(with_place(image), truth, 16, np.random.default_rng(3))
    second, nothing = draw_patch(with_place(image), np.zeros_like(truth), 16, np.random.default_rng(3))
    np.testing.assert_array_equal(first, second)
    assert labels.shape == nothing.shape == (16, 16, 16) and first.shape == (4, 16, 16, 16)


def test_a_network_learns_and_repeats_itself() -> None:
    images, truth = zip(*(pair(seed) for seed in range(3)), strict=True)
    classes = int(max(labels.max() for labels in truth)) + 1
    nets = [train_network(images[:2], truth[:2], classes, SMALL, seed=1) for _ in range(2)]
    first, second = (predict(net, images[2], SMALL.patch) for net in nets)
    np.testing.assert_array_equal(first, second)
    assert first.shape == (classes, *images[2].shape)
    np.testing.assert_allclose(first.sum(axis=0), 1, atol=1e-5)
    assert (first.argmax(axis=0) != truth[2]).sum() < 0.5 * (truth[2] > 0).sum()


def test_all_arms_of_the_first_seed_come_first() -> None:
    found = list(trainings(["a", "b"], ["noisy", "repaired"], 2))
    assert found[:5] == [
        Training("", "clean", 0), Training("a", "noisy", 0), Training("b", "noisy", 0),
        Training("a", "repaired", 0), Training("b", "repaired", 0),
    ]  # fmt: skip
    assert [one.seed for one in found] == [0] * 5 + [1] * 5
    assert len({one.name for one in found}) == 10


def test_a_prediction_is_scored_by_the_structures_of_the_truth() -> None:
    truth = np.zeros((12, 12, 12), np.uint8)
    truth[2:8, 2:8, 2:8] = 2
    found = truth.copy()
    found[8, 2:8, 2:8] = 2
    found[0, 0, 0] = 5
    (row,) = score_case(found, truth, 2.5)
    assert row["structure"] == "LA" and row["dice"] == pytest.approx(2 * 216 / (216 + 252), abs=1e-5)
    # One layer more: its 36 voxels are one voxel from the truth, and the 36 of the truth from it.
    assert row["nsd_1mm"] < 0.85 and row["nsd_1voxel"] == 1
    assert score_case(np.zeros_like(truth), truth, 2.5)[0]["nsd_1voxel"] == 0


def test_a_finished_training_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cohort = tmp_path / "cohort"
    for seed in range(3):
        image, truth = pair(seed)
        noisy = np.where(np.random.default_rng(seed).random(truth.shape) < 0.3, 0, truth).astype(np.uint8)
        for folder, values in (("labels_true", truth), ("labels_noisy", noisy), ("images", image * 300)):
            (cohort / folder).mkdir(parents=True, exist_ok=True)
            volume = nib.Nifti1Image(values.astype(np.int16), np.diag([2.0, 2.0, 2.0, 1.0]))
            nib.save(volume, cohort / folder / f"{seed}.nii.gz")
    done: list[str] = []
    train = Proof.train

    def interrupted(self: Proof, training: Training, noisy: dict[str, Path]) -> list[dict[str, object]]:
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(training.name)
        return train(self, training, noisy)

    command = ["train_proof.py", str(cohort), str(tmp_path / "out"), "--train", "2", "--seeds", "1", "--clean-noisy"]
    command += ["--steps", "2", "--patch", "16", "--width", "4", "--spacing-mm", "4"]
    monkeypatch.setattr("sys.argv", command)
    monkeypatch.setattr(Proof, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_proof.main()
    done.append("after the interruption")
    train_proof.main()
    assert done == ["clean-0", "after the interruption", "noisy-noisy-0"]
    train_proof.main()
    assert len(done) == 3
    table = (tmp_path / "out" / "results.csv").read_text(encoding="utf-8").splitlines()
    assert table[0].startswith("kind,arm,seed,group,case,structure,dice") and len(table) == 1 + 2 * 2
    monkeypatch.setattr("sys.argv", [*command, "--rate", "0.5"])
    with pytest.raises(SystemExit, match="was trained with"):
        train_proof.main()


def test_results_of_trainings_that_are_planned(tmp_path: Path) -> None:
    results = Results(tmp_path, {"steps": 1}, "mend")
    first, second = Training("", "clean", 0), Training("a", "repaired, ignore", 0)
    results.write(first, [{"case": "1", "dice": 0.5}], 1.0)
    assert results.read(second) is None
    assert results.rows([first, second]) == [{"kind": "", "arm": "clean", "seed": 0, "case": "1", "dice": 0.5}]
    # The preset of the repair matters for repaired labels alone.
    results.write(second, [], 1.0)
    other = Results(tmp_path, {"steps": 1}, "fast")
    assert other.read(first) is not None
    with pytest.raises(SystemExit, match="'preset': 'mend'"):
        other.read(second)
