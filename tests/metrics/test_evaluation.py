"""Folders of label maps compared."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.errors import BadInputError
from heartmend.metrics.evaluation import Evaluation, evaluate_folders, open_labels, write_evaluation
from support.volumes import save_itk, save_nifti

AFFINE = np.diag([1.0, 1.0, 1.0, 1.0])
HEART = load_anatomy("heart")
Folders = tuple[Path, Path, Path]


def cube(start: int, lv: int = 3, rv: int = 5) -> np.ndarray:
    labels = np.zeros((20, 20, 20), dtype=np.uint8)
    labels[start : start + 8, 4:12, 4:12] = lv
    labels[2:4, 14:18, 14:18] = rv
    return labels


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    for name, start in (("before", 8), ("after", 5), ("true", 4)):
        for case in ("10", "2"):
            save_nifti(tmp_path / name / f"{case}.nii.gz", cube(start), np.uint8, AFFINE)
    return tmp_path / "before", tmp_path / "after", tmp_path / "true"


def against_truth(folders: Folders, **more: object) -> Evaluation:
    return evaluate_folders(folders[0], folders[1], HEART, folders[2], workers=1, **more)  # type: ignore[arg-type]


def test_rows_by_hand(folders: Folders) -> None:
    """Moved by 4 of 8 voxels half of it overlaps; by 1, seven eighths."""
    found = against_truth(folders)
    assert [(r.case, r.structure, r.labels) for r in found.rows] == [
        (case, name, which) for case in ("10", "2") for name in ("LV", "RV") for which in ("a", "b", "reference")
    ]
    assert [r.values.get("dice") for r in found.rows[:3]] == [0.5, 0.875, None]
    assert [s.structure for s in found.summary] == ["LV", "RV"]
    assert found.summary[0].gone == pytest.approx(0.75)


def test_several_processes_give_the_same(folders: Folders) -> None:
    assert evaluate_folders(folders[0], folders[1], HEART, folders[2], workers=2).rows == against_truth(folders).rows


def test_bad_cases_are_told_and_stop_nothing(folders: Folders) -> None:
    before, after, true = folders
    for case in ("3", "4", "5"):
        save_nifti(true / f"{case}.nii.gz", cube(4), np.uint8, AFFINE)
        save_nifti(before / f"{case}.nii.gz", cube(8), np.uint8, AFFINE)
    save_nifti(after / "3.nii.gz", cube(5), np.uint8, np.diag([2.0, 1.0, 1.0, 1.0]))
    (after / "4.nii.gz").write_bytes(b"no volume")
    save_nifti(before / "6.nii.gz", cube(8), np.uint8, AFFINE)
    seen: list[tuple[int, int, str]] = []
    found = against_truth(folders, progress=lambda *told: seen.append(told))
    assert {r.case for r in found.rows} == {"10", "2"}
    assert set(found.skipped) == {"3", "4", "5"}, "6 has no reference and is not asked for"
    assert "is not on the grid of" in found.skipped["3"]
    assert "4.nii.gz" in found.skipped["4"]
    assert found.skipped["5"] == f"there is no label map of it in {after}"
    assert [done for done, total, _ in seen if total == 4] == [1, 2, 3, 4]
    assert set(evaluate_folders(before, after, HEART, workers=1).skipped) == {"3", "4", "5", "6"}


def test_no_case_at_all_is_an_error(folders: Folders, tmp_path: Path) -> None:
    save_nifti(tmp_path / "else" / "77.nii.gz", cube(4), np.uint8, AFFINE)
    with pytest.raises(BadInputError, match="none of 3 cases could be compared"):
        evaluate_folders(folders[0], tmp_path / "else", HEART, workers=1)


def test_formats_and_numberings_may_differ(folders: Folders, tmp_path: Path) -> None:
    """An nnU-Net data set with ids of its own beside plain folders; the run's OUT has the data set's numbers."""
    data_set, out = tmp_path / "Dataset001", tmp_path / "out"
    for case in ("10", "2"):
        save_nifti(data_set / "labelsTr" / f"{case}.nii.gz", cube(8, lv=1, rv=2), np.uint8, AFFINE)
        save_nifti(out / "labels" / f"{case}.nii.gz", cube(5, lv=1, rv=2), np.uint8, AFFINE)
    table = {"labels": {"background": 0, "LV": 1, "RV": 2}, "file_ending": ".nii.gz"}
    (data_set / "dataset.json").write_text(json.dumps(table))
    (out / "run").mkdir()
    (out / "run" / "run.json").write_text("{}")
    (out / "run" / "cohort.json").write_text(json.dumps({"file_ids": {"1": 3, "2": 5}}))
    for mended in (out, out / "labels"):
        found = evaluate_folders(data_set, mended, HEART, folders[2], workers=1)
        assert found.rows == against_truth(folders).rows
    assert open_labels(folders[0], HEART).file_ids is None


def test_itk_files_beside_nifti(tmp_path: Path) -> None:
    labels = cube(4)
    save_itk(tmp_path / "a" / "1.nrrd", labels)
    save_itk(tmp_path / "b" / "1.mha", labels)
    found = evaluate_folders(tmp_path / "a", tmp_path / "b", HEART, workers=1)
    assert all(row.values["dice"] == 1 for row in found.rows if row.labels == "b")
    assert found.rows[0].values["volume_ml"] == pytest.approx(8**3 * 0.5 * 0.75 * 2.0 / 1000)


def test_ids_that_the_anatomy_lacks(folders: Folders) -> None:
    save_nifti(folders[0] / "2.nii.gz", cube(8, rv=77), np.uint8, AFFINE)
    assert "77" in against_truth(folders).skipped["2"]
    kept = against_truth(folders, unknown_labels="keep")
    assert not kept.skipped
    assert not next(r for r in kept.rows if (r.case, r.structure, r.labels) == ("2", "RV", "a")).present


def test_what_is_written(folders: Folders, tmp_path: Path) -> None:
    (folders[1] / "2.nii.gz").unlink()
    found = against_truth(folders, keys=["dice", "hd95_mm", "nsd_1mm"])
    files = write_evaluation(found, tmp_path / "numbers")
    assert sorted(p.name for p in files) == sorted(p.name for p in (tmp_path / "numbers").iterdir())
    with (tmp_path / "numbers" / "cases.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [(line["structure"], line["labels"], line["dice"]) for line in lines[:3]] == [
        ("LV", "a", "0.5"), ("LV", "b", "0.875"), ("LV", "reference", ""),
    ]  # fmt: skip
    table = pq.read_table(tmp_path / "numbers" / "cases.parquet")
    assert table.column("dice").to_pylist() == [float(x) if (x := line["dice"]) else None for line in lines]
    told = json.loads((tmp_path / "numbers" / "evaluation.json").read_text(encoding="utf-8"))
    assert told["skipped"].keys() == {"2"}
    assert told["structures"][0]["gone"] == pytest.approx(0.75)
    assert [m["unit"] for m in told["metrics"] if m["key"] == "hd95_mm"] == ["mm"]


def test_nothing_is_written_among_the_label_maps(folders: Folders, tmp_path: Path) -> None:
    found = against_truth(folders)
    for out in (folders[1], folders[2] / "numbers"):
        with pytest.raises(BadInputError, match="never written to"):
            write_evaluation(found, out)
