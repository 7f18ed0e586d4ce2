"""From shapes to masks: coarse to fine is the dense answer, labels keep their word, absent stays absent."""

import json
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from heartmend.anatomy.load import load_anatomy
from heartmend.errors import ConfigError, RunError
from heartmend.io.atomic import write_json
from heartmend.models.code_book import CodeBook
from heartmend.models.lattice import render_case
from heartmend.models.template import TemplateShape
from heartmend.run_folder.folder import Run
from heartmend.run_folder.records import PreparedCase, load_fields
from heartmend.stages.refine import RefineSettings, refine, refine_case, write_render
from heartmend.training.checkpoint import save_model
from heartmend.training.initialise import initialise_template
from support.hearts import HEADS, on_a_roi, prepared, small_heart, target_of


@pytest.fixture(scope="module")
def model() -> tuple[TemplateShape, CodeBook]:
    """A template that is just the one heart."""
    heart = small_heart(1)
    return initialise_template(HEADS, [target_of("a", heart, [3, 5])], lambda _: on_a_roi(heart), side=32, controls=6)


def case_of(labels: np.ndarray) -> PreparedCase:
    return prepared("a", labels)


def test_the_native_grid_is_asked_where_its_voxels_are(model: tuple[TemplateShape, CodeBook]) -> None:
    shape, codes = model
    case = case_of(small_heart(1))
    fields = render_case(shape, codes, "a", case.roi)
    points = torch.from_numpy(case.roi.source_points().reshape(1, -1, 3))
    with torch.no_grad():
        dense = shape(points, codes.of(["a"]))[0].T.reshape(2, *case.source.shape).numpy()
    for field, asked in zip(fields.values(), dense, strict=True):
        assert ((field > 0) == (asked > 0)).all()
    assert render_case(shape, codes, "a", case.roi, resolution=20)["LV"].shape == (20, 20, 20)


def test_ragged_edges_go_and_an_absent_structure_stays_absent(model: tuple[TemplateShape, CodeBook]) -> None:
    shape, codes = model
    labels = small_heart(1)
    labels[labels == 5] = 0
    noisy = labels.copy()
    noise = gaussian_filter(np.random.default_rng(0).standard_normal(labels.shape), 1.2)
    surface = render_case(shape, codes, "a", case_of(labels).roi)["LV"]
    noisy[:] = np.where(surface + 1.5 * noise / noise.std() > 0, 3, 0)
    fields, votes = refine_case(shape, codes, case_of(noisy), HEADS, RefineSettings())
    assert (fields["RV"] < 0).all()
    assert "RV" not in votes
    wrong = [int(((mask > 0) != (labels == 3)).sum()) for mask in (noisy == 3, fields["LV"])]
    assert wrong[1] < 0.25 * wrong[0]


def test_without_weight_the_shape_alone_decides(model: tuple[TemplateShape, CodeBook]) -> None:
    shape, codes = model
    case = case_of(small_heart(1))
    fields, votes = refine_case(shape, codes, case, HEADS, RefineSettings(label_weight=0))
    assert votes == {}
    assert np.array_equal(fields["LV"], render_case(shape, codes, "a", case.roi)["LV"])


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    (tmp_path / "labels").mkdir()
    with Run.open(tmp_path / "out", tmp_path / "labels") as run:
        yield run


def test_each_case_is_done_once_and_the_votes_are_kept(run: Run, model: tuple[TemplateShape, CodeBook]) -> None:
    case_of(small_heart(1)).save(run)
    path = run.folder("fit") / "model.safetensors"
    save_model(path, *model)
    settings = RefineSettings()
    assert list(refine(run, path, ["a"], HEADS, settings, workers=1)) == [("a", None, None)]
    kept = run.case_path("refine", "a", ".npz")
    assert set(load_fields(kept)) == {"LV", "RV"}
    assert set(json.loads(kept.with_suffix(".json").read_text())["label_margin_mm"]) == {"LV", "RV"}
    written = kept.stat().st_mtime_ns
    assert list(refine(run, path, ["a"], HEADS, settings, workers=1)) == [("a", None, None)]
    assert kept.stat().st_mtime_ns == written
    list(refine(run, path, ["a"], HEADS, RefineSettings(label_weight=1), workers=1))
    assert kept.stat().st_mtime_ns > written
    kept.unlink()
    list(refine(run, path, ["a"], HEADS, RefineSettings(label_weight=1), workers=1))
    assert kept.is_file()  # what was lost is made again


def test_a_case_that_fails_is_told_and_the_others_go_on(run: Run, model: tuple[TemplateShape, CodeBook]) -> None:
    case_of(small_heart(1)).save(run)
    path = run.folder("fit") / "model.safetensors"
    save_model(path, *model)
    prepared("b", small_heart(2)).save(run)
    outcomes = {id: error for id, _, error in refine(run, path, ["a", "b"], HEADS, RefineSettings(), workers=1)}
    assert outcomes["a"] is None
    assert "no code is kept for case b" in str(outcomes["b"])


def test_a_shape_is_written_at_any_resolution(run: Run, model: tuple[TemplateShape, CodeBook], tmp_path: Path) -> None:
    heart = small_heart(1)
    case_of(heart).save(run)
    with pytest.raises(RunError, match="not fitted yet"):
        write_render(run, "a", tmp_path / "x.nii.gz", 48)
    save_model(run.folder("fit") / "model.safetensors", *model)
    write_json(run.root / "anatomy.json", load_anatomy("heart"))
    write_render(run, "a", tmp_path / "labels.nii.gz", 48)
    image = nib.load(tmp_path / "labels.nii.gz")
    labels = np.asarray(image.dataobj)
    assert labels.shape == (48, 48, 48)
    assert image.header.get_zooms() == pytest.approx((64 / 48,) * 3)
    for id in HEADS.values():
        volumes = (labels == id).sum() / 48**3, (heart == id).sum() / 32**3
        assert volumes[0] == pytest.approx(volumes[1], rel=0.1)
    write_render(run, "a", tmp_path / "lv.nii.gz", 48, "LV")
    chance = np.asarray(nib.load(tmp_path / "lv.nii.gz").dataobj)
    assert 0 <= chance.min() < 0.01 and 0.99 < chance.max() <= 1
    assert ((chance > 0.5) == (labels == 3)).mean() > 0.999
    with pytest.raises(ConfigError, match="no part of the fit"):
        write_render(run, "a", tmp_path / "x.nii.gz", 48, "LA")
