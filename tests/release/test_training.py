"""Tests of what a release has for training: ignored voxels and weights of the cases."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from heartmend.errors import ConfigError
from heartmend.release.export import export_release
from heartmend.release.training import TrainingOptions
from heartmend.repair.uncertainty.estimate import StructureEstimate
from heartmend.review.case_cache import make_ready
from heartmend.run_folder.finished import FinishedRun
from support.runs import finished_run


def estimated(dice: float) -> StructureEstimate:
    return StructureEstimate("LV", dice, dice - 0.05, dice + 0.05, 0.3, 0.1, 0.6)


@pytest.fixture
def finished(tmp_path: Path) -> FinishedRun:
    """Cases 1 to 3; the first two have probabilities of 10 %, in one plane 31 %, and expected Dice of 0.9 and 0.6."""
    found = FinishedRun.open(finished_run(tmp_path))
    run = found.run
    for id, dice in (("1", 0.9), ("2", 0.6)):
        case = found.cohort[id]
        grid = found.before(case).grid
        percent = np.full(grid.shape, 10, np.uint8)
        percent[5] = 31
        run.write_uncertainty(id, percent, grid)
        log = replace(run.changes(id), estimates=(estimated(dice),))
        run.finish("fuse", id, "x", run.write_fused(found.cohort, case, found.after(case).labels, log))
    assert make_ready(found, workers=1) == {}
    return found


def test_uncertain_voxels_have_the_ignore_label_in_nnunet_alone(finished: FinishedRun, tmp_path: Path) -> None:
    to = tmp_path / "release"
    plan = export_release(finished, to, frozenset({"nnunet"}), "accept", TrainingOptions("none", 0.3), workers=1)
    assert [one.case.id for one in plan.release] == ["1", "2"]
    assert "--uncertainty" in plan.left_out["3"], "a case without probabilities is left out with the reason"
    dataset = to / "nnunet" / "Dataset001_Heart"
    labels = json.loads((dataset / "dataset.json").read_text())["labels"]
    assert labels["ignore"] == max(labels.values()) == len(labels) - 1
    plain, ignoring = (np.asarray(nib.load(p / "1.nii.gz").dataobj) for p in (to / "labels", dataset / "labelsTr"))
    assert (ignoring[5] == labels["ignore"]).all() and not (plain == labels["ignore"]).any()
    others = np.arange(len(plain)) != 5
    assert (ignoring[others] == plain[others]).all()
    assert "`ignore`" in (to / "README.md").read_text()


def test_weights_are_expected_dice_over_its_mean(finished: FinishedRun, tmp_path: Path) -> None:
    to = tmp_path / "release"
    export_release(finished, to, frozenset(), "accept", TrainingOptions("none", 0.3), workers=1)
    lines = [line for line in (to / "case_weights.csv").read_text().splitlines() if not line.startswith("#")]
    rows = {row["case"]: row for row in csv.DictReader(lines)}
    assert {id: float(rows[id]["weight"]) for id in ("1", "2")} == {"1": 1.2, "2": 0.8}
    assert float(rows["3"]["weight"]) == 1.0, "not judged"


def test_a_share_that_is_no_probability_is_an_error() -> None:
    for wrong in (0.0, 1.0, 30.0):
        with pytest.raises(ConfigError, match="between 0 and 1"):
            TrainingOptions(ignore_above=wrong)
