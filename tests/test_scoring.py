"""Folders against truth."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from heartmend.anatomy import load_anatomy
from heartmend.errors import HeartmendError
from heartmend.scoring import score_folders, score_rows
from support.volumes import save_nifti

AFFINE = np.diag([1.0, 1.0, 1.0, 1.0])


def cube(start: int) -> np.ndarray:
    labels = np.zeros((20, 20, 20), dtype=np.uint8)
    labels[start : start + 8, 4:12, 4:12] = 3
    labels[2:4, 14:18, 14:18] = 5
    return labels


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    for name, start in (("true", 4), ("before", 8), ("after", 5)):
        for case in ("10", "2"):
            save_nifti(tmp_path / name / f"{case}.nii.gz", cube(start), np.uint8, AFFINE)
    return tmp_path / "true", tmp_path / "before", tmp_path / "after"


def test_rows_by_hand(folders: tuple[Path, Path, Path]) -> None:
    """Moved by 4 of 8 voxels half of it overlaps; by 1, seven eighths."""
    rows = score_rows(*folders, load_anatomy("heart"), workers=1)
    assert [(row.case, row.structure) for row in rows] == [("10", 3), ("10", 5), ("2", 3), ("2", 5)]
    assert (rows[0].noisy.dice, rows[0].mended.dice) == pytest.approx((0.5, 0.875), abs=1e-4)
    assert rows[1].noisy.dice == rows[1].mended.dice == 1


def test_the_table_names_the_structures(folders: tuple[Path, Path, Path]) -> None:
    shown = Console(width=200, record=True, file=io.StringIO())
    shown.print(score_folders(*folders, load_anatomy("heart"), workers=1))
    text = shown.export_text()
    assert "LV" in text and "RV" in text


def test_a_map_that_is_missing_or_on_another_grid_is_told(folders: tuple[Path, Path, Path]) -> None:
    true, before, after = folders
    save_nifti(after / "2.nii.gz", cube(5), np.uint8, np.diag([2.0, 1.0, 1.0, 1.0]))
    with pytest.raises(HeartmendError, match=r"case 2 cannot be scored: .*is not on the grid of"):
        score_rows(true, before, after, load_anatomy("heart"), workers=1)
    (after / "2.nii.gz").unlink()
    with pytest.raises(HeartmendError, match="2"):
        score_rows(true, before, after, load_anatomy("heart"), workers=1)
