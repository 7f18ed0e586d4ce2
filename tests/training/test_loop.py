"""The fitting loop: it reaches a Dice, tells the truth about it, and goes on after a stop as if there had been none."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from heartmend.errors import FitError, RunError
from heartmend.models.code_book import CodeBook
from heartmend.models.decoder import DecoderShape
from heartmend.training import loop
from heartmend.training.checkpoint import load_fit, load_model, save_fit, save_model
from heartmend.training.initialise import initialise_template
from heartmend.training.loop import Fit, Step
from heartmend.training.point_sampler import PointSampler
from heartmend.training.schedule import Phase
from support.hearts import HEADS, small_hearts, target_of

CPU = torch.device("cpu")
PHASES = (
    Phase(steps=20, code_lr=0.01, shape_lr=0.1, side=12, controls=5, tolerance_mm=3.0),
    Phase(steps=30, code_lr=0.006, shape_lr=0.05, side=16, controls=7),
)


class Looker:
    """Looks on; keeps what it was told, and does what it is asked to at every moment good for a checkpoint."""

    def __init__(self, at_rest: object = None) -> None:
        self.steps: list[Step] = []
        self.halvings: list[int] = []
        self.rests: list[tuple[int, int]] = []
        self._at_rest = at_rest

    def stepped(self, step: Step) -> None:
        self.steps.append(step)

    def reached(self, fit: Fit) -> None:
        self.rests.append((fit.position.phase, fit.position.step))
        if callable(self._at_rest):
            self._at_rest(fit)

    def halved(self, points: int) -> None:
        self.halvings.append(points)


def new_fit(kind: str = "template", **settings: object) -> Fit:
    cases = small_hearts()
    targets = [target_of(case.case_id, case.labels, list(HEADS.values())) for case in cases]
    torch.manual_seed(0)
    if kind == "template":
        shape, codes = initialise_template(HEADS, targets, lambda _: (cases[0].source, cases[0].roi), 12, 5)
        phases = PHASES
    else:
        shape = DecoderShape(tuple(HEADS), 8)
        codes = CodeBook([t.case_id for t in targets], shape.new_codes(3, 0))
        phases = tuple(replace(p, loss="dice_focal", shape_lr=1e-3, steps=3) for p in PHASES)
    return Fit(shape, codes, PointSampler(targets, CPU, 1), phases, **({"points": 400, "cases_per_step": 2} | settings))


def state(fit: Fit) -> dict[str, torch.Tensor]:
    return {**fit.shape.state_dict(), **{f"code {name}": code for name, code in fit.codes.values.items()}}


def same(one: Fit, other: Fit) -> bool:
    a, b = state(one), state(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class KilledError(Exception):
    pass


def test_it_goes_through_every_step_and_tells() -> None:
    fit, looker = new_fit(), Looker()
    assert fit.total == 50
    fit.run(looker)
    assert fit.done
    assert [step.number for step in looker.steps] == [10, 20, 30, 40, 50]
    assert [step.phase for step in looker.steps] == [0, 0, 1, 1, 1]
    assert looker.rests == [(0, 10), (1, 0), (1, 10), (1, 20), (2, 0)]
    assert looker.steps[-1].loss < looker.steps[0].loss
    assert looker.steps[-1].dice.shape == (2,)
    assert fit.shape.settings()["side"] == 16


@pytest.mark.parametrize("kind", ["template", "decoder"])
def test_two_fits_are_one(kind: str) -> None:
    first, second = new_fit(kind), new_fit(kind)
    first.run(Looker())
    torch.rand(5)
    second.run(Looker())
    assert same(first, second)
    other = new_fit(kind)
    other.sampler.seed = 2
    other.run(Looker())
    assert not same(first, other)


@pytest.mark.parametrize(
    ("kind", "rest"), [("template", 0), ("template", 1), ("template", 2), ("decoder", 0), ("decoder", 1)]
)
def test_a_stopped_fit_goes_on_as_if_nothing_had_been(
    tmp_path: Path, kind: str, rest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a phase and at the boundary between two, to the last bit."""
    if kind == "decoder":
        monkeypatch.setattr(loop, "CHECK_EVERY", 2)
    path = tmp_path / "last.safetensors"
    undisturbed = new_fit(kind)
    undisturbed.run(Looker())

    def stop(fit: Fit) -> None:
        if len(looker.rests) == rest + 1:
            save_fit(path, fit)
            raise KilledError

    looker = Looker(stop)
    killed = new_fit(kind)
    with pytest.raises(KilledError):
        killed.run(looker)
    assert (looker.rests[-1][1] == 0) is (rest == 1)
    again = new_fit(kind)
    load_fit(path, again)
    assert (again.position.phase, again.position.step) == looker.rests[-1]
    rests = Looker()
    again.run(rests)
    assert same(again, undisturbed)
    assert not set(rests.rests) & set(looker.rests)


def test_a_finished_fit_stays_finished(tmp_path: Path) -> None:
    fit = new_fit()
    fit.run(Looker())
    save_fit(tmp_path / "last.safetensors", fit)
    again, looker = new_fit(), Looker()
    load_fit(tmp_path / "last.safetensors", again)
    again.run(looker)
    assert looker.steps == []
    assert same(fit, again)


