"""Tests of the stage fuse: the label map of the coronary segments."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
from rich.console import Console

from heartmend.anatomy.load import load_anatomy
from heartmend.compute.resources import Compute
from heartmend.coronaries.segments import Segment
from heartmend.geometry.components import label_components
from heartmend.io.dataset import discover_cohort
from heartmend.phantom.coronary_tree import SEGMENTS, draw_tree, sample_tree
from heartmend.phantom.plan import Label
from heartmend.repair.change_log import ChangeLog
from heartmend.repair.change_table import change_table
from heartmend.report.tables import segment_summary
from heartmend.run_folder.folder import RunFolder
from heartmend.stages.contract import Context
from heartmend.stages.fuse.settings import FuseSettings
from heartmend.stages.fuse.stage import fuse
from heartmend.stages.prepare import PrepareSettings, prepare


def phantom(seed: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label map of a heart with its coronaries, the names of `SEGMENTS`, and the affine."""
    rng = np.random.default_rng(seed)
    one = draw_tree(sample_tree(rng), (0.9,) * 3, rng)
    return (
        np.where(one.labels == Label.CORONARY, Label.CORONARY, one.chambers).astype(np.uint8),
        one.segments,
        one.affine,
    )


def fused(
    folder: Path, labels: np.ndarray, affine: np.ndarray, preset_ids: str = "", without: bool = False
) -> tuple[RunFolder, Path]:
    """A run that prepared and fused one case, and its folder."""
    (folder / "labels").mkdir()
    nib.save(nib.Nifti1Image(labels, affine), folder / "labels" / "1.nii.gz")
    anatomy = load_anatomy("heart").without_absent(())
    cohort = discover_cohort(folder / "labels", anatomy=anatomy, preset_ids=preset_ids)
    with RunFolder.open(folder / "out", folder / "labels") as run:
        context = Context(run, cohort, PrepareSettings(), compute=Compute(workers=1))
        assert [one.error for one in prepare(context, cohort.cases)] == [None]
        for wanted in (True, False)[: 1 + without][::-1]:
            fusing = replace(context, config=FuseSettings(segments=wanted))
            assert [one.error for one in fuse(fusing, cohort.cases)] == [None]
            assert (folder / "out" / "segments" / "1.nii.gz").exists() == wanted
    return run, folder / "out"


def test_segments_are_written_on_request_and_listed(tmp_path: Path) -> None:
    labels, names, affine = phantom()
    run, out = fused(tmp_path, labels, affine, without=True)
    image = nib.load(out / "segments" / "1.nii.gz")
    values = np.asarray(image.dataobj)
    assert np.allclose(image.affine, affine, atol=1e-4) and values.dtype == np.uint8
    np.testing.assert_array_equal(values > 0, np.asarray(nib.load(out / "labels" / "1.nii.gz").dataobj) == 9)
    for name, segment in (("LAD", Segment.LAD), ("RCA", Segment.RCA), ("PDA", Segment.R_PDA)):
        assert (values[names == SEGMENTS.index(name) + 1] == segment).mean() > 0.85
    log = run.changes("1")
    assert {"LM", "LAD", "LCx", "RCA", "R-PDA", "R-PLA"} <= {one.segment for one in log.segments}
    assert ChangeLog.from_dict(log.to_dict()) == log
    screen = io.StringIO()
    Console(file=screen, width=400).print(change_table(log))
    assert "segments with length and confidence: LM " in screen.getvalue()
    table = segment_summary([log, ChangeLog("2")])
    assert table is not None
    assert [row[:3] for row in table.rows][:2] == [("LM", "left", "1"), ("LAD", "left", "1")]
    assert segment_summary([ChangeLog("2")]) is None


def test_names_of_the_input_are_carried_over(tmp_path: Path) -> None:
    """An input with the ids of ImageCAS-X and no chambers; a gap in the LAD is bridged with its name."""
    labels, names, affine = phantom()
    ids = {"LM": 1, "LAD": 2, "LCx": 3, "D": 5, "OM": 7, "RCA": 9, "PDA": 12, "PLA": 11, "RV": 14}
    given = np.zeros(labels.shape, np.uint8)
    for i, name in enumerate(SEGMENTS, start=1):
        given[names == i] = ids[name]
    lad = np.argwhere(given == 2)
    middle = lad[np.argmin(np.abs(np.linalg.norm(lad - lad[0], axis=1) - 60))]
    gap = lad[np.linalg.norm(lad - middle, axis=1) < 6]
    broken = given.copy()
    broken[tuple(gap.T)] = 0
    run, out = fused(tmp_path, broken, affine, "imagecas-x")
    values = np.asarray(nib.load(out / "segments" / "1.nii.gz").dataobj)
    np.testing.assert_array_equal(values, np.asarray(nib.load(out / "labels" / "1.nii.gz").dataobj))
    kept = (values > 0) & (broken > 0)
    assert kept.sum() > 0.97 * (broken > 0).sum()
    np.testing.assert_array_equal(values[kept], broken[kept])
    assert label_components(broken > 0)[1].size == label_components(values > 0)[1].size + 1, "a bridge"
    assert (values[tuple(gap.T)] == 2).sum() > 0.2 * len(gap)
    records = {one.segment: one for one in run.changes("1").segments}
    assert "L-PDA" in records and records["L-PDA"].side == "left", "whatever its course is"
    assert all(one.confidence > 0.9 for one in records.values())
