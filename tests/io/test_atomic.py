"""Atomic writing."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from heartmend.io.atomic import (
    TEMPORARY_PREFIX,
    atomic_write,
    remove_temporaries,
    write_json,
    write_npz,
    write_safetensors,
    write_text,
)


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "old")
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("1.nii.gz", ".nii.gz"),
        ("1.img.nii.gz", ".nii.gz"),
        ("a.mha", ".mha"),
        ("plain", ""),
        ("a. long name.json", ".json"),
    ],
)
def test_a_temporary_name_has_the_ending_of_the_file_and_is_hidden(tmp_path: Path, name: str, ending: str) -> None:
    with atomic_write(tmp_path / name) as temporary:
        temporary.touch()
        assert temporary.name.endswith(ending)
        assert temporary.name.startswith(TEMPORARY_PREFIX)


def test_a_file_name_of_maximal_length_can_be_written(tmp_path: Path) -> None:
    write_text(tmp_path / ("x" * 248 + ".nii.gz"), "")


def test_only_temporary_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    left = tmp_path / "a" / f"{TEMPORARY_PREFIX}0123.nii.gz"
    write_text(left, "half")
    write_text(tmp_path / "a" / "complete.json", "{}")
    assert remove_temporaries(tmp_path) == 1
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["complete.json"]


def test_json_accepts_numpy_and_paths_but_not_nan(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    write_json(path, {"a": np.float32(0.5), "b": np.arange(2), "c": Path("x/y"), "d": {3, 1}, "e": "Müller"})
    assert json.loads(path.read_text()) == {"a": 0.5, "b": [0, 1], "c": "x/y", "d": [1, 3], "e": "Müller"}
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, float("nan"))


def test_arrays_are_read_unchanged_and_nothing_is_pickled(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.int16).reshape(2, 3).T
    write_npz(tmp_path / "a.npz", {"x": array})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert np.array_equal(file["x"], array)
    write_safetensors(tmp_path / "a.safetensors", {"x": array}, {"made": "here"})
    assert np.array_equal(load_file(tmp_path / "a.safetensors")["x"], array)
    with pytest.raises(TypeError, match="pickled"):
        write_npz(tmp_path / "b.npz", {"x": np.array([{}])})
