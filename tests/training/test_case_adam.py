"""Adam with moments per case: identical to Adam for drawn cases, no update for the others."""

import pytest
import torch
from torch import Tensor

from heartmend.models.code_book import CodeBook
from heartmend.training.case_adam import BETAS, CaseAdam


def book(cases: int = 3) -> CodeBook:
    generator = torch.Generator().manual_seed(5)
    return CodeBook(
        [str(case) for case in range(cases)],
        {"field": torch.randn(cases, 2, 2, generator=generator), "affine": torch.randn(cases, 3, generator=generator),
         "slot": torch.arange(cases)[:, None]},
    )  # fmt: skip


def take_step(optimiser: CaseAdam, rows: list[int], gradients: dict[str, Tensor], factor: float = 1.0) -> None:
    """Take one step with these gradients for the drawn cases."""
    at = torch.tensor(rows, dtype=torch.long)
    copies = optimiser.copy_codes(at)
    for name, gradient in gradients.items():
        copies[name].grad = gradient[at].clone()
    optimiser.step([(at, copies)], factor)


def test_with_all_cases_in_every_step_it_equals_adam() -> None:
    ours, theirs = book(), book()
    optimiser = CaseAdam(ours, {"field": 0.1, "affine": 0.03})
    adam = torch.optim.Adam(
        [{"params": [theirs.values["field"]], "lr": 0.1}, {"params": [theirs.values["affine"]], "lr": 0.03}],
        betas=BETAS,
    )
    generator = torch.Generator().manual_seed(1)
    for _ in range(30):
        gradients = {name: torch.randn(ours.values[name].shape, generator=generator) for name in ("field", "affine")}
        for name, gradient in gradients.items():
            theirs.values[name].grad = gradient
        adam.step()
        take_step(optimiser, [2, 0, 1], gradients)
    for name in ("field", "affine"):
        torch.testing.assert_close(ours.values[name].data, theirs.values[name].data, rtol=1e-5, atol=1e-6)


def test_a_case_that_is_not_drawn_is_not_updated() -> None:
    codes = book()
    optimiser, before = CaseAdam(codes, {"field": 0.1}), {name: code.clone() for name, code in codes.values.items()}
    ones = {"field": torch.ones(3, 2, 2)}
    take_step(optimiser, [0], ones)
    for _ in range(5):
        take_step(optimiser, [1], ones)
    # With a constant gradient each step of Adam has the length of the learning rate.
    moved = (before["field"] - codes.values["field"])[:, 0, 0].tolist()
    assert moved == pytest.approx([0.1, 0.5, 0.0], abs=1e-5)
    assert optimiser.draws.tolist() == [1, 5, 0]
    assert torch.equal(codes.values["affine"], before["affine"])
    assert torch.equal(codes.values["slot"], before["slot"])
    # The moments are those of its own draws, independent of the steps between them.
    take_step(optimiser, [0], ones)
    assert (before["field"] - codes.values["field"])[0, 0, 0].item() == pytest.approx(0.2, abs=1e-5)


def test_the_factor_multiplies_the_learning_rate() -> None:
    codes = book()
    before = codes.values["field"].clone()
    take_step(CaseAdam(codes, {"field": 0.1}), [0], {"field": torch.ones(3, 2, 2)}, factor=0.25)
    assert (before - codes.values["field"])[0, 0, 0].item() == pytest.approx(0.025, abs=1e-6)


def test_a_case_that_is_drawn_twice_in_a_step_is_updated_once_by_the_sum() -> None:
    """Gradients 3 and -2 of one case are one gradient of 1; other cases have one gradient each."""
    codes = book()
    before = codes.values["affine"].clone()
    optimiser = CaseAdam(codes, {"affine": 0.1})
    parts = []
    for rows, gradient in (([0, 1], 3.0), ([0, 2], -2.0)):
        at = torch.tensor(rows)
        copies = optimiser.copy_codes(at)
        (copies["affine"].sum() * gradient).backward()
        parts.append((at, copies))
    optimiser.step(parts)
    assert optimiser.draws.tolist() == [1, 1, 1]
    assert (codes.values["affine"] - before)[:, 0].tolist() == pytest.approx([-0.1, -0.1, 0.1], abs=1e-5)
    assert optimiser.moments["affine"][0][:, 0].tolist() == pytest.approx([0.1, 0.3, -0.2], abs=1e-6)


def test_values_without_gradient_stay_exactly_zero() -> None:
    codes = CodeBook(["a"], {"detail": torch.tensor([[0.0, 1.0]])})
    optimiser = CaseAdam(codes, {"detail": 0.1})
    for _ in range(3):
        take_step(optimiser, [0], {"detail": torch.tensor([[0.0, 2.0]])})
    assert codes.values["detail"][0, 0] == 0
    assert codes.values["detail"][0, 1].item() == pytest.approx(0.7, abs=1e-5)


def test_a_step_without_own_cases_changes_nothing() -> None:
    codes = book()
    before = codes.values["field"].clone()
    take_step(CaseAdam(codes, {"field": 0.1}), [], {"field": torch.ones(3, 2, 2)})
    assert torch.equal(codes.values["field"], before)
