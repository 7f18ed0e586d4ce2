"""Tests of the stage fuse."""

import io
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from rich.console import Console

from heartmend.anatomy.load import load_anatomy
from heartmend.compute.resources import Compute
from heartmend.errors import DamagedError
from heartmend.geometry.distance import DistanceMap
from heartmend.geometry.grid import Grid
from heartmend.io.dataset import discover_cohort
from heartmend.repair.change_log import ChangeLog, estimate_table
from heartmend.repair.change_table import change_table
from heartmend.repair.far_components import RULE
from heartmend.run_folder.folder import RunFolder
from heartmend.stages.contract import Context
from heartmend.stages.fuse.case import FusedCase, fuse_case
from heartmend.stages.fuse.corrected import RefinedCase
from heartmend.stages.fuse.settings import FuseSettings
from heartmend.stages.fuse.stage import fuse
from heartmend.stages.prepare import PrepareSettings, prepare, prepare_labels
from support.cohorts import TURNED, write_cohort


def test_images_are_read_for_vessels_and_for_image_edges_only() -> None:
    assert FuseSettings().reads_images
    assert FuseSettings(image_edges=False).reads_images
    assert not FuseSettings(image_edges=False, repair_vessels=False).reads_images


def _fused(labels: np.ndarray, settings: PrepareSettings, structures: tuple[str, ...] = ()) -> FusedCase:
    anatomy, grid = load_anatomy("heart"), Grid(labels.shape, np.eye(4))
    prepared = prepare_labels("001", labels, grid, anatomy, settings)
    return fuse_case(RefinedCase(labels, prepared, {}), anatomy, FuseSettings(), structures)


def _label_map() -> np.ndarray:
    """A ventricle with its wall, and a far region of each outside the ROI."""
    labels = np.zeros((90, 40, 40), dtype=np.uint8)
    labels[8:32, 8:32, 8:32], labels[12:28, 12:28, 12:28] = 1, 3
    labels[70:90, :6, :6], labels[80:85, 30:35, 30:35] = 1, 3
    return labels


def test_far_components_outside_the_roi_are_removed_and_listed() -> None:
    labels = _label_map()
    expected = labels.copy()
    expected[60:] = 0
    fused = _fused(labels, PrepareSettings())
    assert np.array_equal(fused.labels, expected)
    assert [(c.structure, c.voxels) for c in fused.log.changes if c.rule == RULE] == [("Myocardium", 720), ("LV", 125)]


def test_far_components_stay_on_request() -> None:
    labels = _label_map()
    fused = _fused(labels, PrepareSettings(keep_far_components=True))
    assert np.array_equal(fused.labels, labels)
    assert not [c for c in fused.log.changes if c.rule == RULE]


def test_far_components_of_other_structures_stay() -> None:
    labels = _label_map()
    fused = _fused(labels, PrepareSettings(), ("LV",))
    labels[60:][labels[60:] == 3] = 0
    assert np.array_equal(fused.labels, labels)
    assert [c.structure for c in fused.log.changes if c.rule == RULE] == ["LV"]


def test_a_repaired_case_has_expected_errors() -> None:
    labels, anatomy = _label_map(), load_anatomy("heart")
    prepared = prepare_labels("001", labels, Grid(labels.shape, np.eye(4)), anatomy, PrepareSettings())
    maps = {one: DistanceMap.of_mask(prepared.cleaned == id, (1, 1, 1)) for one, id in (("Myocardium", 1), ("LV", 3))}
    fused = fuse_case(RefinedCase(labels, prepared, maps), anatomy, FuseSettings(uncertainty=True))
    without = fuse_case(RefinedCase(labels, prepared, maps), anatomy, FuseSettings())
    assert without.percent is None and without.log == fused.log, "the probabilities are made where they are wanted"
    assert _fused(labels, PrepareSettings()).log.estimates == (), "not without shapes"
    assert [one.structure for one in fused.log.estimates] == ["Myocardium", "LV"]
    assert ChangeLog.from_dict(fused.log.to_dict()) == fused.log
    table = fused.log.to_dict()
    del table["estimates"]
    assert ChangeLog.from_dict(table).estimates == (), "a log of an earlier version"
    assert [row["structure"] for row in estimate_table([fused.log]).rows] == ["Myocardium", "LV"]
    assert fused.percent is not None and 0 < fused.percent.max() <= 100
    screen = io.StringIO()
    Console(file=screen, width=200).print(change_table(fused.log))
    assert "expected Dice (90 % interval): Myocardium" in screen.getvalue()


def test_probabilities_are_written_on_request_and_removed_without_it(tmp_path: Path) -> None:
    """On the grid of the label map, stamped with the result; those of an earlier run never stay beside a new map."""
    labels, out = write_cohort(tmp_path, 2), tmp_path / "out"
    cohort = discover_cohort(labels, anatomy=load_anatomy("heart").without_absent(()))
    with RunFolder.open(out, labels) as run:
        context = Context(run, cohort, PrepareSettings(), compute=Compute(workers=1))
        assert [one.error for one in prepare(context, cohort.cases)] == [None, None]
        for wanted in (True, False):
            fusing = replace(context, config=FuseSettings(uncertainty=wanted))
            assert [one.error for one in fuse(fusing, cohort.cases)] == [None, None]
            path = out / "uncertainty" / "1.nii.gz"
            assert path.exists() == wanted
            if wanted:
                image, case = nib.load(path), cohort["1"]
                assert image.get_data_dtype() == np.uint8 and np.allclose(image.affine, TURNED)
                grid = cohort.read_labels(case).grid
                found = run.uncertainty("1", grid)
                assert found is not None and found.shape == grid.shape and found.max() <= 100
                path.write_bytes(b"damaged")
                with pytest.raises(DamagedError, match="heartmend fuse"):
                    run.uncertainty("1", grid)
        assert run.uncertainty("1", grid) is None
        run.write_estimates(["1", "2"])
        assert "surface_low_mm" in (out / "run" / "estimates.csv").read_text()
