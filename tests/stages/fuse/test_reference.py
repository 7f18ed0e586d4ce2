"""Tests of the template that is learned from the best label maps, in runs of small hearts that are displaced."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from heartmend.metrics.overlap import dice
from heartmend.models.template import TemplateShape
from heartmend.pipelines.config import load_config
from heartmend.pipelines.run import Request, run
from heartmend.repair.placed_shape import RULE
from heartmend.run_folder.folder import RunFolder
from heartmend.run_folder.paths import REFERENCE
from heartmend.stages.fuse.reference import PHASE
from support.cohorts import CONFIG
from support.shared_error import AFFINE, SHAPE, hearts
from support.volumes import save_nifti

COUNT = 6


def write_cohort(folder: Path, moved_voxels: int) -> Path:
    """Hearts with CTs; each label has the LV moved by some voxels and the RV the other way: no CT is displaced."""
    directions = np.array([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)])
    for number, direction in enumerate(directions, start=1):
        truth, rng = hearts(number), np.random.default_rng(number)
        hu = np.where(truth == 3, 350, np.where(truth == 5, 250, -80)) + rng.normal(0, 15, SHAPE)
        save_nifti(folder / "images" / f"{number}.nii.gz", hu.round(), np.int16, AFFINE)
        save_nifti(folder / "truth" / f"{number}.nii.gz", truth, np.uint8, AFFINE)
        labels = np.zeros_like(truth)
        for id, way in ((3, moved_voxels), (5, -moved_voxels)):
            labels[np.roll(truth == id, way * direction, axis=(0, 1, 2))] = id
        save_nifti(folder / "labels" / f"{number}.nii.gz", labels, np.uint8, AFFINE)
    (folder / "small.toml").write_text(CONFIG)
    return folder


def repaired(folder: Path, output: Path) -> RunFolder:
    run(
        Request(folder / "labels", output, images=folder / "images", device="cpu", workers=1, stop_after="fuse"),
        load_config("mend", folder / "small.toml"),
    )
    return RunFolder.at(output)


@pytest.fixture(autouse=True)
def few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two balls need fewer points than a heart, and a shorter fit."""
    monkeypatch.setattr("heartmend.training.image_placement.POINTS", 500)
    monkeypatch.setattr("heartmend.stages.fuse.reference.PHASE", replace(PHASE, steps=60, side=48))
    monkeypatch.setattr("heartmend.stages.fuse.reference.JUDGED_CASES", 2)


def test_displaced_label_maps_are_replaced_by_a_template_of_the_best(tmp_path: Path) -> None:
    folder = write_cohort(tmp_path / "cohort", moved_voxels=1)
    found = repaired(folder, tmp_path / "out")
    shape, codes = found.fitted(REFERENCE)
    assert isinstance(shape, TemplateShape) and {"LV", "RV"} <= {*shape.heads}
    assert len(codes.ids) == COUNT // 2
    assert all(mm < 1.3 for mm in found.reference_misfits().values()) and len(found.reference_misfits()) == 2
    rules = {change.rule for number in range(1, COUNT + 1) for change in found.changes(str(number)).changes}
    assert RULE in rules
    for number in range(1, COUNT + 1):
        before, after, truth = (
            np.asarray(nib.load(parent / f"{number}.nii.gz").dataobj)
            for parent in (folder / "labels", found.labels, folder / "truth")
        )
        for id in (3, 5):
            assert dice(after == id, truth == id) > max(dice(before == id, truth == id), 0.93)
    # It is learned once: a second call finds it done.
    stamp = found.stamped(REFERENCE)
    assert stamp and repaired(folder, tmp_path / "out").stamped(REFERENCE) == stamp


def test_label_maps_at_their_edges_need_no_template(tmp_path: Path) -> None:
    found = repaired(write_cohort(tmp_path / "cohort", moved_voxels=0), tmp_path / "out")
    assert not found.has_fitted(REFERENCE) and found.stamped(REFERENCE)
    assert found.reference_misfits() == {}
