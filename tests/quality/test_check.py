"""Tests of the check of a data set, and of its command."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from heartmend.anatomy.load import load_anatomy
from heartmend.cli.main import app
from heartmend.quality.check import DataSetReport, check_data_set
from heartmend.quality.disk_space import case_bytes
from support.bad_files import BAD
from support.cohorts import write_cohort
from support.volumes import save_nifti

HEART = load_anatomy("heart")


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Write four valid label maps whose sform and qform differ, which is a warning."""
    return write_cohort(tmp_path, count=4)


def heartmend(*words: object) -> Result:
    return CliRunner().invoke(app, ["check", *map(str, words), "--workers", "1"], env={"COLUMNS": "200"})


def texts_of(report: DataSetReport, id: str) -> str:
    return "; ".join(f.text for case in report.cases if case.id == id for f in case.findings)


def test_every_bad_file_is_an_error_with_its_reason(labels: Path) -> None:
    for name, bad in BAD.items():
        bad.make(labels / f"{name}.nii.gz")
    before = {path: path.lstat().st_mtime_ns for path in labels.iterdir()}
    report = check_data_set(labels, None, HEART, workers=1)
    assert report.count("error") == len(BAD) and report.count("warning") == 4
    for name, bad in BAD.items():
        assert all(part in texts_of(report, name) for part in bad.message)
    assert {path: path.lstat().st_mtime_ns for path in labels.iterdir()} == before


def test_copies_unusual_sizes_and_missing_structures_are_warnings(labels: Path) -> None:
    shutil.copy(labels / "3.nii.gz", labels / "copy.nii.gz")
    image = nib.load(labels / "4.nii.gz")
    tenfold = np.diag([-20.0, -20.0, 20.0, 1.0])
    save_nifti(labels / "4.nii.gz", np.asarray(image.dataobj), affine=tenfold)
    report = check_data_set(labels, None, HEART, workers=1)
    assert "the same label map as 3;" in texts_of(report, "copy")
    assert "the same label map as copy;" in texts_of(report, "3")
    assert "check its spacing" in texts_of(report, "4") and "check its spacing" not in texts_of(report, "1")
    # The second map of the cohort has no RA.
    assert "RA absent, present in most cases" in texts_of(report, "2") and "absent" not in texts_of(report, "1")


