"""The folder that was probably meant where a folder has no label map itself."""

from pathlib import Path

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.errors import BadInputError
from heartmend.io.dataset import discover_cohort

ANATOMY = load_anatomy("heart")


def fill(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for n in range(count):
        (folder / f"{n:03}.nii.gz").touch()


def message(folder: Path) -> str:
    with pytest.raises(BadInputError) as error:
        discover_cohort(folder, anatomy=ANATOMY)
    return str(error.value).removeprefix(f"{folder}: ")


def test_the_folder_of_label_maps_below_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "labels_noisy", 5)
    fill(tmp_path / "images", 5)
    fill(tmp_path / ".hidden", 5)
    assert message(tmp_path) == "contains no label map itself; labels_noisy/ below has 5: did you mean it?"


def test_several_folders_are_named_those_of_labels_first(tmp_path: Path) -> None:
    for name in ("a", "labels_true", "seg"):
        fill(tmp_path / name, 3)
    text = "labels_true/ below has 3, seg/ below has 3, a/ below has 3: did you mean one of them?"
    assert message(tmp_path) == f"contains no label map itself; {text}"


def test_images_alone_are_not_taken_for_label_maps(tmp_path: Path) -> None:
    fill(tmp_path / "cts", 4)
    text = "cts/ below has images; give the folder of the label maps"
    assert message(tmp_path) == f"contains no label map itself; {text}"


def test_a_dicom_series_is_named(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    from support.dicom import write_series

    write_series(tmp_path, np.zeros((8, 8, 4), np.int16))
    text = "it is a folder of DICOM images; give the folder of the label maps, and this one with --images"
    assert message(tmp_path) == f"contains no label map itself; {text}"


def test_an_empty_folder_has_no_hint(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "give the folder that directly contains them" in message(tmp_path)
