"""Evaluation of folders of label maps."""

import csv
import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pyarrow.parquet as pq
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.compute.progress import as_progress
from heartmend.errors import BadInputError
from heartmend.io.dataset import discover_cohort
from heartmend.metrics.evaluation import Evaluation, EvaluationSettings
from heartmend.pipelines.evaluate import evaluate_folders, write_evaluation
from heartmend.run_folder.folder import RunFolder, open_labels
from support.volumes import save_itk, save_nifti

AFFINE = np.diag([1.0, 1.0, 1.0, 1.0])
HEART = load_anatomy("heart")
Folders = tuple[Path, Path, Path]
ONE_WORKER = EvaluationSettings(workers=1)


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


def against_truth(folders: Folders, **settings: object) -> Evaluation:
    return evaluate_folders(
        folders[0],
        folders[1],
        HEART,
        folders[2],
        EvaluationSettings(workers=1, **settings),  # type: ignore[arg-type]
    )


def test_maps_of_another_numbering_are_read_by_the_given_table(folders: Folders) -> None:
    """MM-WHS numbers the LV 500 and the RV 600."""
    expected = against_truth(folders)
    for folder in folders:
        for path in folder.iterdir():
            image = nib.load(path)
            values = np.zeros(6, dtype=np.int16)
            values[[3, 5]] = 500, 600
            save_nifti(path, values[np.asarray(image.dataobj)], np.int16, image.affine)
    assert against_truth(folders, preset_ids="mmwhs").rows == expected.rows
    assert against_truth(folders, ids={500: "LV", 600: "RV"}).rows == expected.rows
    other = against_truth(folders, ids={500: "RV", 600: "LV"}).rows
    assert [row.structure for row in other[:3]] == ["LV"] * 3 and other != expected.rows


def test_rows_by_hand(folders: Folders) -> None:
    """Cubes of 8 voxels, moved by 4 (half of them overlap) and by 1 (7 of 8)."""
    found = against_truth(folders)
    assert [(r.case, r.structure, r.labels) for r in found.rows] == [
        (case, name, which) for case in ("10", "2") for name in ("LV", "RV") for which in ("a", "b", "reference")
    ]
    assert [r.values.get("dice") for r in found.rows[:3]] == [0.5, 0.875, None]
    assert [s.structure for s in found.summary] == ["LV", "RV"]
    assert found.summary[0].dice_error_reduction == pytest.approx(0.75)


def test_the_result_does_not_depend_on_the_number_of_workers(folders: Folders) -> None:
    two = evaluate_folders(folders[0], folders[1], HEART, folders[2], EvaluationSettings(workers=2))
    assert two.rows == against_truth(folders).rows


def test_bad_cases_are_skipped_with_a_reason(folders: Folders) -> None:
    before, after, true = folders
    for case in ("3", "4", "5"):
        save_nifti(true / f"{case}.nii.gz", cube(4), np.uint8, AFFINE)
        save_nifti(before / f"{case}.nii.gz", cube(8), np.uint8, AFFINE)
    save_nifti(after / "3.nii.gz", cube(5), np.uint8, np.diag([2.0, 1.0, 1.0, 1.0]))
    (after / "4.nii.gz").write_bytes(b"no volume")
    save_nifti(before / "6.nii.gz", cube(8), np.uint8, AFFINE)
    reports: list[tuple[str, int, int, str]] = []
    progress = as_progress(lambda *report: reports.append(report))
    found = evaluate_folders(before, after, HEART, true, EvaluationSettings(workers=1), progress)
    assert {r.case for r in found.rows} == {"10", "2"}
    assert set(found.skipped) == {"3", "4", "5"}, "6 has no reference and is not asked for"
    assert "is not on the grid of" in found.skipped["3"]
    assert "4.nii.gz" in found.skipped["4"]
    assert found.skipped["5"] == f"no label map in {after}"
    assert reports[0] == ("evaluate", 0, 4, "")
    assert [report[:3] for report in reports[1:]] == [("evaluate", done, 4) for done in (1, 2, 3, 4)]
    assert {report[3] for report in reports[1:]} == {"10", "2", "3", "4"}
    assert set(evaluate_folders(before, after, HEART, settings=ONE_WORKER).skipped) == {"3", "4", "5", "6"}


def test_no_common_case_is_an_error(folders: Folders, tmp_path: Path) -> None:
    save_nifti(tmp_path / "else" / "77.nii.gz", cube(4), np.uint8, AFFINE)
    with pytest.raises(BadInputError, match="none of 3 cases could be compared"):
        evaluate_folders(folders[0], tmp_path / "else", HEART, settings=ONE_WORKER)


