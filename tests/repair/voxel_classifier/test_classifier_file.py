"""Voxel classifiers of several structures: their file, and their use on any grid."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import nn

from heartmend.errors import RunError
from heartmend.repair.voxel_classifier.classifier import VoxelClassifier, new_network
from heartmend.repair.voxel_classifier.classifier_file import VoxelClassifiers, load_classifiers, save_classifiers
from heartmend.repair.voxel_classifier.features import FEATURES, IntensityScale
from heartmend.repair.voxel_classifier.isotropic import isotropic_mask
from support.sheets import sheet


class Centre(nn.Module):
    """A network that repeats the label."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, FEATURES // 4 : FEATURES // 4 + 1]


def test_classifiers_are_the_same_after_writing_and_reading(tmp_path: Path) -> None:
    torch.manual_seed(0)
    written = VoxelClassifiers(
        0.9, {"Adrenal gland": VoxelClassifier(new_network(), -0.3), "LAA": VoxelClassifier(new_network(), 0.2)}
    )
    save_classifiers(tmp_path / "model.safetensors", written)
    read = load_classifiers(tmp_path / "model.safetensors")
    assert read.step_mm == pytest.approx(0.9)
    mask = sheet(0)
    for name, classifier in written.by_labels.items():
        assert read.by_labels[name].threshold == pytest.approx(classifier.threshold)
        np.testing.assert_array_equal(read.by_labels[name].logits(mask), classifier.logits(mask))


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"no")
    with pytest.raises(RunError, match="cannot be read"):
        load_classifiers(tmp_path / "model.safetensors")


Arrays = dict[str, np.ndarray]
HOSTILE: dict[str, Callable[[Arrays], object]] = {
    **{f"step_mm is {value}": (lambda a, v=value: a["step_mm"].fill(v)) for value in (np.nan, np.inf, 0, -1, 1e9)},
    **{f"a threshold is {value}": (lambda a, v=value: a["labels/LAA/threshold"].fill(v)) for value in (np.nan, np.inf)},
    **{f"a weight is {value}": (lambda a, v=value: a["labels/LAA/0.weight"].fill(v)) for value in (np.nan, -np.inf)},
    **{f"a deviation is {value}": (lambda a, v=value: a["images/LAA/intensity"].fill(v)) for value in (np.nan, 0, -1)},
    "no step": lambda a: a.pop("step_mm"),
    "a step of two axes": lambda a: a.update(step_mm=np.ones((1, 1), np.float32)),
    "a step in doubles": lambda a: a.update(step_mm=np.ones(1)),
    "no threshold": lambda a: a.pop("labels/LAA/threshold"),
    "a weight is missing": lambda a: a.pop("labels/LAA/0.weight"),
    "a weight is small": lambda a: a.update({"labels/LAA/0.weight": np.ones((1, 1), np.float32)}),
    "an unknown weight": lambda a: a.update({"labels/LAA/99.weight": np.ones(1, np.float32)}),
    "an unknown kind": lambda a: a.update({"voices/LAA/threshold": np.ones(1, np.float32)}),
    "a name that leads out": lambda a: a.update({"labels/../../x/threshold": np.ones(1, np.float32)}),
    "a name with a line end": lambda a: a.update({"labels/L\n/threshold": np.ones(1, np.float32)}),
    "no name": lambda a: a.update({"labels//threshold": np.ones(1, np.float32)}),
    "a name alone": lambda a: a.update({"labels": np.ones(1, np.float32)}),
    "an intensity of three numbers": lambda a: a.update({"images/LAA/intensity": np.ones(3, np.float32)}),
    "labels with an intensity": lambda a: a.update({"labels/LAA/intensity": np.ones(2, np.float32)}),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_an_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.safetensors"
    scale = IntensityScale(0.1, 0.2)
    save_classifiers(
        path,
        VoxelClassifiers(
            0.9, {"LAA": VoxelClassifier(new_network(), 0.2)}, {"LAA": VoxelClassifier(new_network(True), 0.2, scale)}
        ),
    )
    assert load_classifiers(path).names == {"LAA"}
    arrays = {key: array.copy() for key, array in load_file(path).items()}
    HOSTILE[name](arrays)
    save_file(arrays, path)
    with pytest.raises(RunError, match=r"model\.safetensors: cannot be read .*; remove the file") as caught:
        load_classifiers(path)
    assert str(caught.value).isprintable()


def test_only_anisotropic_voxels_are_resampled() -> None:
    mask = sheet(2)
    assert isotropic_mask(mask, (1.0, 1.02, 0.98), 1.0) is mask
    thick = mask[:, :, ::3]
    resampled = isotropic_mask(thick, (1, 1, 3), 1.0)
    assert resampled.shape == (28, 28, 30)
    # Each thick slice is the middle one of the three that replace it.
    np.testing.assert_array_equal(resampled[:, :, 1::3], thick)


def test_a_classifier_that_repeats_the_label_does_so_on_any_grid() -> None:
    classifiers = VoxelClassifiers(1.0, {"LAA": VoxelClassifier(Centre(), 0.0)})
    mask = sheet(3)
    for label, spacing in ((mask, (1.0, 1.0, 1.0)), (np.repeat(mask, 2, axis=2), (1.0, 1.0, 0.5)), (mask, (2.0, 2, 2))):
        distance_mm = classifiers.distance_mm("LAA", label, spacing)
        assert ((distance_mm > 0) != label).mean() < 0.01
        assert distance_mm.shape == label.shape
    assert (classifiers.distance_mm("LAA", np.zeros_like(mask), (1, 1, 1)) < 0).all()


def test_classifiers_of_labels_and_of_images_are_in_one_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    by_labels = {"LAA": VoxelClassifier(new_network(), 0.2)}
    by_images = {"LAA": VoxelClassifier(new_network(reads_images=True), 0.1, IntensityScale(40.0, 60.0))}
    save_classifiers(tmp_path / "m.safetensors", VoxelClassifiers(1.0, by_labels, by_images))
    read = load_classifiers(tmp_path / "m.safetensors")
    assert read.names == {"LAA"}
    assert read.by_images["LAA"].intensity == IntensityScale(40.0, 60.0)
    mask = sheet(1)
    image = np.where(mask, 40, -90).astype(np.int16)
    expected = by_images["LAA"].logits(mask, image.astype(np.float32)) > 0
    np.testing.assert_array_equal(read.distance_mm("LAA", mask, (1, 1, 1), image) > 0, expected)
    expected = read.by_labels["LAA"].logits(mask) > 0
    np.testing.assert_array_equal(read.distance_mm("LAA", mask, (1, 1, 1)) > 0, expected)