def test_images_are_checked_too(labels: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    image = nib.load(labels / "1.nii.gz")
    ct = np.zeros(image.shape, dtype=np.int16)
    save_nifti(images / "1.nii.gz", ct, np.int16, image.affine)
    save_nifti(images / "2.nii.gz", ct[:-9], np.int16, nib.load(labels / "2.nii.gz").affine)
    away = np.array([[-2.0, 0, 0, 900], [0, -2.0, 0, 0], [0, 0, 2.0, 0], [0, 0, 0, 1]])
    save_nifti(images / "3.nii.gz", ct, np.int16, away)
    save_nifti(images / "9.nii.gz", ct, np.int16, image.affine)
    report = check_data_set(labels, images, HEART, workers=1)
    assert "image: not on the grid of its label map; resampled to it" in texts_of(report, "2")
    assert "do not overlap in space" in texts_of(report, "3")
    assert report.count("error") == 1
    texts = "; ".join(finding.text for finding in report.findings)
    assert (
        "9.nii.gz: an image without a label map" in texts
        and "1 label map without an image; it is repaired too" in texts
    )
    content = (images / "1.nii.gz").read_bytes()
    (images / "1.nii.gz").write_bytes(content[: len(content) - 9])
    assert "truncated" in texts_of(check_data_set(labels, images, HEART, workers=1), "1")


def test_the_command_prints_writes_and_returns_its_exit_code(labels: Path, tmp_path: Path) -> None:
    to = tmp_path / "check.json"
    result = heartmend(labels, "-o", to, "--run-folder", tmp_path / "out")
    assert result.exit_code == 0, result.stdout
    assert not (tmp_path / "out").exists()
    BAD["truncated gzip"].make(labels / "[red]x[bold].nii.gz")
    result = heartmend(labels, "-o", to)
    assert result.exit_code == 3
    assert "5 cases: 0 ok, 4 warning, 1 error" in result.stdout and "truncated" in result.stdout
    table = json.loads(to.read_text())
    assert table["counts"] == {"ok": 0, "warning": 4, "error": 1}
    case = {case["id"]: case for case in table["cases"]}
    assert case["[red]x[bold]"]["status"] == "error"
    assert "truncated" in case["[red]x[bold]"]["findings"][0]["text"] and "[red]x[bold]" in result.stdout
    assert case["2"]["shape"] == [34, 36, 30] and case["2"]["voxels"]["RA"] == 0 and case["2"]["axes"] == "LPS"
    assert "Jane" not in to.read_text() + result.stdout


@pytest.mark.parametrize("where", ["labels/out", ".", "unknown_labels"])
def test_an_unusable_output_folder_is_exit_code_1(labels: Path, tmp_path: Path, where: str) -> None:
    (tmp_path / "unknown_labels").mkdir()
    (tmp_path / "unknown_labels" / "thesis.tex").touch()
    result = heartmend(labels, "--run-folder", tmp_path / where)
    assert result.exit_code == 1 and "give another" in result.stdout
    assert heartmend(labels, "-o", labels / "check.json").exit_code == 1
    assert not (labels / "check.json").exists()


def test_needed_and_free_disk_space_are_compared(labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = check_data_set(labels, None, HEART, output=tmp_path / "new" / "out", workers=1)
    case = report.cases[2]
    assert case.id == "3" and case.file_bytes == (labels / "3.nii.gz").stat().st_size
    # Ellipsoids from 7 to 26, 10 to 26 and 5 to 24 voxels, moved by up to one; and 10 voxels more on every side.
    assert 0.7 * 37 * 35 * 37 < case_bytes(case) - 50_000 - 1.2 * case.file_bytes < 0.7 * 42 * 39 * 42
    assert report.needed_bytes == 170_000_000 + sum(map(case_bytes, report.cases))
    assert report.free_bytes == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.2)
    assert not [f for f in report.findings if "free" in f.text] and not (tmp_path / "new").exists()
    monkeypatch.setattr("heartmend.quality.check.free_bytes", lambda folder: 20_000_000)
    (little,) = check_data_set(labels, None, HEART, output=tmp_path / "out", workers=1).findings
    assert little.severity == "warning"
    assert "a run needs about 0.2 GB, 20 MB are free; free some space" in little.text
    result = heartmend(labels, "--run-folder", tmp_path / "out")
    assert "A run needs about 0.2 GB of disk space; 20 MB are free." in result.stdout and result.exit_code == 0
    # A case with an error takes none, and where all have one there is no run.
    for path in labels.iterdir():
        BAD["zero bytes"].make(path)
    assert check_data_set(labels, None, HEART, workers=1).needed_bytes == 0


def test_no_case_at_all_is_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    assert heartmend(tmp_path / "in").exit_code == 1
    BAD["zero bytes"].make(tmp_path / "in" / "1.nii.gz")
    assert heartmend(tmp_path / "in").exit_code == 1


def test_optional_structures_are_counted_where_one_case_has_them(labels: Path) -> None:
    """Ten structures, or eleven where a case has a vena cava."""
    found = heartmend(labels, "--all")
    assert "4 of 10 structures" in found.stdout and "SVC" not in found.stdout
    path = labels / "3.nii.gz"
    image = nib.load(path)
    values = np.asarray(image.dataobj).copy()
    values[0, 0, :4] = 11
    save_nifti(path, values, affine=image.affine)
    assert "optional structures must be named, such as 11 = 'SVC'" in heartmend(labels).stdout.replace("\n", " ")
    (labels.parent / "ids.toml").write_text('2 = "LA"\n3 = "LV"\n4 = "RA"\n5 = "RV"\n11 = "SVC"\n')
    found = heartmend(labels, "--all", "--ids", labels.parent / "ids.toml")
    assert "5 of 11 structures" in found.stdout and "4 of 11 structures" in found.stdout
    assert "SVC" in found.stdout and "IVC" not in found.stdout
