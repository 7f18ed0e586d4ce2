"""Tests of the repair of one label map in memory."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import heartmend as hm
from heartmend.errors import BadInputError, ConfigError, FitError
from heartmend.models.heart_model import HeartModel
from heartmend.models.model_file import load_heart_model, save_heart_model
from heartmend.pipelines.embed import EmbedRequest, embed
from heartmend.stages.embed import DETAIL_PHASE, FOLLOW_PHASE, EmbedSettings
from support.models import frame, ragged, two_balls, unseen_heart
from support.volumes import save_nifti

AFFINE = frame().grid.affine


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.zip"
    # The labels of its cohort are smooth, so that the noise of a new map is found.
    smooth = {"LV": 0.001, "RV": 0.001}
    save_heart_model(path, replace(two_balls(spread=0.0), lowest_surface_noise_mm2=smooth))
    return path


@pytest.fixture(scope="module")
def model(model_path: Path) -> HeartModel:
    return load_heart_model(model_path)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """A heart of the same kind that the model does not contain."""
    return unseen_heart()


@pytest.fixture(scope="module")
def noisy(truth: np.ndarray) -> np.ndarray:
    """The same labels with ragged borders."""
    return ragged(truth, 0.5, seed=0)


@pytest.fixture(scope="module")
def fixed(model: HeartModel, noisy: np.ndarray) -> hm.RepairedLabels:
    return hm.repair_labels(noisy, AFFINE, model=model)


def test_a_repaired_map_is_nearer_to_the_truth(fixed: hm.RepairedLabels, noisy: np.ndarray, truth: np.ndarray) -> None:
    assert (fixed.labels.shape, fixed.labels.dtype) == (noisy.shape, noisy.dtype)
    assert np.array_equal(fixed.affine, AFFINE)
    assert (fixed.labels != truth).sum() < 0.7 * (noisy != truth).sum()
    assert {v.structure for v in fixed.changes.verdicts} >= {"LV", "RV"}
    assert np.array_equal(np.asarray(fixed), fixed.labels)


def test_a_file_of_the_same_map_is_repaired_to_the_same_voxels(
    fixed: hm.RepairedLabels, model_path: Path, noisy: np.ndarray, tmp_path: Path
) -> None:
    save_nifti(tmp_path / "labels" / "1.nii.gz", noisy, np.uint8, AFFINE)
    # What `embed` does after the repair does not change the map, so it is kept short.
    short = EmbedSettings(
        template_phase=replace(FOLLOW_PHASE, steps=1), detail_phase=replace(DETAIL_PHASE, steps=1), resolution=32
    )  # fmt: skip
    result = embed(EmbedRequest(model_path, tmp_path / "labels", tmp_path / "out", workers=1), short)
    assert result.cases == ("1",)
    written = np.asarray(nib.load(tmp_path / "out" / "labels" / "1.nii.gz").dataobj)
    assert np.array_equal(written, fixed.labels)
    assert hm.open_run(tmp_path / "out")["1"].changes.changes == fixed.changes.changes


def test_the_input_is_not_changed_and_keeps_its_type(
    fixed: hm.RepairedLabels, model_path: Path, noisy: np.ndarray
) -> None:
    given = noisy.astype(np.float64)
    before, affine = given.copy(), AFFINE.copy()
    given.setflags(write=False)
    again = hm.repair_labels(given, affine.tolist(), model=str(model_path))
    assert np.array_equal(given, before)
    assert again.labels.dtype == np.float64
    assert np.array_equal(again.labels, fixed.labels)


def test_only_the_wanted_structures_change_and_unknown_ids_are_kept(model: HeartModel, noisy: np.ndarray) -> None:
    given = noisy.astype(np.int16)
    given[0, 0, :3] = 600
    found = hm.repair_labels(given, AFFINE, model=model, structures="LV", unknown_labels="keep").labels
    assert (found[0, 0, :3] == 600).all()
    changed = found != given
    assert changed.any()
    assert ((given == 3) | (found == 3))[changed].all()


def test_the_values_of_another_numbering_come_back(
    fixed: hm.RepairedLabels, model: HeartModel, noisy: np.ndarray
) -> None:
    """MM-WHS: 500 LV, 600 RV. A structure of two values keeps both."""
    values = np.zeros(256, dtype=np.int32)
    values[[3, 5]] = 500, 600
    found = hm.repair_labels(values[noisy], AFFINE, model=model, preset_ids="mmwhs").labels
    assert found.dtype == np.int32 and np.array_equal(found, values[fixed.labels])
    two = values[noisy]
    two[:, :, ::2][two[:, :, ::2] == 500] = 7
    found = hm.repair_labels(two, AFFINE, model=model, ids={7: "LV", 500: "left ventricle", 600: "RV"}).labels
    assert np.array_equal(np.isin(found, (7, 500)), fixed.labels == 3)
    kept = (fixed.labels == 3) & (noisy == 3)
    assert np.array_equal(found[kept], two[kept])


def test_nothing_is_printed(model: HeartModel, truth: np.ndarray, capfd: pytest.CaptureFixture[str]) -> None:
    hm.repair_labels(truth, AFFINE, model=model)
    assert capfd.readouterr() == ("", "")


def _with(value: float) -> np.ndarray:
    labels = np.zeros((8, 8, 8))
    labels[2:6, 2:6, 2:6] = 3
    labels[0, 0, 0] = value
    return labels


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((4, 4, 4, 1), dtype=np.uint8), r"has the shape \(4, 4, 4, 1\)"),
        (np.zeros((4, 4), dtype=np.uint8), r"has the shape \(4, 4\)"),
        (np.zeros((4, 4, 4), dtype=np.uint8), "it is empty"),
        (np.zeros((0, 4, 4), dtype=np.uint8), "three positive numbers"),
        (_with(77), r"labels: ids that anatomy heart does not have: 77"),
        (_with(-1), "negative ids"),
        (_with(0.5), "values that are not whole, such as 0.5"),
        (_with(np.nan), "NaN"),
        (_with(1).astype(str), "data type"),
        (_with(1).astype(complex), "data type"),
        (None, "has the shape"),
    ],
)
def test_an_array_that_is_not_a_label_map_is_an_error(model: HeartModel, labels: np.ndarray, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        hm.repair_labels(labels, np.eye(4), model=model)


@pytest.mark.parametrize("affine", [np.eye(3), np.zeros((4, 4)), "RAS", None, np.full((4, 4), np.nan)])
def test_an_affine_that_is_not_valid_is_an_error(model: HeartModel, affine: object) -> None:
    with pytest.raises(BadInputError, match="affine"):
        hm.repair_labels(_with(3), affine, model=model)  # type: ignore[arg-type]


def test_an_image_of_another_shape_is_an_error(model: HeartModel) -> None:
    with pytest.raises(BadInputError, match=r"image: has the shape \(8, 8, 9\)"):
        hm.repair_labels(_with(3), np.eye(4), model=model, image=np.zeros((8, 8, 9)))


def test_other_errors_are_of_the_tree_too(model: HeartModel, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="spleen"):
        hm.repair_labels(_with(3), np.eye(4), model=model, structures=("spleen",))
    with pytest.raises(FitError, match="none of LV, RV"):
        hm.repair_labels(np.where(_with(0) == 3, 2, 0), np.eye(4), model=model)
    with pytest.raises(BadInputError, match=r"model\.zip"):
        hm.repair_labels(_with(3), np.eye(4), model=tmp_path / "model.zip")
