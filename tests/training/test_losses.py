"""Loss functions, compared with values computed by hand."""

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


def test_surface_distance_weights_points_by_their_distance() -> None:
    """Errors 1 and 3 mm at 0 and 4 mm, tolerance 2: weights 1.02 and e^-2 + 0.02."""
    loss = loss_by_name("surface_distance", 2.0)
    near, far = 1.02, math.exp(-2) + 0.02
    found = loss(torch.tensor([[[1.0], [1.0]]]), batch([[0.0], [4.0]]))
    assert found.item() == pytest.approx((1 * near + 3 * far) / (near + far))
    tighter = loss_by_name("surface_distance", 0.5)(torch.tensor([[[1.0], [1.0]]]), batch([[0.0], [4.0]]))
    assert tighter < found


def test_dice_equals_the_value_computed_by_hand() -> None:
    """Probabilities 1, 1, 0 and labels 1, 0, 1: 1 - (2 + 1) / (2 + 2 + 1); the other head is correct: 0."""
    logits = torch.tensor([[[99.0, 99.0], [99.0, -99.0], [-99.0, -99.0]]])
    found = loss_by_name("dice")(logits, batch([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]]))
    assert found.item() == pytest.approx((1 - 3 / 5 + 0) / 2)


def test_focal_and_cross_entropy_equal_the_values_computed_by_hand() -> None:
    """A logit of 0 has the cross entropy ln 2 and the focal weight (1 - 1/2)^4."""
    logits, truth = torch.zeros(1, 2, 1), batch([[1.0], [-1.0]])
    assert loss_by_name("bce")(logits, truth).item() == pytest.approx(math.log(2))
    assert loss_by_name("focal")(logits, truth).item() == pytest.approx(math.log(2) / 16)
    both = 0.7 * (1 - 2 / 3) + 0.3 * math.log(2) / 16
    assert loss_by_name("dice_focal")(logits, truth).item() == pytest.approx(both)


# The joint loss needs its own batches: tests/training/test_joint_training.py.
@pytest.mark.parametrize("name", [name for name in LOSSES if name != "joint"])
def test_a_loss_is_zero_at_the_reference_and_has_gradients_elsewhere(name: str) -> None:
    truth = batch([[3.0], [-2.0], [0.5], [-0.5]])
    scale = 1.0 if name == "surface_distance" else 40.0
    correct = loss_by_name(name)((truth.distances_mm * scale), truth)
    assert correct.item() == pytest.approx(0, abs=1e-6)
    logits = torch.zeros(1, 4, 1, requires_grad=True)
    wrong = loss_by_name(name)(logits, truth)
    wrong.backward()
    assert wrong > 0.01
    assert (logits.grad.sign() == -truth.distances_mm.sign()).all()


def test_an_unknown_loss_raises_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="unknown loss 'hinge'; choose one of dice_focal, dice"):
        loss_by_name("hinge")
