"""Centrelines of a folder of label maps."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from heartmend.anatomy.load import load_anatomy
from heartmend.cli.main import app
from heartmend.errors import ConfigError, RunError
from heartmend.phantom.coronary_tree import CoronaryPhantom, draw_tree, sample_tree
from heartmend.phantom.plan import Label
from heartmend.pipelines.centrelines import CentrelinesRequest, trace_cohort


@pytest.fixture(scope="module")
def phantom() -> CoronaryPhantom:
    rng = np.random.default_rng(2)
    return draw_tree(sample_tree(rng), (0.9,) * 3, rng)


@pytest.fixture(scope="module")
def folder(phantom: CoronaryPhantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    labels = np.where(phantom.labels == Label.CORONARY, Label.CORONARY, phantom.chambers).astype(np.uint8)
    path = tmp_path_factory.mktemp("centrelines") / "labels"
    path.mkdir()
    nib.save(nib.Nifti1Image(labels, phantom.affine), path / "1.nii.gz")
    (path / "2.nii.gz").write_bytes(b"damaged")
    return path


def test_lines_of_a_phantom_are_those_it_was_drawn_with(folder: Path, phantom: CoronaryPhantom, tmp_path: Path) -> None:
    arguments = ["centrelines", str(folder), "-o", str(tmp_path / "out"), "--formats", "swc,mrk.json,vtp", "--segments",
                 "--workers", "1"]  # fmt: skip
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 3, result.output
    assert "1 case traced, 1 skipped" in result.output
    table = np.loadtxt(tmp_path / "out" / "1_Coronary.swc")
    true = np.concatenate([branch.path for branch in phantom.branches])
    true = true / phantom.spacing_mm @ phantom.affine[:3, :3].T + phantom.affine[:3, 3]
    away = np.linalg.norm(table[:, None, 2:5] - true[None, ::4], axis=2).min(axis=1)
    assert np.median(away) < 0.5 and np.percentile(away, 95) < 1.5, "mm"
    assert 1.2 < np.median(table[:, 5]) < 2.1, "radius in mm"
    curves = {curve["name"] for curve in json.loads((tmp_path / "out" / "1_Coronary.mrk.json").read_text())["markups"]}
    assert {"LM", "LAD", "LCx", "RCA", "R-PDA"} <= curves
    assert (tmp_path / "out" / "1_Coronary.vtp").exists()
    segments = np.asarray(nib.load(tmp_path / "out" / "segments" / "1.nii.gz").dataobj)
    np.testing.assert_array_equal(segments > 0, phantom.labels == Label.CORONARY)
    with (tmp_path / "out" / "centrelines.csv").open(newline="") as file:
        rows = {(row["segment"], row["tree"]): row for row in csv.DictReader(file)}
    lad = next(branch for branch in phantom.branches if branch.name == "LAD")
    assert float(rows["LAD", "left"]["length_mm"]) == pytest.approx(0.25 * len(lad.path), rel=0.15)
    assert float(rows["LAD", "left"]["mean_radius_mm"]) == pytest.approx(lad.radius_mm.mean(), rel=0.15)
    assert 0 < float(rows["LAD", "left"]["confidence"]) <= 1
    # Each root is at the aorta: two ostia, from which the lines begin.
    roots = table[table[:, 6] == -1]
    assert len(roots) == 2


def test_what_cannot_be_traced_is_refused(folder: Path, tmp_path: Path) -> None:
    heart = load_anatomy("heart")
    with pytest.raises(ConfigError, match="unknown format of centrelines 'obj'"):
        list(trace_cohort(CentrelinesRequest(folder, tmp_path / "out", heart, ("obj",))))
    with pytest.raises(ConfigError, match="no thin vessel"):
        list(trace_cohort(CentrelinesRequest(folder, tmp_path / "out", load_anatomy("adrenal"))))
    with pytest.raises(RunError):
        list(trace_cohort(CentrelinesRequest(folder, folder, heart)))
    assert not (tmp_path / "out").exists()
