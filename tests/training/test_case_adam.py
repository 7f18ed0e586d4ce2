"""Adam whose moments belong to a case: it is Adam for what is drawn, and nothing for what is not."""

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


def taken(moves: CaseAdam, rows: list[int], gradients: dict[str, Tensor], factor: float = 1.0) -> None:
    """One step with these gradients for all that is drawn."""
    at = torch.tensor(rows, dtype=torch.long)
    copies = moves.drawn(at)
    for name, gradient in gradients.items():
        copies[name].grad = gradient[at].clone()
    moves.step([(at, copies)], factor)


def test_with_all_cases_in_every_step_it_is_adam() -> None:
    ours, theirs = book(), book()
    moves = CaseAdam(ours, {"field": 0.1, "affine": 0.03})
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
        taken(moves, [2, 0, 1], gradients)
    for name in ("field", "affine"):
        torch.testing.assert_close(ours.values[name].data, theirs.values[name].data, rtol=1e-5, atol=1e-6)


def test_a_case_that_is_not_drawn_stays_where_it_is() -> None:
    codes = book()
    moves, before = CaseAdam(codes, {"field": 0.1}), {name: code.clone() for name, code in codes.values.items()}
    ones = {"field": torch.ones(3, 2, 2)}
    taken(moves, [0], ones)
    for _ in range(5):
        taken(moves, [1], ones)
    # Of a lasting gradient each step of Adam is as long as the rate.
    apart = (before["field"] - codes.values["field"])[:, 0, 0].tolist()
    assert apart == pytest.approx([0.1, 0.5, 0.0], abs=1e-5)
    assert moves.draws.tolist() == [1, 5, 0]
    assert torch.equal(codes.values["affine"], before["affine"])
    assert torch.equal(codes.values["slot"], before["slot"])
    # What it remembers is of its own draws, however long ago.
    taken(moves, [0], ones)
    assert (before["field"] - codes.values["field"])[0, 0, 0].item() == pytest.approx(0.2, abs=1e-5)


def test_the_factor_shortens_a_step() -> None:
    codes = book()
    before = codes.values["field"].clone()
    taken(CaseAdam(codes, {"field": 0.1}), [0], {"field": torch.ones(3, 2, 2)}, factor=0.25)
    assert (before - codes.values["field"])[0, 0, 0].item() == pytest.approx(0.025, abs=1e-6)


def test_drawn_twice_in_one_step_a_case_moves_once_by_the_sum() -> None:
    """Gradients 3 and -2 of the same case are one gradient of 1; those of another case are its own."""
    codes = book()
    before = codes.values["affine"].clone()
    moves = CaseAdam(codes, {"affine": 0.1})
    parts = []
    for rows, gradient in (([0, 1], 3.0), ([0, 2], -2.0)):
        at = torch.tensor(rows)
        copies = moves.drawn(at)
        (copies["affine"].sum() * gradient).backward()
        parts.append((at, copies))
    moves.step(parts)
    assert moves.draws.tolist() == [1, 1, 1]
    assert (codes.values["affine"] - before)[:, 0].tolist() == pytest.approx([-0.1, -0.1, 0.1], abs=1e-5)
    assert moves.moments["affine"][0][:, 0].tolist() == pytest.approx([0.1, 0.3, -0.2], abs=1e-6)


def test_what_was_never_told_anything_stays_exactly_zero() -> None:
    codes = CodeBook(["a"], {"detail": torch.tensor([[0.0, 1.0]])})
    moves = CaseAdam(codes, {"detail": 0.1})
    for _ in range(3):
        taken(moves, [0], {"detail": torch.tensor([[0.0, 2.0]])})
    assert codes.values["detail"][0, 0] == 0
    assert codes.values["detail"][0, 1].item() == pytest.approx(0.7, abs=1e-5)


def test_none_of_the_drawn_cases_may_be_ones_own() -> None:
    codes = book()
    before = codes.values["field"].clone()
    taken(CaseAdam(codes, {"field": 0.1}), [], {"field": torch.ones(3, 2, 2)})
    assert torch.equal(codes.values["field"], before)
