"""Training loop: reports, reproducibility, resumption, memory limits and files."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from heartmend.errors import FitError, RunError
from heartmend.models.code_book import CodeBook
from heartmend.models.decoder import DecoderShape
from heartmend.training import loop
from heartmend.training.checkpoint import load_fit, load_shape_and_codes, save_fit, save_model
from heartmend.training.initialise import initialise_template
from heartmend.training.loop import Fit, Step
from heartmend.training.point_sampler import PointSampler
from heartmend.training.schedule import Phase
from support.hearts import HEADS, samples_of, small_hearts

CPU = torch.device("cpu")
PHASES = (
    Phase(steps=20, code_lr=0.01, shape_lr=0.1, side=12, controls=5, tolerance_mm=3.0),
    Phase(steps=30, code_lr=0.006, shape_lr=0.05, side=16, controls=7),
)


class Recorder:
    """Observer that records its calls, and calls a function when a checkpoint can be written."""

    def __init__(self, action: object = None) -> None:
        self.steps: list[Step] = []
        self.points: list[int] = []
        self.positions: list[tuple[int, int]] = []
        self._action = action

    def on_step(self, step: Step) -> None:
        self.steps.append(step)

    def on_checkpoint(self, fit: Fit) -> None:
        self.positions.append((fit.position.phase, fit.position.step))
        if callable(self._action):
            self._action(fit)

    def on_memory_halved(self, points: int) -> None:
        self.points.append(points)


def new_fit(kind: str = "template", **settings: object) -> Fit:
    cases = small_hearts()
    samples = [samples_of(case.case_id, case.cube, list(HEADS.values())) for case in cases]
    torch.manual_seed(0)
    if kind == "template":
        shape, codes = initialise_template(HEADS, samples, lambda _: (cases[0].cleaned, cases[0].roi), 12, 5)
        phases = PHASES
    else:
        shape = DecoderShape(tuple(HEADS), 8)
        codes = CodeBook([t.case_id for t in samples], shape.new_codes(3, 0))
        phases = tuple(replace(p, loss="dice_focal", shape_lr=1e-3, steps=3) for p in PHASES)
    return Fit(shape, codes, PointSampler(samples, CPU, 1), phases, **({"points": 400, "cases_per_step": 2} | settings))


def all_values(fit: Fit) -> dict[str, torch.Tensor]:
    return {**fit.shape.state_dict(), **{f"code {name}": code for name, code in fit.codes.values.items()}}


def equal(one: Fit, other: Fit) -> bool:
    a, b = all_values(one), all_values(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class KilledError(Exception):
    pass


def test_all_steps_are_run_and_reported() -> None:
    fit, recorder = new_fit(), Recorder()
    assert fit.total_steps == 50
    fit.run(recorder)
    assert fit.done
    assert [step.number for step in recorder.steps] == [10, 20, 30, 40, 50]
    assert [step.phase for step in recorder.steps] == [0, 0, 1, 1, 1]
    assert recorder.positions == [(0, 10), (1, 0), (1, 10), (1, 20), (2, 0)]
    assert recorder.steps[-1].loss < recorder.steps[0].loss
    assert recorder.steps[-1].dice.shape == (2,)
    assert fit.shape.settings()["side"] == 16


@pytest.mark.parametrize("kind", ["template", "decoder"])
def test_two_fits_of_one_seed_are_identical(kind: str) -> None:
    first, second = new_fit(kind), new_fit(kind)
    first.run(Recorder())
    torch.rand(5)
    second.run(Recorder())
    assert equal(first, second)
    other = new_fit(kind)
    other.sampler.seed = 2
    other.run(Recorder())
    assert not equal(first, other)


@pytest.mark.parametrize(
    ("kind", "stop_at"), [("template", 0), ("template", 1), ("template", 2), ("decoder", 0), ("decoder", 1)]
)
def test_a_resumed_fit_equals_an_uninterrupted_one(
    tmp_path: Path, kind: str, stop_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit by bit, within a phase and at the boundary between two."""
    if kind == "decoder":
        monkeypatch.setattr(loop, "REPORT_EVERY", 2)
    path = tmp_path / "last.safetensors"
    uninterrupted = new_fit(kind)
    uninterrupted.run(Recorder())

    def stop(fit: Fit) -> None:
        if len(recorder.positions) == stop_at + 1:
            save_fit(path, fit)
            raise KilledError

    recorder = Recorder(stop)
    killed = new_fit(kind)
    with pytest.raises(KilledError):
        killed.run(recorder)
    assert (recorder.positions[-1][1] == 0) is (stop_at == 1)
    again = new_fit(kind)
    load_fit(path, again)
    assert (again.position.phase, again.position.step) == recorder.positions[-1]
    rest = Recorder()
    again.run(rest)
    assert equal(again, uninterrupted)
    assert not set(rest.positions) & set(recorder.positions)


def test_a_finished_fit_runs_no_further_step(tmp_path: Path) -> None:
    fit = new_fit()
    fit.run(Recorder())
    save_fit(tmp_path / "last.safetensors", fit)
    again, recorder = new_fit(), Recorder()
    load_fit(tmp_path / "last.safetensors", again)
    again.run(recorder)
    assert recorder.steps == []
    assert equal(fit, again)


