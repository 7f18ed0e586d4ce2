"""Tests of the merge of label sets on disk."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.errors import BadInputError, RunError
from heartmend.io.dataset import discover_cohort
from heartmend.pipelines.config import load_config
from heartmend.pipelines.merge import MergeRequest, MergeResult, _Job, _read, merge_label_sets
from support.cohorts import CONFIG
from support.hearts import ellipsoid
from support.volumes import save_nifti

SHAPE, COUNT = (48, 46, 40), 4
AFFINE = np.diag([-1.5, -1.5, 1.5, 1.0])


def heart(seed: int, wrong: str = "") -> np.ndarray:
    """LV and RV; one of them shifted by three voxels."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.int16)
    for name, id, centre, radii in (("LV", 3, (16, 23, 20), (8, 10, 9)), ("RV", 5, (34, 23, 20), (7, 9, 9))):
        at = np.array(centre) + rng.uniform(-1, 1, 3) + (np.array([0, 3, 0]) if name == wrong else 0)
        labels[ellipsoid(SHAPE, tuple(at), radii)] = id
    return labels


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two label sets: in the even cases of each another structure is displaced; a third set is sound."""
    folder = tmp_path_factory.mktemp("sets")
    for n in range(1, COUNT + 1):
        even = n % 2 == 0
        save_nifti(folder / "a" / f"{n}.nii.gz", heart(n, "LV" if even else ""), np.int16, AFFINE)
        save_nifti(folder / "b" / f"{n}.nii.gz", heart(n, "RV" if even else "LV"), np.uint8, AFFINE)
        save_nifti(folder / "c" / f"{n}.nii.gz", heart(n), np.uint8, AFFINE)
    save_nifti(folder / "a" / "9.nii.gz", heart(9), np.int16, AFFINE)
    (folder / "small.toml").write_text(CONFIG)
    return folder


def merge(sets: Path, output: Path, *names: str) -> MergeResult:
    request = MergeRequest(tuple(sets / name for name in names), output, device="cpu", workers=1)
    return merge_label_sets(request, load_config("mend", sets / "small.toml"))


def test_sets_are_merged_with_the_names_and_types_of_the_first(sets: Path, tmp_path: Path) -> None:
    result = merge(sets, tmp_path / "out", "a", "b", "c")
    assert result.cases == ("1", "2", "3", "4")
    assert result.skipped == {"9": "no other label set has this case"}
    for case in result.cases:
        merged = nib.load(tmp_path / "out" / "labels" / f"{case}.nii.gz")
        assert merged.get_data_dtype() == np.int16 and np.array_equal(merged.affine, AFFINE)
        values, truth = np.asarray(merged.dataobj), heart(int(case))
        assert np.mean(values != truth) < 0.01
        given = [np.asarray(nib.load(sets / name / f"{case}.nii.gz").dataobj) for name in ("a", "b")]
        worst = max(np.count_nonzero(one != truth) for one in given)
        assert np.count_nonzero(values != truth) < 0.5 * worst
        percent = np.asarray(nib.load(tmp_path / "out" / "disagreement" / f"{case}.nii.gz").dataobj)
        assert percent.dtype == np.uint8 and 0 < percent.max() <= 100
    assert set(result.shares) == {"LV", "RV"}
    assert all(sum(row) == pytest.approx(1, abs=0.01) for row in result.shares.values())


def test_what_cannot_be_merged_is_refused(sets: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="two or more folders"):
        merge(sets, tmp_path / "out", "a")
    with pytest.raises(RunError, match="inside"):
        merge(sets, sets / "a" / "out", "a", "b")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "labels").symlink_to(sets / "a", target_is_directory=True)
    with pytest.raises(RunError, match="labels: is a link"):
        merge(sets, tmp_path / "linked", "a", "b")
    for n in (1, 2, 3):
        save_nifti(tmp_path / "moved" / f"{n}.nii.gz", heart(n)[3:], np.uint8, AFFINE)
    with pytest.raises(BadInputError, match="0 cases with two or more label maps; at least 3"):
        request = MergeRequest((sets / "a", tmp_path / "moved"), tmp_path / "out", device="cpu", workers=1)
        merge_label_sets(request, load_config("mend", sets / "small.toml"))
    assert not (tmp_path / "out").exists()


def test_a_label_map_with_its_axes_in_another_order_is_turned(sets: Path, tmp_path: Path) -> None:
    labels = heart(1)
    to_own = np.array([[0, 1, 0, 0], [-1, 0, 0, SHAPE[1] - 1], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    save_nifti(tmp_path / "d" / "1.nii.gz", labels[:, ::-1].transpose(1, 0, 2), np.uint8, AFFINE @ to_own)
    cohorts = [discover_cohort(folder, anatomy=load_anatomy("heart")) for folder in (sets / "c", tmp_path / "d")]
    job = _Job(tuple(cohorts), tuple(cohort["1"] for cohort in cohorts), tmp_path)
    maps, volume = _read(job)
    assert volume.labels.shape == SHAPE and np.array_equal(maps[0], labels) and np.array_equal(maps[1], labels)
