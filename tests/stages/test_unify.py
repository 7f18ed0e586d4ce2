"""Tests of the stage unify."""

from collections.abc import Iterator

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.errors import ConfigError
from heartmend.io.dataset import Cohort, discover_cohort
from heartmend.io.label_maps import read_labels
from heartmend.models.heart_model import evaluate_labels
from heartmend.repair.change_log import ChangeLog
from heartmend.run_folder.folder import RunFolder
from heartmend.stages.contract import DONE_BEFORE, RunPlan
from heartmend.stages.unify import UnifySettings, unify
from heartmend.training.schedule import Phase
from support.hearts import on_roi, prepared, small_heart
from support.stages import no_error, run_stage, store
from support.volumes import save_nifti

COARSE = (
    Phase(steps=30, code_lr=0.01, shape_lr=0.1, side=16, controls=5, tolerance_mm=3.0),
    Phase(steps=30, code_lr=0.006, shape_lr=0.05, side=24, controls=6),
)
SMALL = UnifySettings(
    template_phases=(Phase(steps=30, code_lr=0.006, shape_lr=0.05, side=32, controls=6),),
    phases=(Phase(steps=150, code_lr=0.06, shape_lr=0.005, loss="joint", tolerance_mm=1.0, regularisation=1e-4),),
    points=500, positives=150, resolution=32, side=10, channels=6, width=24, checkpoint_seconds=0,
)  # fmt: skip


def with_vessel(seed: int) -> np.ndarray:
    """LV and RV, and a vessel of 2 x 2 voxels (4 mm) on its own way in each heart; the third heart has none."""
    labels = small_heart(seed)
    if seed != 3:
        across = 24 + seed
        labels[4:28, across : across + 2, 15:17] = 9
    return labels


Fused = tuple[RunFolder, Cohort]


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fused]:
    """A run with three prepared and fused hearts, and no fit."""
    folder = tmp_path_factory.mktemp("unify")
    for seed in (1, 2, 3):
        _, roi = on_roi(with_vessel(seed))
        save_nifti(folder / "labels" / f"{seed}.nii.gz", with_vessel(seed), affine=roi.grid.affine)
    cohort = discover_cohort(folder / "labels", anatomy=load_anatomy("heart"))
    with RunFolder.open(folder / "out", folder / "labels") as run:
        for case in cohort:
            labels = with_vessel(int(case.id))
            store(run, prepared(case.id, labels))
            run.write_fused(cohort, case, labels, ChangeLog(case.id))
        yield run, cohort


class InterruptedFitError(Exception):
    pass


def unified(fused: Fused, settings: UnifySettings = SMALL, stop_at: int | None = None) -> list[tuple[int, int]]:
    """Unify; returns the steps that were reported, and of how many."""
    steps = []

    def report(task: str, done: int, total: int, note: str) -> None:
        if done and note != DONE_BEFORE:
            steps.append((done, total))
        if done and done == stop_at:
            raise InterruptedFitError

    run, cohort = fused
    assert no_error(run_stage(unify, run, settings, cohort, RunPlan(coarse_phases=lambda cases: COARSE), report))
    return steps


def test_the_model_contains_every_heart_with_its_thin_vessel(fused: Fused) -> None:
    unified(fused)
    run, cohort = fused
    model, validation = run.model(), run.validation("unify")
    assert model.codes.ids == ("1", "2", "3")
    for case in cohort:
        truth = read_labels(case.labels_path, model.anatomy)
        found = evaluate_labels(model, model.heart(case.id), truth.grid)
        for id, least in ((3, 0.9), (5, 0.9), (9, 0.65)):
            a, b = found == id, truth.labels == id
            dice = 2 * (a & b).sum() / max(a.sum() + b.sum(), 1) if b.any() else 1.0 - a.any()
            assert dice >= least, (case.id, id)
            assert validation[case.id][model.anatomy.by_id(id).name] == pytest.approx(dice, abs=0.02)
    assert "Coronary" in model.absent["3"] and "Coronary" not in model.absent["1"]
    assert "\n---\n# Model card" in (run.model_path().parent / "MODEL_CARD.md").read_text()
    assert not list(run.model_path().parent.glob("*.safetensors"))


def test_an_interrupted_fit_ends_with_the_bytes_of_an_uninterrupted_one(fused: Fused) -> None:
    unified(fused)
    assert unified(fused) == []
    run, _ = fused
    before, other = run.model_path().read_bytes(), SMALL.model_copy(update={"points": 501})
    with pytest.raises(InterruptedFitError):
        unified(fused, other, stop_at=160)
    resumed = unified(fused, other)
    assert resumed[0][0] > 150 and resumed[0][1] == 240
    interrupted = run.model_path().read_bytes()
    run.forget("unify")
    unified(fused, other)
    assert run.model_path().read_bytes() == interrupted != before


def test_without_cases_there_is_nothing_to_unify(fused: Fused) -> None:
    with pytest.raises(ConfigError, match="nothing to unify"):
        run_stage(unify, fused[0], SMALL, [], RunPlan(coarse_phases=lambda cases: COARSE))


def test_both_lists_of_phases_are_long_enough_for_a_large_cohort() -> None:
    """3,000 and 160 steps of 32 cases draw each of 64 cases 1,500 and 80 times; of 640 cases 150 and 8 times."""

    def steps(cases: int, **settings: int) -> tuple[int, int]:
        found = UnifySettings(**settings).for_cases(cases)
        return found.phases[0].steps, found.template_phases[0].steps

    assert steps(20) == (3000, 160)
    assert steps(64) == (3000, 320), "the template's 160 steps draw each case 160 times in a small cohort"
    assert steps(640) == (800 * 640 // 32, 160 * 640 // 32)
    assert steps(640, min_epochs=0) == (3000, 160)
    assert steps(640, epochs=300) == (6000, 320), "what is asked exactly is divided as the steps are"