def test_a_nan_loss_raises_an_error_before_the_next_checkpoint() -> None:
    def poison(fit: Fit) -> None:
        if fit.position.step == 10 and fit.position.phase == 1:
            with torch.no_grad():
                fit.shape.table[:] = float("nan")

    recorder = Recorder(poison)
    with pytest.raises(FitError, match=r"the loss is nan at step 40 of 50; the last checkpoint is kept"):
        new_fit().run(recorder)
    assert recorder.positions[-1] == (1, 10)


def out_of_memory_above(fit: Fit, points: int, monkeypatch: pytest.MonkeyPatch) -> None:
    step = fit._step

    def limited_step(phase: Phase, number: int, reports: bool) -> object:
        if fit.position.points > points:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(phase, number, reports)

    monkeypatch.setattr(fit, "_step", limited_step)


def test_out_of_memory_halves_the_points_and_continues(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fit, recorder = new_fit(points=800), Recorder()
    out_of_memory_above(fit, 250, monkeypatch)
    fit.run(recorder)
    assert recorder.points == [400, 200]
    assert fit.done
    fewer = new_fit(points=200)
    fewer.run(Recorder())
    assert equal(fit, fewer)
    save_fit(tmp_path / "a.safetensors", fit)
    again = new_fit(points=800)
    load_fit(tmp_path / "a.safetensors", again)
    assert again.position.points == 200


def test_a_step_that_is_repeated_for_lack_of_memory_updates_each_code_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fit, recorder = new_fit(points=400), Recorder()
    assert fit.shape_optimiser is not None
    step, failed = fit.shape_optimiser.step, []

    def failing_step() -> object:
        if not failed:
            failed.append(True)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step()

    monkeypatch.setattr(fit.shape_optimiser, "step", failing_step)
    fit._step_within_memory(PHASES[0], 0, True, recorder)
    assert recorder.points == [200]
    assert fit.code_optimiser.draws.sum() == 2


def test_out_of_memory_at_the_smallest_step_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    fit, recorder = new_fit(points=400), Recorder()
    out_of_memory_above(fit, 10, monkeypatch)
    with pytest.raises(FitError, match="out of memory with 100 points"):
        fit.run(recorder)
    assert recorder.points == [200, 100]
    assert loop.MIN_POINTS > 50


def test_accumulated_gradients_are_of_different_points() -> None:
    """A step with two parts makes two draws."""
    fit = new_fit(gradient_accumulation=2)
    drawn = []
    draw = fit.sampler.draw
    fit.sampler.draw = lambda step, *rest: drawn.append(step) or draw(step, *rest)  # type: ignore[method-assign]
    fit.run(Recorder())
    assert drawn == list(range(100))


@pytest.mark.parametrize("kind", ["template", "decoder"])
def test_a_written_model_is_read_back(tmp_path: Path, kind: str) -> None:
    fit = new_fit(kind)
    save_model(tmp_path / "m.safetensors", fit.shape, fit.codes)
    shape, codes = load_shape_and_codes(tmp_path / "m.safetensors")
    assert codes.ids == fit.codes.ids
    points = torch.rand(1, 40, 3) * 2 - 1
    for id in reversed(codes.ids):
        assert torch.equal(shape(points, codes.of([id])), fit.shape(points, fit.codes.of([id])))


def test_a_damaged_file_raises_an_error(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    fit = new_fit()
    save_model(path, fit.shape, fit.codes)
    intact = path.read_bytes()
    for damaged in (intact[: len(intact) // 2], b"", b"\xff" * 100, intact[:8] + b"!" * 50 + intact[58:]):
        path.write_bytes(damaged)
        with pytest.raises(RunError, match=r"m\.safetensors: cannot be read as a checkpoint"):
            load_shape_and_codes(path)
        with pytest.raises(RunError, match=r"m\.safetensors: cannot be read as a checkpoint"):
            load_fit(path, fit)
    with pytest.raises(RunError, match="cannot be read"):
        load_shape_and_codes(tmp_path / "none.safetensors")


class Exploit:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("executed"),)


def test_a_pickle_is_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"shape": Exploit()}, tmp_path / "m.safetensors")
    with pytest.raises(RunError, match="cannot be read"):
        load_shape_and_codes(tmp_path / "m.safetensors")
    assert not (tmp_path / "executed").exists()


def test_checkpoints_and_models_are_not_confused(tmp_path: Path) -> None:
    fit = new_fit()
    save_fit(tmp_path / "fit.safetensors", fit)
    save_model(tmp_path / "model.safetensors", fit.shape, fit.codes)
    with pytest.raises(RunError, match="is not a model"):
        load_shape_and_codes(tmp_path / "fit.safetensors")
    with pytest.raises(RunError, match="is not the checkpoint"):
        load_fit(tmp_path / "model.safetensors", fit)


def test_a_checkpoint_of_other_cases_raises_an_error(tmp_path: Path) -> None:
    fit = new_fit()
    save_fit(tmp_path / "fit.safetensors", fit)
    fit.codes.ids = ("x", "y", "z")
    with pytest.raises(RunError, match="of other cases"):
        load_fit(tmp_path / "fit.safetensors", fit)


def test_a_checkpoint_of_another_layout_raises_an_error(tmp_path: Path) -> None:
    fit = new_fit()
    save_fit(tmp_path / "fit.safetensors", fit)
    fit.codes.replace({name: torch.cat([code, code], dim=-1) for name, code in fit.codes.values.items()})
    with pytest.raises(RunError, match=r"fit\.safetensors: was written by another version of Heartmend .* delete it"):
        load_fit(tmp_path / "fit.safetensors", fit)
