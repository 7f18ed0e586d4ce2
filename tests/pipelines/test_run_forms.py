"""Tests of whole runs on other forms than one NIfTI file per case: the same repair, in the same form."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from heartmend.anatomy.load import load_anatomy
from heartmend.io.dataset import discover_cohort
from heartmend.pipelines.config import load_config
from heartmend.pipelines.evaluate import evaluate_folders
from heartmend.pipelines.run import Request, run
from heartmend.quality.check import check_data_set
from heartmend.run_folder.finished import FinishedRun
from support.cohorts import CONFIG, write_cohort
from support.volumes import save_nifti

HEART = load_anatomy("heart")
NAMES = {2: "heart_atrium_left", 3: "heart_ventricle_left", 4: "heart_atrium_right", 5: "heart_ventricle_right"}


def as_masks(source: Path, folder: Path) -> None:
    """TotalSegmentator's folders, with a mask of another organ."""
    image = nib.load(source)
    labels = np.asarray(image.dataobj)
    case = folder / source.name.split(".")[0] / "segmentations"
    for id, name in NAMES.items():
        save_nifti(case / f"{name}.nii.gz", labels == id, affine=image.affine)
    save_nifti(case / "esophagus.nii.gz", labels == 0, affine=image.affine)


def as_metaimage(source: Path, folder: Path) -> None:
    """A .mhd with a .raw."""
    folder.mkdir(exist_ok=True)
    sitk.WriteImage(sitk.ReadImage(str(source)), str(folder / f"{source.name.split('.')[0]}.mhd"))


def repair(folder: Path, labels: str, out: str) -> None:
    (folder / "small.toml").write_text(CONFIG)
    config = load_config("mend", folder / "small.toml")
    run(Request(folder / labels, folder / out, device="cpu", workers=1, stop_after="fuse"), config)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    write_cohort(folder)
    repair(folder, "labels", "out")
    return folder


@pytest.mark.parametrize("convert", [as_masks, pytest.param(as_metaimage, marks=pytest.mark.slow)])
def test_a_run_repairs_every_form_in_the_same_way(
    plain: Path, tmp_path: Path, convert: Callable[[Path, Path], None]
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(plain / "labels", folder / "plain")
    for path in sorted((folder / "plain").iterdir()):
        convert(path, folder / "labels")
    report = check_data_set(folder / "labels", None, HEART, output=folder / "out", workers=1)
    assert report.count("error") == 0
    repair(folder, "labels", "out")
    expected = discover_cohort(plain / "out" / "labels", anatomy=HEART)
    finished = FinishedRun.open(folder / "out")
    for case in finished:
        repaired = finished.after(case).labels
        # The affine of another program differs in the last digit, which changes a few voxels.
        different = repaired != expected.read_labels(expected[case.id]).labels
        assert different.sum() <= (0 if convert is as_masks else 0.01 * (repaired > 0).sum())
        assert not np.array_equal(repaired, finished.before(case).labels)
    written = {path.relative_to(folder / "out/labels") for path in (folder / "out/labels").rglob("*") if path.is_file()}
    given = {path.relative_to(folder / "labels") for path in (folder / "labels").rglob("*") if path.is_file()}
    assert written == given
    found = evaluate_folders(folder / "labels", folder / "out", HEART)
    assert not found.skipped and {row.case for row in found.rows} == {"1", "2", "3"}

    # A result that was changed is made again, and the changed one is moved away.
    before = {path: path.read_bytes() for path in (folder / "out/labels").rglob("*") if path.is_file()}
    damaged = next(path for path in sorted(before) if path.name.endswith((".raw", "atrium_left.nii.gz")))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\1")
    repair(folder, "labels", "out")
    assert {path: path.read_bytes() for path in (folder / "out/labels").rglob("*") if path.is_file()} == before
    moved = [path for path in (folder / "out/run/withdrawn").rglob("*") if path.name == damaged.name]
    assert len(moved) == 1
