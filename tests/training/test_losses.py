"""Losses by hand."""

import math

import pytest
import torch

from heartmend.errors import ConfigError
from heartmend.training.losses import LOSSES, loss_by_name
from heartmend.training.point_sampler import Batch


def batch(distances: list[list[float]]) -> Batch:
    """One case; a row for each point, a column for each head."""
    table = torch.tensor([distances])
    return Batch(torch.tensor([0]), torch.zeros(1, len(distances), 3), table, torch.ones(1, len(distances)))


def test_surface_distance_counts_the_more_the_nearer() -> None:
    """Errors 1 and 3 mm at 0 and 4 mm, tolerance 2: weights 1.02 and e^-2 + 0.02."""
    loss = loss_by_name("surface_distance", 2.0)
    near, far = 1.02, math.exp(-2) + 0.02
    found = loss(torch.tensor([[[1.0], [1.0]]]), batch([[0.0], [4.0]]))
    assert found.item() == pytest.approx((1 * near + 3 * far) / (near + far))
    tighter = loss_by_name("surface_distance", 0.5)(torch.tensor([[[1.0], [1.0]]]), batch([[0.0], [4.0]]))
    assert tighter < found


def test_dice_by_hand() -> None:
    """Chances 1, 1, 0 against true, false, true: 1 - (2 + 1) / (2 + 2 + 1); the other head is right: 0."""
    logits = torch.tensor([[[99.0, 99.0], [99.0, -99.0], [-99.0, -99.0]]])
    found = loss_by_name("dice")(logits, batch([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]]))
    assert found.item() == pytest.approx((1 - 3 / 5 + 0) / 2)


def test_focal_and_cross_entropy_by_hand() -> None:
    """A logit of 0 has the entropy ln 2 and is half sure: (1 - 1/2)^4 of it is left."""
    logits, truth = torch.zeros(1, 2, 1), batch([[1.0], [-1.0]])
    assert loss_by_name("bce")(logits, truth).item() == pytest.approx(math.log(2))
    assert loss_by_name("focal")(logits, truth).item() == pytest.approx(math.log(2) / 16)
    both = 0.7 * (1 - 2 / 3) + 0.3 * math.log(2) / 16
    assert loss_by_name("dice_focal")(logits, truth).item() == pytest.approx(both)


# The joint loss needs batches of its own kind: tests/learning/test_joint.py.
@pytest.mark.parametrize("name", [name for name in LOSSES if name != "joint"])
def test_least_at_the_truth_and_with_a_gradient_everywhere(name: str) -> None:
    truth = batch([[3.0], [-2.0], [0.5], [-0.5]])
    scale = 1.0 if name == "surface_distance" else 40.0
    right = loss_by_name(name)((truth.distances_mm * scale), truth)
    assert right.item() == pytest.approx(0, abs=1e-6)
    logits = torch.zeros(1, 4, 1, requires_grad=True)
    wrong = loss_by_name(name)(logits, truth)
    wrong.backward()
    assert wrong > 0.01
    assert (logits.grad.sign() == -truth.distances_mm.sign()).all()


def test_an_unknown_loss_is_told_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no loss is called 'hinge'; there are dice_focal, dice"):
        loss_by_name("hinge")
