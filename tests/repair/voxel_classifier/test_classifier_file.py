"""VoxelClassifiers on disk and on other grids."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from heartmend.errors import RunError
from heartmend.repair.voxel_classifier.classifier import FEATURES, Levels, VoxelClassifier, new_net
from heartmend.repair.voxel_classifier.classifier_file import VoxelClassifiers, even, load_classifiers, save_classifiers
from support.sheets import sheet


class Centre(nn.Module):
    """Says of a voxel what the label says."""

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return seen[:, FEATURES // 4 : FEATURES // 4 + 1]


def test_there_and_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    judges = VoxelClassifiers(
        0.9, {"Adrenal gland": VoxelClassifier(new_net(), -0.3), "LAA": VoxelClassifier(new_net(), 0.2)}
    )
    save_classifiers(tmp_path / "model.safetensors", judges)
    again = load_classifiers(tmp_path / "model.safetensors")
    assert again.step_mm == pytest.approx(0.9)
    mask = sheet(0)
    for name, judge in judges.of.items():
        assert again.of[name].threshold == pytest.approx(judge.threshold)
        np.testing.assert_array_equal(again.of[name].logits(mask), judge.logits(mask))


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"no")
    with pytest.raises(RunError, match="cannot be read"):
        load_classifiers(tmp_path / "model.safetensors")


def test_even_voxels_are_taken_as_they_are_and_others_are_not() -> None:
    mask = sheet(2)
    assert even(mask, (1.0, 1.02, 0.98), 1.0) is mask
    thick = mask[:, :, ::3]
    there = even(thick, (1, 1, 3), 1.0)
    assert there.shape == (28, 28, 30)
    # Each thick slice is found again in the middle of the three that it became.
    np.testing.assert_array_equal(there[:, :, 1::3], thick)


def test_a_judge_that_keeps_the_label_keeps_it_on_any_grid() -> None:
    judges = VoxelClassifiers(1.0, {"LAA": VoxelClassifier(Centre(), 0.0)})
    mask = sheet(3)
    for label, spacing in ((mask, (1.0, 1.0, 1.0)), (np.repeat(mask, 2, axis=2), (1.0, 1.0, 0.5)), (mask, (2.0, 2, 2))):
        field = judges.field("LAA", label, spacing)
        assert ((field > 0) != label).mean() < 0.01
        assert field.shape == label.shape
    assert (judges.field("LAA", np.zeros_like(mask), (1, 1, 1)) < 0).all()


def test_one_that_sees_images_is_kept_beside_one_that_does_not(tmp_path: Path) -> None:
    torch.manual_seed(0)
    seeing = VoxelClassifier(new_net(seeing=True), 0.1, Levels(40.0, 60.0))
    save_classifiers(
        tmp_path / "m.safetensors", VoxelClassifiers(1.0, {"LAA": VoxelClassifier(new_net(), 0.2)}, {"LAA": seeing})
    )
    again = load_classifiers(tmp_path / "m.safetensors")
    assert again.names == {"LAA"}
    assert again.seeing["LAA"].levels == Levels(40.0, 60.0)
    mask = sheet(1)
    image = np.where(mask, 40, -90).astype(np.int16)
    shown = seeing.logits(mask, image.astype(np.float32))
    np.testing.assert_array_equal(again.field("LAA", mask, (1, 1, 1), image) > 0, shown > 0)
    np.testing.assert_array_equal(again.field("LAA", mask, (1, 1, 1)) > 0, again.of["LAA"].logits(mask) > 0)