def test_a_loss_that_is_no_number_stops_before_the_next_checkpoint() -> None:
    def poison(fit: Fit) -> None:
        if fit.position.step == 10 and fit.position.phase == 1:
            with torch.no_grad():
                fit.shape.table[:] = float("nan")

    looker = Looker(poison)
    with pytest.raises(FitError, match=r"the loss is nan at step 40 of 50; the checkpoint before it is kept"):
        new_fit().run(looker)
    assert looker.rests[-1] == (1, 10)


def out_of_memory_above(fit: Fit, points: int, monkeypatch: pytest.MonkeyPatch) -> None:
    step = fit._step

    def tight(phase: Phase, number: int, tells: bool) -> object:
        if fit.position.points > points:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(phase, number, tells)

    monkeypatch.setattr(fit, "_step", tight)


def test_out_of_memory_halves_the_points_and_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fit, looker = new_fit(points=800), Looker()
    out_of_memory_above(fit, 250, monkeypatch)
    fit.run(looker)
    assert looker.halvings == [400, 200]
    assert fit.done
    fewer = new_fit(points=200)
    fewer.run(Looker())
    assert same(fit, fewer)
    save_fit(tmp_path / "a.safetensors", fit)
    again = new_fit(points=800)
    load_fit(tmp_path / "a.safetensors", again)
    assert again.position.points == 200


def test_a_step_that_memory_cuts_off_at_its_end_moves_no_code_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    fit, looker = new_fit(points=400), Looker()
    assert fit.weights is not None
    step, failed = fit.weights.step, []

    def tight() -> object:
        if not failed:
            failed.append(True)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step()

    monkeypatch.setattr(fit.weights, "step", tight)
    fit._step_that_fits(PHASES[0], 0, True, looker)
    assert looker.halvings == [200]
    assert fit.moves.draws.sum() == 2


def test_out_of_memory_at_the_smallest_step_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    fit, looker = new_fit(points=400), Looker()
    out_of_memory_above(fit, 10, monkeypatch)
    with pytest.raises(FitError, match="out of memory with 100 points"):
        fit.run(looker)
    assert looker.halvings == [200, 100]
    assert loop.FEWEST_POINTS > 50


def test_accumulated_parts_are_other_points() -> None:
    """Two parts of a step are two draws; one part a step is another fit."""
    fit = new_fit(gradient_accumulation=2)
    drawn = []
    draw = fit.sampler.draw
    fit.sampler.draw = lambda step, *rest: drawn.append(step) or draw(step, *rest)  # type: ignore[method-assign]
    fit.run(Looker())
    assert drawn == list(range(100))


@pytest.mark.parametrize("kind", ["template", "decoder"])
def test_a_model_is_read_back_as_it_was(tmp_path: Path, kind: str) -> None:
    fit = new_fit(kind)
    save_model(tmp_path / "m.safetensors", fit.shape, fit.codes)
    shape, codes = load_model(tmp_path / "m.safetensors")
    assert codes.ids == fit.codes.ids
    points = torch.rand(1, 40, 3) * 2 - 1
    for id in reversed(codes.ids):
        assert torch.equal(shape(points, codes.of([id])), fit.shape(points, fit.codes.of([id])))


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    fit = new_fit()
    save_model(path, fit.shape, fit.codes)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"\xff" * 100, whole[:8] + b"!" * 50 + whole[58:]):
        path.write_bytes(damaged)
        with pytest.raises(RunError, match=r"m\.safetensors: cannot be read as a checkpoint"):
            load_model(path)
        with pytest.raises(RunError, match=r"m\.safetensors: cannot be read as a checkpoint"):
            load_fit(path, fit)
    with pytest.raises(RunError, match="cannot be read"):
        load_model(tmp_path / "none.safetensors")


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("trapped"),)


def test_a_pickle_is_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"shape": Trap()}, tmp_path / "m.safetensors")
    with pytest.raises(RunError, match="cannot be read"):
        load_model(tmp_path / "m.safetensors")
    assert not (tmp_path / "trapped").exists()


def test_a_checkpoint_is_no_model_and_a_model_no_checkpoint(tmp_path: Path) -> None:
    fit = new_fit()
    save_fit(tmp_path / "fit.safetensors", fit)
    save_model(tmp_path / "model.safetensors", fit.shape, fit.codes)
    with pytest.raises(RunError, match="is no model"):
        load_model(tmp_path / "fit.safetensors")
    with pytest.raises(RunError, match="is no checkpoint"):
        load_fit(tmp_path / "model.safetensors", fit)


def test_a_checkpoint_of_other_cases_is_refused(tmp_path: Path) -> None:
    fit = new_fit()
    save_fit(tmp_path / "fit.safetensors", fit)
    fit.codes.ids = ("x", "y", "z")
    with pytest.raises(RunError, match="of other cases"):
        load_fit(tmp_path / "fit.safetensors", fit)


def test_a_checkpoint_of_another_layout_is_told(tmp_path: Path) -> None:
    fit = new_fit()
    save_fit(tmp_path / "fit.safetensors", fit)
    fit.codes.replace({name: torch.cat([code, code], dim=-1) for name, code in fit.codes.values.items()})
    with pytest.raises(RunError, match=r"fit\.safetensors: another version of Heartmend left it .* remove it"):
        load_fit(tmp_path / "fit.safetensors", fit)
