"""Tests of the stage fit."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from heartmend.errors import ConfigError, FitError
from heartmend.models.base import Shape
from heartmend.models.code_book import CodeBook
from heartmend.models.lattice import evaluate_case
from heartmend.models.template import TemplateShape
from heartmend.pipelines.config import load_config
from heartmend.run_folder.folder import RunFolder
from heartmend.run_folder.paths import FIT
from heartmend.run_folder.records import PreparedCase
from heartmend.stages.contract import DONE_BEFORE, RunPlan
from heartmend.stages.fit.stage import FitSettings, fit
from heartmend.training.schedule import Phase
from heartmend.types import UNKNOWN
from support.hearts import HEADS, prepared, small_heart, small_hearts
from support.stages import named_cases, no_error, run_stage, store

PHASES = (
    Phase(steps=20, code_lr=0.01, shape_lr=0.1, side=16, controls=5, tolerance_mm=3.0),
    Phase(steps=40, code_lr=0.006, shape_lr=0.05, side=32, controls=8),
)
SETTINGS = FitSettings(phases=PHASES, points=1500, checkpoint_seconds=0)
FEW_POINTS = SETTINGS.model_copy(update={"points": 200})
IDS = ("001", "002", "003")


def fit_small(
    run: RunFolder, settings: FitSettings = SETTINGS, ids: Sequence[str] = IDS, heads: dict[str, int] = HEADS,
    seed: int = 0, stop_at: int | None = None,
) -> list[int]:  # fmt: skip
    """Fit small hearts; returns the steps that were reported."""
    steps = []

    def report(task: str, done: int, total: int, note: str) -> None:
        if task == FIT and done and note != DONE_BEFORE:
            steps.append(done)
        if task == FIT and done and done == stop_at:
            raise InterruptedFitError

    assert no_error(run_stage(fit, run, settings, named_cases(ids), RunPlan(shaped=heads, seed=seed), report))
    return steps


def exact_dices(shape: Shape, codes: CodeBook, case: PreparedCase) -> list[float]:
    """Dice of each head over all cells of the unit frame."""
    logits = evaluate_case(shape, codes, case.case_id, case.roi, len(case.cube))
    known = case.cube != UNKNOWN
    return [
        float(
            2
            * ((logits[name] > 0) & (case.cube == id)).sum()
            / (((logits[name] > 0) & known).sum() + (case.cube == id).sum())
        )
        for name, id in HEADS.items()
    ]


class InterruptedFitError(Exception):
    pass


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    (tmp_path / "labels").mkdir()
    with RunFolder.open(tmp_path / "out", tmp_path / "labels") as run:
        store(run, *small_hearts())
        yield run


def test_a_small_fit_reaches_a_dice_and_its_log_agrees_with_it(run: RunFolder) -> None:
    fit_small(run)
    shape, codes = run.fitted()
    found = {case.case_id: exact_dices(shape, codes, case) for case in small_hearts()}
    assert min(min(row) for row in found.values()) > 0.93
    mean = sum(sum(row) for row in found.values()) / 6
    assert mean > 0.95
    assert run.validation("fit")["002"] == pytest.approx(dict(zip(HEADS, found["002"], strict=True)), abs=0.01)
    rows = run.training_log()
    assert rows is not None
    assert [int(row["step"]) for row in rows] == [10, 20, 30, 40, 50, 60]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert {"training_dice", "whole_volume_dice", "peak_memory_mb", "dice_LV", "dice_RV"} <= set(rows[0])
    assert abs(float(rows[-1]["training_dice"]) - mean) < 0.03
    assert abs(float(rows[-1]["whole_volume_dice"]) - float(rows[-1]["training_dice"])) < 0.15
    files = run.training_files("fit")
    assert files.best_model.is_file() and list(files.tensorboard.iterdir())


def test_a_fit_is_not_repeated_until_something_changes(run: RunFolder) -> None:
    settings = FEW_POINTS.model_copy(update={"phases": (replace(PHASES[0], steps=10),)})
    more_points = settings.model_copy(update={"points": 300})
    assert fit_small(run, settings) == [10]
    assert fit_small(run, settings) == []
    assert fit_small(run, settings, ids=IDS[::-1]) == []
    assert fit_small(run, settings.model_copy(update={"checkpoint_seconds": 99.0})) == []
    assert fit_small(run, settings, seed=1) == [10]
    assert fit_small(run, more_points, seed=1) == [10]
    changed = small_heart(1)
    changed[0, 0, 0] = 3
    store(run, prepared("001", changed))
    assert fit_small(run, more_points, seed=1) == [10]


@pytest.mark.parametrize("at", [10, 20, 30])
def test_an_interrupted_fit_ends_with_the_bytes_of_an_uninterrupted_one(tmp_path: Path, at: int) -> None:
    (tmp_path / "labels").mkdir()

    def fit_in(out: str, stop_at: int | None = None) -> tuple[list[int], bytes]:
        with RunFolder.open(tmp_path / out, tmp_path / "labels") as run:
            store(run, *small_hearts())
            steps = fit_small(run, FEW_POINTS, stop_at=stop_at)
            return steps, run.fitted_path().read_bytes()

    _, expected = fit_in("uninterrupted")
    with pytest.raises(InterruptedFitError):
        fit_in("interrupted", at)
    resumed, found = fit_in("interrupted")
    # The step at which it was stopped had not reached its checkpoint.
    assert resumed == list(range(at, 61, 10))
    assert found == expected


def test_a_nan_loss_ends_the_fit_and_keeps_the_checkpoint(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    forward = TemplateShape.forward

    def failing(self: TemplateShape, points: torch.Tensor, codes: dict[str, torch.Tensor]) -> torch.Tensor:
        calls.append(1)
        logits = forward(self, points, codes)
        return logits * float("nan") if len(calls) > 25 else logits

    monkeypatch.setattr(TemplateShape, "forward", failing)
    with pytest.raises(FitError, match="the loss is nan"):
        fit_small(run, FEW_POINTS)
    checkpoint = run.training_files("fit").checkpoint
    assert checkpoint.is_file()
    assert not run.has_fitted()
    monkeypatch.undo()
    assert fit_small(run, FEW_POINTS)[0] == 30
    assert not checkpoint.exists()


def test_a_fit_of_nothing_is_an_error(run: RunFolder) -> None:
    with pytest.raises(ConfigError, match="nothing to fit"):
        fit_small(run, ids=())
    with pytest.raises(FitError, match="no case shows a whole structure"):
        fit_small(run, heads={"LAA": 8})
    bare = SETTINGS.model_copy(update={"phases": (Phase(steps=5, code_lr=0.01, shape_lr=0.1),)})
    with pytest.raises(ConfigError, match="give side and controls"):
        fit_small(run, bare)


def test_without_a_structure_of_the_shape_no_shape_is_fitted(run: RunFolder) -> None:
    assert fit_small(run, heads={}) == []
    assert not run.has_fitted()


def test_epochs_are_passes_over_all_cases() -> None:
    phases = (replace(PHASES[0], steps=1), replace(PHASES[1], steps=3))
    settings = FitSettings(phases=phases, epochs=300, cases_per_step=1, gradient_accumulation=4)
    assert [p.steps for p in settings.phases_for(20)] == [375, 1125]


def test_a_large_cohort_is_drawn_as_often_as_a_small_one() -> None:
    """The default's 780 steps of 32 cases draw each of 20 cases 780 times, and each of 998 only 25 times."""
    settings = FitSettings()
    assert settings.phases_for(20) == settings.phases
    steps = sum(phase.steps for phase in settings.phases_for(998))
    assert steps * 32 / 998 == pytest.approx(settings.min_epochs, rel=0.01)
    assert FitSettings(min_epochs=0).phases_for(998) == settings.phases
    few = load_config("fast").fit
    assert few.phases_for(20) == few.phases, "a preset of fewer steps stays as fast as it is"
