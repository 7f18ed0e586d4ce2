"""Tests of a run on label maps with their own values: they are read by their names, and written back unchanged."""

from __future__ import annotations

import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

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
    (labels / "3.hdr").touch()
    (tmp_path / "small.toml").write_text(CONFIG)
    config = load_config("mend", tmp_path / "small.toml")
    ids = {420: "LA", 500: "LV", 550: "RA", 600: "left ventricle"}
    with caplog.at_level(logging.WARNING):
        result = run(Request(labels, out, workers=1, stop_after="prepare", ids=ids), config)
    assert result.cases == ("1", "2") and "1 file was not read: 3.hdr" in caplog.text
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
