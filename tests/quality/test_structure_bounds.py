"""Tests of the meaning of values in the check, and of the sizes that are impossible for a structure."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from heartmend.anatomy.load import load_anatomy
from heartmend.cli.main import app
from heartmend.geometry.grid import Grid
from heartmend.quality.check import check_data_set
from heartmend.quality.structure_bounds import impossible_size, measure_sizes
from support.volumes import save_nifti

HEART = load_anatomy("heart")


def coronary_tree(value: int = 1) -> np.ndarray:
    """Two thin branches of 3 x 3 voxels on a grid of 1 mm."""
    cube = np.zeros((60, 60, 60), dtype=np.uint8)
    cube[10:13, 10:13, 5:55] = value
    cube[10:55, 30:33, 30:33] = value
    return cube


def coronary_folder(folder: Path, count: int = 2) -> Path:
    for number in range(1, count + 1):
        save_nifti(folder / f"{number}.nii.gz", np.roll(coronary_tree(), number, axis=0), affine=np.eye(4))
    return folder


def test_sizes_of_a_ball_and_of_a_tube() -> None:
    x, y, z = np.indices((60, 60, 60)) - 30
    labels = np.where(x**2 + y**2 + z**2 < 20**2, 3, coronary_tree(9)).astype(np.uint8)
    sizes = measure_sizes(labels, Grid(labels.shape, np.diag([1.0, 1.0, 1.0, 1.0])), HEART)
    assert set(sizes) == {"LV", "Coronary"}
    assert sizes["LV"].volume_ml == pytest.approx(33.5, rel=0.02) and sizes["LV"].extent_mm == 39
    assert sizes["LV"].thickness_mm == pytest.approx(4 / 3 * 20, rel=0.05)
    assert sizes["Coronary"].thickness_mm < 6
    assert not impossible_size("LV", sizes["LV"], HEART) and not impossible_size("Coronary", sizes["Coronary"], HEART)
    assert "are these" not in impossible_size("Coronary", sizes["LV"], HEART)
    assert "mean thickness" in impossible_size("Coronary", sizes["LV"], HEART)


def test_coronaries_that_are_read_as_myocardium_are_a_warning(tmp_path: Path) -> None:
    folder = coronary_folder(tmp_path / "l")
    report = check_data_set(folder, None, HEART, workers=1)
    (finding,) = report.findings
    assert finding.severity == "warning" and "median of 2 cases: Myocardium: 0.8" in finding.text
    assert "are these Coronary?" in finding.text and "--preset-ids NAME" in finding.text
    assert not check_data_set(folder, None, HEART, workers=1, preset_ids="imagecas").findings
    assert not check_data_set(folder, None, HEART, workers=1, ids={1: "coronary arteries"}).findings


def test_the_command_prints_the_meaning_of_the_values(tmp_path: Path) -> None:
    folder = coronary_folder(tmp_path / "l")
    (folder / "old").mkdir()
    (folder / "3.npy").touch()
    words = ["check", str(folder), "--workers", "1", "--preset-ids", "imagecas"]
    text = CliRunner().invoke(app, words, env={"COLUMNS": "200"}).stdout
    assert "Meaning of the values" in text and "2 files" not in text
    row = next(line.split() for line in text.splitlines() if "Coronary" in line)
    assert row == ["1", "Coronary", "--preset-ids", "imagecas", "2", "0.855"]
    assert "1 file and 1 folder were not read: 3.npy (.npy is not supported; convert it to .nii.gz), old" in text
    table = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert table["values"] == [
        {
            "value": 1,
            "name": "Coronary",
            "structure": True,
            "source": "--preset-ids imagecas",
            "cases": 2,
            "median_ml": 0.855,
        }
    ]
    assert [file["name"] for file in table["unread"]] == ["3.npy", "old"]
    assert table["cases"][0]["values"][0]["volume_ml"] == pytest.approx(0.855)
