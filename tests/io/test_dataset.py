"""Data sets: case ids, pairs of files, nnU-Net."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.errors import BadInputError
from heartmend.io.dataset import Cohort, discover_cohort
from heartmend.io.file_names import case_id
from support.volumes import save_nifti, some_labels

HEART = load_anatomy("heart")


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def pairs(cohort: Cohort) -> dict[str, tuple[str, str | None]]:
    return {c.id: (c.labels_path.name, c.image_path and c.image_path.name) for c in cohort}


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("1.nii.gz", "1"),
        ("1.img.nii.gz", "1"),
        ("1.label.nii.gz", "1"),
        ("1.nii.img.nii.gz", "1"),
        ("1.nii.label.nii.gz", "1"),
        ("heart_001_0000.nii.gz", "heart_001"),
        ("heart_001.nii.gz", "heart_001"),
        ("ct_train_1001_image.nii.gz", "ct_train_1001"),
        ("ct_train_1001_label.nii.gz", "ct_train_1001"),
        ("aorta_ct.NII.GZ", "aorta"),
        ("a.b.nrrd", "a.b"),
        ("p7.seg.nrrd", "p7"),
        ("p7.mha", "p7"),
        ("label.nii.gz", "label"),
        ("Müller 2.nii.gz", "Müller 2"),
        ("Mu\u0308ller 2.nii", "Müller 2"),
        ("0000.nii.gz", "0000"),
    ],
)
def test_the_case_id_of_a_file_name(name: str, id: str) -> None:
    assert case_id(Path("folder") / name) == id


@pytest.mark.parametrize("name", ["..nii.gz", "...nii.gz", " .nii.gz", ".hidden.nii.gz", "a\\b.nii.gz", "a\nb.nii.gz"])
def test_a_name_without_a_safe_id_is_an_error(name: str) -> None:
    with pytest.raises(BadInputError, match="no case id"):
        case_id(Path(name))


def test_images_are_paired_with_label_maps_and_cases_sorted_by_id(tmp_path: Path) -> None:
    labels = touch(tmp_path / "l", "9.label.nii.gz", "10.nii.gz", "a b.mha", ".DS_Store", "._10.nii.gz", "notes.txt")
    images = touch(tmp_path / "i", "10.img.nii.gz", "9.nii.img.nii.gz", "77.nii.gz", "88_0000.nii.gz")
    cohort = discover_cohort(labels, images, anatomy=HEART)
    assert pairs(cohort) == {
        "10": ("10.nii.gz", "10.img.nii.gz"),
        "9": ("9.label.nii.gz", "9.nii.img.nii.gz"),
        "a b": ("a b.mha", None),
    }
    assert [c.id for c in cohort] == ["10", "9", "a b"]
    assert [p.name for p in cohort.images_without_labels] == ["77.nii.gz", "88_0000.nii.gz"]
    assert cohort["9"].id == "9"
    with pytest.raises(BadInputError, match="no case '8'"):
        cohort["8"]


def test_images_and_label_maps_can_be_in_one_folder(tmp_path: Path) -> None:
    folder = touch(
        tmp_path, "1.img.nii.gz", "1.label.nii.gz", "2.nii.gz", "2_label.nii.gz", "3_0000.nii.gz", "3.nii.gz"
    )
    cohort = discover_cohort(folder, folder, anatomy=HEART)
    assert pairs(cohort) == {
        "1": ("1.label.nii.gz", "1.img.nii.gz"),
        "2": ("2_label.nii.gz", "2.nii.gz"),
        "3": ("3.nii.gz", "3_0000.nii.gz"),
    }
    assert pairs(discover_cohort(folder, anatomy=HEART))["1"] == ("1.label.nii.gz", None)


@pytest.mark.parametrize("names", [("1.nii.gz", "1.nii"), ("1.label.nii.gz", "1_label.nii.gz"), ("1.nii", "1.mha")])
def test_the_error_names_two_files_of_one_case(tmp_path: Path, names: tuple[str, str]) -> None:
    touch(tmp_path, *names)
    with pytest.raises(BadInputError, match="case '1' has more than one label") as error:
        discover_cohort(tmp_path, anatomy=HEART)
    assert all(name in str(error.value) for name in names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"labels": {"LA": 1}, "file_ending": ".nrrd"}',
            r"json: file_ending is '\.nrrd', .* such as 1\.nii\.gz",
        ),
        ('{"labels": {"LA": 1, "LA": 2}}', r"dataset\.json: .*'LA' is given twice"),
    ],
)
def test_a_dataset_json_that_does_not_fit_is_named(tmp_path: Path, text: str, message: str) -> None:
    touch(tmp_path / "labelsTr", "1.nii.gz")
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(BadInputError, match=message):
        discover_cohort(tmp_path, anatomy=HEART)


def test_a_folder_without_cases_is_an_error(tmp_path: Path) -> None:
    labels = touch(tmp_path / "l", "1.nii.gz")
    with pytest.raises(BadInputError, match="nowhere: not a folder"):
        discover_cohort(tmp_path / "nowhere", anatomy=HEART)
    with pytest.raises(BadInputError, match="no label map"):
        discover_cohort(touch(tmp_path / "e", "readme.txt"), anatomy=HEART)
    with pytest.raises(BadInputError, match="not a folder"):
        discover_cohort(labels, tmp_path / "nowhere", anatomy=HEART)
    with pytest.raises(BadInputError, match="none of its 1 images"):
        discover_cohort(labels, touch(tmp_path / "i", "2.nii.gz"), anatomy=HEART)


def nnunet(root: Path, labels: object, ending: str = ".nii.gz") -> Path:
    """An nnU-Net v2 data set of two cases with two channels each."""
    for number in (1, 2):
        save_nifti(root / "labelsTr" / f"heart_{number:03d}.nii.gz", some_labels() % 4)
        for channel in (0, 1):
            touch(root / "imagesTr", f"heart_{number:03d}_{channel:04d}.nii.gz")
    table = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 2, "file_ending": ending}
    (root / "dataset.json").write_text(json.dumps(table))
    return root


def test_an_nnunet_data_set_is_read_and_written_with_its_own_ids(tmp_path: Path) -> None:
    root = nnunet(tmp_path / "Dataset001", {"background": 0, "left atrium": 1, "CORONARY": 2, "lv": 3})
    cohort = discover_cohort(root, anatomy=HEART)
    assert pairs(cohort) == {
        "heart_001": ("heart_001.nii.gz", "heart_001_0000.nii.gz"),
        "heart_002": ("heart_002.nii.gz", "heart_002_0000.nii.gz"),
    }
    case = cohort["heart_002"]
    volume = cohort.read_labels(case)
    assert volume.meaning is not None and volume.meaning.ids == {1: 2, 2: 9, 3: 3}
    assert (volume.labels == np.array([0, 2, 9, 3])[some_labels() % 4]).all()
    cohort.write_labels(case, volume.labels, tmp_path / "out.nii.gz")
    assert (np.asarray(nib.load(tmp_path / "out.nii.gz").dataobj) == some_labels() % 4).all()


def test_nnunet_names_that_the_anatomy_lacks_are_unknown_ids(tmp_path: Path) -> None:
    root = nnunet(tmp_path, {"background": 0, "LA": 1, "spine": 2, "LV": 3})
    cohort = discover_cohort(root, anatomy=HEART)
    with pytest.raises(BadInputError, match=r"does not have: 2 'spine' by .*dataset\.json"):
        cohort.read_labels(cohort["heart_001"])
    cohort = discover_cohort(root, anatomy=HEART, unknown_labels="keep")
    volume = cohort.read_labels(cohort["heart_001"])
    assert volume.unknown is not None
    cohort.write_labels(cohort["heart_001"], volume.labels, tmp_path / "out.nii.gz", volume.unknown)
    assert (np.asarray(nib.load(tmp_path / "out.nii.gz").dataobj) == some_labels() % 4).all()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"background": 0, "spine": 1}, r"none of its labels \(background, spine\)"),
        ({"background": 0, "LA": [1, 2]}, "region of ids"),
        ({"LA": 1, "LV": 1}, "of another label"),
        ({"LA": 0}, "of another label"),
        ({"LA": "1"}, "'1' as its id"),
        ({"LA": -1}, "-1 as its id"),
        (["LA"], "no table"),
    ],
)
def test_an_invalid_table_of_labels_is_an_error(tmp_path: Path, labels: object, message: str) -> None:
    root = nnunet(tmp_path, labels)
    with pytest.raises(BadInputError, match=message) as error:
        discover_cohort(root, anatomy=HEART)
    assert "dataset.json" in str(error.value)


def test_a_table_that_is_not_json_is_an_error(tmp_path: Path) -> None:
    root = nnunet(tmp_path, {"LA": 1})
    (root / "dataset.json").write_text("{")
    with pytest.raises(BadInputError, match="cannot be read as JSON"):
        discover_cohort(root, anatomy=HEART)


def test_an_empty_folder_of_images_is_no_folder_of_images(tmp_path: Path) -> None:
    root = nnunet(tmp_path, {"background": 0, "LA": 1, "LV": 2, "RV": 3})
    for path in (root / "imagesTr").iterdir():
        path.unlink()
    assert [case.image_path for case in discover_cohort(root, anatomy=HEART)] == [None, None]