def test_data_sets_with_different_ids_and_formats(folders: Folders, tmp_path: Path) -> None:
    """An nnU-Net data set with its own ids, plain folders, and a run, whose label maps have the ids of the data set."""
    data_set, out = tmp_path / "Dataset001", tmp_path / "out"
    for case in ("10", "2"):
        save_nifti(data_set / "labelsTr" / f"{case}.nii.gz", cube(8, lv=1, rv=2), np.uint8, AFFINE)
    table = {"labels": {"background": 0, "LV": 1, "RV": 2}, "file_ending": ".nii.gz"}
    (data_set / "dataset.json").write_text(json.dumps(table))
    with RunFolder.open(out, data_set) as run:
        run.write_cohort(discover_cohort(data_set, anatomy=HEART))
    for case in ("10", "2"):
        save_nifti(out / "labels" / f"{case}.nii.gz", cube(5, lv=1, rv=2), np.uint8, AFFINE)
    for repaired in (out, out / "labels"):
        found = evaluate_folders(data_set, repaired, HEART, folders[2], ONE_WORKER)
        assert found.rows == against_truth(folders).rows
    assert not any(case.tables for case in open_labels(folders[0], HEART))


def test_nrrd_and_metaimage_files(tmp_path: Path) -> None:
    labels = cube(4)
    save_itk(tmp_path / "a" / "1.nrrd", labels)
    save_itk(tmp_path / "b" / "1.mha", labels)
    found = evaluate_folders(tmp_path / "a", tmp_path / "b", HEART, settings=ONE_WORKER)
    assert all(row.values["dice"] == 1 for row in found.rows if row.labels == "b")
    assert found.rows[0].values["volume_ml"] == pytest.approx(8**3 * 0.5 * 0.75 * 2.0 / 1000)


def test_ids_that_the_anatomy_does_not_have(folders: Folders) -> None:
    save_nifti(folders[0] / "2.nii.gz", cube(8, rv=77), np.uint8, AFFINE)
    assert "77" in against_truth(folders).skipped["2"]
    kept = against_truth(folders, unknown_labels="keep")
    assert not kept.skipped
    assert not next(r for r in kept.rows if (r.case, r.structure, r.labels) == ("2", "RV", "a")).present


def test_the_written_tables(folders: Folders, tmp_path: Path) -> None:
    (folders[1] / "2.nii.gz").unlink()
    found = against_truth(folders, metrics=["dice", "hd95_mm", "nsd_1mm"])
    files = write_evaluation(found, tmp_path / "numbers")
    assert sorted(p.name for p in files) == sorted(p.name for p in (tmp_path / "numbers").iterdir())
    with (tmp_path / "numbers" / "cases.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [(line["structure"], line["labels"], line["dice"]) for line in lines[:3]] == [
        ("LV", "a", "0.5"), ("LV", "b", "0.875"), ("LV", "reference", ""),
    ]  # fmt: skip
    table = pq.read_table(tmp_path / "numbers" / "cases.parquet")
    assert table.column("dice").to_pylist() == [float(x) if (x := line["dice"]) else None for line in lines]
    document = json.loads((tmp_path / "numbers" / "evaluation.json").read_text(encoding="utf-8"))
    assert document["skipped"].keys() == {"2"}
    assert document["structures"][0]["dice_error_reduction"] == pytest.approx(0.75)
    assert [m["unit"] for m in document["metrics"] if m["key"] == "hd95_mm"] == ["mm"]


def test_the_input_folders_are_never_written_to(folders: Folders, tmp_path: Path) -> None:
    found = against_truth(folders)
    for out in (folders[1], folders[2] / "numbers"):
        with pytest.raises(BadInputError, match="never changed"):
            write_evaluation(found, out)
        with pytest.raises(BadInputError, match="never changed"):
            found.to_csv(out / "cases.csv")


def test_rows_as_mappings_csv_and_pandas(folders: Folders, tmp_path: Path) -> None:
    found = against_truth(folders, metrics=["dice", "volume_ml"])
    first = found.table()[0]
    assert list(first) == ["case", "structure", "labels", "against", "present", "expected", "dice", "volume_ml"]
    assert (first["case"], first["structure"], first["dice"], first["volume_ml"]) == ("10", "LV", 0.5, 8**3 / 1000)
    assert found.table("structures")[0]["n_worse"] is None, "surface Dice was not computed"
    with pytest.raises(ValueError, match="the tables are cases, structures, summary, tests"):
        found.table("nothing")  # type: ignore[arg-type]
    found.to_csv(tmp_path / "summary.csv", "summary")
    assert (tmp_path / "summary.csv").read_text().startswith("structure,metric,unit,labels,n,mean,sd,median,ci95_low,")
    pytest.importorskip("pandas", reason="pandas is an extra: pip install '.[pandas]'")
    frame = found.to_pandas()
    assert list(frame.columns) == list(first) and len(frame) == len(found.rows)
    assert frame.query("structure == 'LV' and labels == 'a'")["dice"].tolist() == [0.5, 0.5]
    assert frame.query("labels == 'reference'")["dice"].isna().all()
    assert found.to_pandas("summary").set_index(["structure", "metric", "labels"])["mean"]["LV", "dice", "b"] == 0.875


def test_without_pandas_the_error_names_the_package(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        against_truth(folders).to_pandas()
