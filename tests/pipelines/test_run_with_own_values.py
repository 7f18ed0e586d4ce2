"""Tests of a run on label maps with their own values: they are read by their names, and written back unchanged."""

from __future__ import annotations

import logging
from importlib import resources
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from heartmend.io.dataset import discover_cohort
from heartmend.pipelines.config import load_config
from heartmend.pipelines.run import Request, run
from heartmend.repair.change_log import ChangeLog
from heartmend.run_folder.folder import RunFolder, open_labels
from support.cohorts import CONFIG, small_map
from support.volumes import save_nifti

VALUES = np.zeros(11, dtype=np.int16)
VALUES[2:6] = 420, 500, 550, 600


def test_a_run_remembers_what_the_values_mean(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels, out = tmp_path / "labels", tmp_path / "out"
    for number in (1, 2):
        save_nifti(labels / f"{number}.nii.gz", VALUES[small_map(number)] + 0, np.int16, np.diag([2.0, 2.0, 2.0, 1.0]))
    (labels / "3.vtk").touch()
    (tmp_path / "small.toml").write_text(CONFIG)
    config = load_config("mend", tmp_path / "small.toml")
    ids = {420: "LA", 500: "LV", 550: "RA", 600: "left ventricle"}
    with caplog.at_level(logging.WARNING):
        result = run(Request(labels, out, workers=1, stop_after="prepare", ids=ids), config)
    assert result.cases == ("1", "2") and "1 file was not read: 3.vtk" in caplog.text
    with RunFolder.open(out, labels) as folder:
        cohort = folder.cohort()
        volume = cohort.read_labels(cohort["1"])
        assert volume.meaning is not None and volume.meaning.ids == {420: 2, 500: 3, 550: 4, 600: 3}
        folder.write_fused(cohort, cohort["1"], volume.labels, ChangeLog("1"))
        folder.finish("fuse", "1", "", [folder.result_path(cohort["1"])])
        assert (folder.repaired(cohort, cohort["1"]).labels == volume.labels).all()
    written = np.asarray(nib.load(out / "labels" / "1.nii.gz").dataobj)
    assert (written == np.asarray(nib.load(labels / "1.nii.gz").dataobj)).all()
    (opened,) = open_labels(out, cohort.anatomy)
    assert opened.tables == cohort["1"].tables
    # Without the table, the values are recognised, and the RV is the RV.
    own = discover_cohort(labels, anatomy=cohort.anatomy)
    assert 5 in own.read_labels(own["1"]).labels


NAMES = {2: "LA", 3: "LV", 4: "RA", 5: "RV", 62: "superior vena cava"}


def run_small(tmp_path: Path, maps: dict[int, np.ndarray], **request: Any) -> RunFolder:
    """Run small hearts to the end, in tmp_path/out."""
    labels, out = tmp_path / "labels", tmp_path / "out"
    for number, cube in maps.items():
        save_nifti(labels / f"{number}.nii.gz", cube, np.uint8, np.diag([-2.0, -2.0, 2.0, 1.0]))
    (tmp_path / "small.toml").write_text(CONFIG)
    config = load_config("mend", tmp_path / "small.toml")
    assert run(Request(labels, out, workers=1, **request), config).cases == tuple(str(n) for n in maps)
    return RunFolder.at(out)


def with_svc(cube: np.ndarray) -> np.ndarray:
    """Add a vein of 4 x 4 voxels upwards from the RA, with a hole and a detached component."""
    cube = cube.copy()
    column = np.argwhere(cube == 4)
    x, y = (int(n) for n in np.median(column[:, :2], axis=0))
    top = int(column[:, 2].max()) + 1
    cube[x - 2 : x + 2, y - 2 : y + 2, top - 2 : 28] = np.where(
        cube[x - 2 : x + 2, y - 2 : y + 2, top - 2 : 28] == 0, 62, cube[x - 2 : x + 2, y - 2 : y + 2, top - 2 : 28]
    )
    cube[x, y, 26] = 0
    cube[27, 17, 25:27] = 62
    return cube


def test_a_vena_cava_is_repaired_where_it_is_given(tmp_path: Path) -> None:
    maps = {number: with_svc(small_map(number)) for number in (1, 2)} | {3: small_map(3)}
    folder = run_small(tmp_path, maps, ids=NAMES, stop_after="fuse")
    anatomy = folder.anatomy()
    assert "SVC" in anatomy.names and "IVC" not in anatomy.names
    assert "SVC" in folder.fitted()[0].heads
    for number in (1, 2):
        written = np.asarray(nib.load(tmp_path / "out" / "labels" / f"{number}.nii.gz").dataobj)
        assert set(np.unique(written)) <= {0, *NAMES}
        before = maps[number] == 62
        assert (written[27, 17, 25:27] == 0).all(), "the detached component is removed"
        ((x, y),) = np.argwhere(before[:, :, 25] & ~before[:, :, 26] & before[:, :, 27])
        assert written[x, y, 26] == 62, "the hole is filled"
    # A case without it has none.
    assert not (np.asarray(nib.load(tmp_path / "out" / "labels" / "3.nii.gz").dataobj) == 62).any()
    table = (tmp_path / "out" / "run" / "heart.itksnap.txt").read_text()
    assert '"SVC"' in next(line for line in table.splitlines() if line.split()[:1] == ["62"])


def test_without_venae_cavae_a_run_is_that_of_an_anatomy_that_does_not_have_them(tmp_path: Path) -> None:
    maps = {number: small_map(number) for number in (1, 2, 3)}
    run_small(tmp_path / "a", maps)
    text = (resources.files("heartmend.anatomy") / "heart.toml").read_text()
    entries = text.split("[[structures]]")
    assert 'name = "SVC"' in entries[-2] and 'name = "IVC"' in entries[-1]
    ten = "[[structures]]".join(entries[:-2]) + text[text.index("# The anatomical rules") :]
    (tmp_path / "heart.toml").write_text(ten.replace('"SVC", "IVC", ', ""))
    run_small(tmp_path / "b", maps, anatomy=str(tmp_path / "heart.toml"))
    for number in maps:
        a, b = ((tmp_path / x / "out" / "labels" / f"{number}.nii.gz").read_bytes() for x in "ab")
        assert a == b
    first, second = (RunFolder.at(tmp_path / x / "out").model() for x in "ab")
    assert first.anatomy.names == second.anatomy.names and first.shape.heads == second.shape.heads
    for (name, mine), other in zip(first.shape.state_dict().items(), second.shape.state_dict().values(), strict=True):
        assert torch.equal(mine, other), name
    for name in ("heart.ctbl", "heart.itksnap.txt"):
        assert (tmp_path / "a/out/run" / name).read_text() == (tmp_path / "b/out/run" / name).read_text()


def test_label_maps_of_coronary_arteries_alone_are_repaired(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Four cases, as of ImageCAS: two vessels 24 mm apart, one of them interrupted. No shape and no model is fitted."""
    cube = np.zeros((40, 40, 40), np.int16)
    cube[4:36, 6:9, 6:9], cube[4:36, 30:33, 30:33] = 1, 1
    broken = cube.copy()
    broken[18:22] = 0
    labels, out = tmp_path / "labels", tmp_path / "out"
    for number in range(4):
        save_nifti(labels / f"{number}.nii.gz", cube if number else broken, np.int16, np.diag([1.0, 1.0, 1.0, 1.0]))
    with caplog.at_level(logging.WARNING):
        result = run(Request(labels, out, workers=1, preset_ids="imagecas"))
    assert result.cases == ("0", "1", "2", "3") and not result.skipped
    assert "thin vessels alone" in caplog.text
    for number in range(4):
        written = np.asarray(nib.load(out / "labels" / f"{number}.nii.gz").dataobj)
        assert written[10, 7, 7] == written[10, 31, 31] == 1, "both trees stay"
        assert written[20, 7, 7] == written[20, 31, 31] == 1, "and gaps are bridged"
    assert not (out / "run" / "fit" / "model.safetensors").exists()
    assert not (out / "run" / "unify" / "model.zip").exists()
