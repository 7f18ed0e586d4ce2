"""The fit of a run folder: it mends, its two Dices agree, and it is done once."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from heartmend.errors import ConfigError, FitError
from heartmend.models.template import TemplateShape
from heartmend.pipelines.config import load_config
from heartmend.run_folder.folder import Run
from heartmend.stages.fit import FitSettings, fit, whole_volume_dice_of
from heartmend.training.checkpoint import load_model
from heartmend.training.loop import Step
from heartmend.training.schedule import Phase
from support.hearts import HEADS, prepared, small_heart, small_hearts

PHASES = (
    Phase(steps=20, code_lr=0.01, shape_lr=0.1, side=16, controls=5, tolerance_mm=3.0),
    Phase(steps=40, code_lr=0.006, shape_lr=0.05, side=32, controls=8),
)
SETTINGS = FitSettings(phases=PHASES, points=1500, checkpoint_seconds=0)


IDS = ["001", "002", "003"]


def prepare_small(run: Run) -> None:
    for case in small_hearts():
        case.save(run)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    (tmp_path / "labels").mkdir()
    with Run.open(tmp_path / "out", tmp_path / "labels") as run:
        prepare_small(run)
        yield run


class KilledError(Exception):
    pass


def test_a_tiny_fit_reaches_a_dice_and_tells_the_truth_about_it(run: Run) -> None:
    told = []
    model = fit(run, IDS, HEADS, SETTINGS, progress=lambda step, whole: told.append((step, whole)))
    shape, codes = load_model(model)
    found = {case.case_id: whole_volume_dice_of(shape, codes, case, HEADS) for case in small_hearts()}
    assert min(min(row) for row in found.values()) > 0.93
    mean = sum(sum(row) for row in found.values()) / 6
    assert mean > 0.95
    assert abs(float(told[-1][0].dice.mean()) - mean) < 0.03
    written = json.loads((model.parent / "validation.json").read_text())
    assert written["002"] == pytest.approx(dict(zip(HEADS, found["002"], strict=True)))
    rows = list(csv.DictReader((model.parent / "log.csv").open()))
    assert [int(row["step"]) for row in rows] == [10, 20, 30, 40, 50, 60]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert {"training_dice", "whole_volume_dice", "peak_memory_mb", "dice_LV", "dice_RV"} <= set(rows[0])
    assert abs(float(rows[-1]["whole_volume_dice"]) - float(rows[-1]["training_dice"])) < 0.15
    assert (model.parent / "best.safetensors").is_file()
    assert list((model.parent / "tensorboard").iterdir())


def test_what_is_done_is_done_until_something_changes(run: Run) -> None:
    settings = SETTINGS.model_copy(update={"phases": (replace(PHASES[0], steps=10),), "points": 200})
    steps: list[Step] = []

    def go(settings: FitSettings, **other: object) -> int:
        steps.clear()
        fit(run, other.pop("ids", IDS), HEADS, settings, progress=lambda step, _: steps.append(step), **other)
        return len(steps)

    assert go(settings) == 1
    assert go(settings) == 0
    assert go(settings, ids=IDS[::-1]) == 0
    assert go(settings.model_copy(update={"checkpoint_seconds": 99.0})) == 0
    assert go(settings, seed=1) == 1
    assert go(settings.model_copy(update={"points": 300}), seed=1) == 1
    changed = small_heart(1)
    changed[0, 0, 0] = 3
    prepared("001", changed).save(run)
    assert go(settings.model_copy(update={"points": 300}), seed=1) == 1


@pytest.mark.parametrize("at", [10, 20, 30])
def test_a_fit_that_was_cut_off_ends_as_the_undisturbed_one(tmp_path: Path, at: int) -> None:
    (tmp_path / "labels").mkdir()
    settings = SETTINGS.model_copy(update={"points": 200})

    def go(out: str, stop: int | None) -> list[int]:
        steps: list[int] = []

        def tell(step: Step, _: float | None) -> None:
            steps.append(step.number)
            if step.number == stop:
                raise KilledError

        with Run.open(tmp_path / out, tmp_path / "labels") as run:
            prepare_small(run)
            fit(run, IDS, HEADS, settings, progress=tell)
        return steps

    go("whole", None)
    with pytest.raises(KilledError):
        go("cut", at)
    resumed = go("cut", None)
    # The step at which it was stopped had not come to its checkpoint.
    assert resumed == list(range(at, 61, 10))
    files = [tmp_path / out / "run" / "fit" / "model.safetensors" for out in ("whole", "cut")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_loss_that_is_no_number_ends_the_fit_and_keeps_the_checkpoint(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    forward = TemplateShape.forward

    def failing(self: TemplateShape, points: torch.Tensor, codes: dict[str, torch.Tensor]) -> torch.Tensor:
        calls.append(1)
        logits = forward(self, points, codes)
        return logits * float("nan") if len(calls) > 25 else logits

    monkeypatch.setattr(TemplateShape, "forward", failing)
    with pytest.raises(FitError, match="the loss is nan"):
        fit(run, IDS, HEADS, SETTINGS.model_copy(update={"points": 200}))
    kept = run.folder("fit") / "last.safetensors"
    assert kept.is_file()
    assert not (run.folder("fit") / "model.safetensors").exists()
    monkeypatch.undo()
    steps: list[Step] = []
    fit(run, IDS, HEADS, SETTINGS.model_copy(update={"points": 200}), progress=lambda step, _: steps.append(step))
    assert steps[0].number == 30
    assert not kept.exists()


def test_nothing_to_fit_is_told(run: Run) -> None:
    with pytest.raises(ConfigError, match="nothing to fit"):
        fit(run, [], HEADS, SETTINGS)
    with pytest.raises(ConfigError, match="nothing to fit"):
        fit(run, IDS, {}, SETTINGS)
    with pytest.raises(FitError, match="no case shows a whole structure"):
        fit(run, IDS, {"LAA": 8}, SETTINGS)
    bare = FitSettings(phases=(Phase(steps=5, code_lr=0.01, shape_lr=0.1),))
    with pytest.raises(ConfigError, match="give side and controls"):
        fit(run, IDS, HEADS, bare)


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
