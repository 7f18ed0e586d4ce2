"""Tests of the stage refine."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from heartmend.anatomy.load import load_anatomy
from heartmend.geometry.distance import DistanceMap
from heartmend.models.code_book import CodeBook
from heartmend.models.lattice import evaluate_case
from heartmend.models.template import TemplateShape
from heartmend.run_folder.folder import RunFolder
from heartmend.run_folder.paths import FIT
from heartmend.run_folder.records import PreparedCase
from heartmend.stages.contract import Outcome, RunPlan
from heartmend.stages.refine import RefineSettings, is_mirrored, is_turned, refine, refine_case
from heartmend.training.initialise import initialise_template
from support.hearts import HEADS, on_roi, prepared, samples_of, small_heart
from support.stages import named_cases, no_error, run_stage, store

ANATOMY = load_anatomy("heart")
Model = tuple[TemplateShape, CodeBook]


@pytest.fixture(scope="module")
def model() -> Model:
    """A template that is the one heart."""
    heart = small_heart(1)
    return initialise_template(HEADS, [samples_of("a", heart, [3, 5])], lambda _: on_roi(heart), side=32, controls=6)


def case_of(labels: np.ndarray) -> PreparedCase:
    return prepared("a", labels)


def test_the_shape_is_evaluated_at_the_voxels_of_the_native_grid(model: Model) -> None:
    shape, codes = model
    case = case_of(small_heart(1))
    distances = evaluate_case(shape, codes, "a", case.roi)
    points = torch.from_numpy(case.roi.box_index_to_unit(np.argwhere(case.cleaned >= 0)).astype(np.float32))[None]
    with torch.no_grad():
        dense = shape(points, codes.of(["a"]))[0].T.reshape(2, *case.cleaned.shape).numpy()
    for found, expected in zip(distances.values(), dense, strict=True):
        assert ((found > 0) == (expected > 0)).all()
    assert evaluate_case(shape, codes, "a", case.roi, resolution=20)["LV"].shape == (20, 20, 20)


def test_surface_noise_is_removed_and_an_absent_structure_stays_absent(model: Model) -> None:
    labels = small_heart(1)
    labels[labels == 5] = 0
    noisy = labels.copy()
    noise = gaussian_filter(np.random.default_rng(0).standard_normal(labels.shape), 1.2)
    surface = evaluate_case(*model, "a", case_of(labels).roi)["LV"]
    noisy[:] = np.where(surface + 1.5 * noise / noise.std() > 0, 3, 0)
    found = refine_case(model, case_of(noisy), ANATOMY, HEADS, RefineSettings())
    maps, margins = found.maps, found.margins
    assert not maps["RV"].inside.any()
    assert "RV" not in margins
    wrong = [int((mask != (labels == 3)).sum()) for mask in (noisy == 3, maps["LV"].inside)]
    assert wrong[1] < 0.25 * wrong[0]


def test_without_label_weight_the_shape_alone_decides(model: Model) -> None:
    case = case_of(small_heart(1))
    found = refine_case(model, case, ANATOMY, HEADS, RefineSettings(label_weight=0))
    maps, margins = found.maps, found.margins
    assert margins == {}
    expected = DistanceMap.of_mm(evaluate_case(*model, "a", case.roi)["LV"], keep_inside=True)
    near = np.abs(expected.mm) < 6
    assert near.any() and np.array_equal(maps["LV"].steps[near], expected.steps[near])
    assert np.array_equal(maps["LV"].inside, expected.inside)


def test_in_a_confused_label_map_the_shape_replaces_what_is_called_by_another_name(model: Model) -> None:
    truth = small_heart(1)
    confused = truth.copy()
    z = np.indices(truth.shape)[2]
    for id, other in ((3, 5), (5, 3)):
        confused[(truth == id) & (z > np.median(z[truth == id]))] = other
    found = refine_case(model, case_of(confused), ANATOMY, HEADS, RefineSettings(), is_confused=True)
    shapes = evaluate_case(*model, "a", case_of(confused).roi)
    for name in HEADS:
        assert np.array_equal(found.maps[name].inside, shapes[name] > 0)
    assert {(one.rule, one.structure, one.action) for one in found.changes} == {
        ("confused_labels", "LV", "replaced"), ("confused_labels", "RV", "replaced"),
    }  # fmt: skip
    # A label map that agrees with the shape is refined as any other.
    usual = refine_case(model, case_of(truth), ANATOMY, HEADS, RefineSettings())
    again = refine_case(model, case_of(truth), ANATOMY, HEADS, RefineSettings(), is_confused=True)
    assert not again.changes and again.margins == usual.margins
    assert all(np.array_equal(again.maps[name].steps, usual.maps[name].steps) for name in HEADS)


@pytest.mark.parametrize(
    ("signs", "mirrored", "turned"),
    [((1, 1, 1), False, False), ((-1, 1, 1), True, False), ((-1, -1, 1), False, True), ((-1, -1, -1), True, False)],
)
def test_a_pose_with_reversed_axes_is_mirrored_or_turned(
    signs: tuple[int, int, int], mirrored: bool, turned: bool
) -> None:
    code = {"affine": torch.cat([torch.diag(torch.tensor(signs).float()), torch.zeros(3, 1)], dim=1)[None]}
    assert (is_mirrored(code), is_turned(code)) == (mirrored, turned)
    assert not is_mirrored({}) and not is_turned({})


@pytest.fixture
def run(tmp_path: Path, model: Model) -> Iterator[RunFolder]:
    """A run with a fitted shape and its one case prepared."""
    (tmp_path / "labels").mkdir()
    with RunFolder.open(tmp_path / "out", tmp_path / "labels") as run:
        store(run, case_of(small_heart(1)))
        run.finish(FIT, None, "", run.write_fitted(*model))
        yield run


def refined(run: RunFolder, ids: str = "a", label_weight: float = 0.5) -> list[Outcome]:
    return run_stage(refine, run, RefineSettings(label_weight=label_weight), named_cases(ids), RunPlan(shaped=HEADS))


def test_each_case_is_refined_once_and_its_margins_are_recorded(run: RunFolder) -> None:
    assert no_error(refined(run))
    assert set(run.distances("a")) == {"LV", "RV"} == set(run.label_margins_mm("a"))
    (path,) = run.output.rglob("refine/a.npz")
    written = path.stat().st_mtime_ns
    assert no_error(refined(run))
    assert path.stat().st_mtime_ns == written
    refined(run, label_weight=1)
    assert path.stat().st_mtime_ns > written


@pytest.mark.parametrize("damage", [lambda p: p.unlink(), lambda p: p.write_bytes(p.read_bytes()[:-1] + b"x")])
def test_a_missing_or_changed_file_is_made_again(run: RunFolder, damage: object) -> None:
    refined(run)
    (path,) = run.output.rglob("refine/a.npz")
    before = path.read_bytes()
    damage(path)  # type: ignore[operator]
    refined(run)
    assert path.read_bytes() == before


def test_another_fit_or_another_prepared_case_is_refined_again(run: RunFolder) -> None:
    refined(run)
    (path,) = run.output.rglob("refine/a.npz")
    before = path.read_bytes()
    store(run, case_of(small_heart(2)))
    refined(run)
    assert path.read_bytes() != before


def test_an_error_in_one_case_does_not_stop_the_others(run: RunFolder) -> None:
    store(run, prepared("b", small_heart(2)))
    errors = {outcome.case.id: outcome.error for outcome in refined(run, "ab") if outcome.case is not None}
    assert errors["a"] is None
    assert "b" in str(errors["b"]) and errors["b"] is not None


def test_without_a_refined_structure_nothing_is_written(run: RunFolder) -> None:
    assert no_error(run_stage(refine, run, RefineSettings(), named_cases("a"), RunPlan()))
    assert run.distances("a") == {}
