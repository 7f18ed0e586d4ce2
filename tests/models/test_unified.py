"""Unified shape: initially the template; closed nodes stay closed."""

import pytest
import torch

from heartmend.models.code_book import CodeBook
from heartmend.models.template import TemplateShape
from heartmend.models.unified import UnifiedShape, blend_details, make_details, node_weights, stack_details

HEADS = ("LV", "Coronary", "RV")


@pytest.fixture
def shape() -> UnifiedShape:
    """Make a shape with a template of LV and RV and a random network; the coronaries are the middle head."""
    torch.manual_seed(0)
    made = UnifiedShape(HEADS, {"heads": ("LV", "RV"), "side": 10, "controls": 5}, side=4, channels=3, width=8)
    with torch.no_grad():
        made.template.table.copy_(6 * torch.randn(made.template.table.shape))
    return made


def points(cases: int = 1, count: int = 40) -> torch.Tensor:
    return torch.rand(cases, count, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_a_template_head_equals_the_template_where_the_network_is_constant(shape: UnifiedShape) -> None:
    with torch.no_grad():
        shape.net[-1].weight.zero_()
        shape.net[-1].bias.copy_(torch.tensor([0.5, -2.0, 0.0]))
    codes = shape.new_codes(1)
    codes["field"] += 0.05
    predicted = shape(points(), codes)
    template = shape.template(points(), codes)
    torch.testing.assert_close(predicted[..., 0], template[..., 0] + 0.5)
    torch.testing.assert_close(predicted[..., 2], template[..., 1])
    assert (predicted[..., 1] == -2).all()


def test_a_new_shape_is_near_the_template_and_without_coronaries(shape: UnifiedShape) -> None:
    codes = shape.new_codes(2)
    predicted = shape(points(2), codes)
    assert (predicted[..., [0, 2]] - shape.template(points(2), codes)).abs().max() < 1
    assert (predicted[..., 1] < 0).all()


def test_the_slot_of_closed_nodes_gets_no_gradient_and_open_ones_do(shape: UnifiedShape) -> None:
    half = shape.new_details(torch.arange(4**3) % 2 == 1)
    codes = shape.new_codes(1) | half
    assert half["slot"][0, :4].tolist() == [0, 1, 0, 2] and half["detail"].shape == (1, 33, 3)
    codes["detail"].requires_grad_()
    shape(points(), codes).sum().backward()
    gradient = codes["detail"].grad[0]
    assert (gradient[0] == 0).all()
    assert (gradient[1:].abs().sum(dim=1) > 0).float().mean() > 0.8


def test_cases_with_few_and_many_open_nodes_are_stacked(shape: UnifiedShape) -> None:
    """Each case has the same logits as without the other, and as with all nodes open, the closed ones with zeros."""
    opened = [torch.arange(4**3) % each == 0 for each in (2, 9)]
    separate = [shape.new_details(nodes, seed) for seed, nodes in enumerate(opened)]
    codes = shape.new_codes(2)
    both = shape(points(2), codes | stack_details(separate))
    for row, (nodes, alone) in enumerate(zip(opened, separate, strict=True)):
        own = {name: code[[row]] for name, code in codes.items()}
        torch.testing.assert_close(shape(points(2)[[row]], own | alone)[0], both[row])
        dense = torch.zeros(4**3, 3)
        dense[nodes] = alone["detail"][0, 1:]
        all_open = make_details(torch.ones(4**3, dtype=torch.bool), dense)
        torch.testing.assert_close(shape(points(2)[[row]], own | all_open)[0], both[row])


def test_details_without_open_nodes_equal_empty_details(shape: UnifiedShape) -> None:
    none = shape.new_details(torch.zeros(4**3, dtype=torch.bool))
    assert none["detail"].shape == (1, 1, 3)
    codes = shape.new_codes(1)
    assert torch.equal(shape(points(), codes | none), shape(points(), codes | shape.empty_details()))


def test_details_of_two_hearts_are_blended(shape: UnifiedShape) -> None:
    one = make_details(torch.arange(64) < 2, torch.tensor([[1.0] * 3, [2.0] * 3]))
    other = make_details(torch.arange(64) % 63 == 1, torch.tensor([[4.0] * 3]))
    blended = blend_details(one, other, 0.25)
    assert blended["slot"][0, :3].tolist() == [1, 2, 0]
    assert blended["detail"][0, :, 0].tolist() == [0, 0.75, 0.75 * 2 + 0.25 * 4]


def test_the_regularisation_is_the_mean_square_of_the_open_nodes(shape: UnifiedShape) -> None:
    codes = shape.new_codes(1)
    codes["detail"].zero_()
    assert shape.regularisation(codes) == 0
    codes["detail"][0, 6] = torch.tensor([1.0, 2.0, 3.0])
    assert shape.regularisation(codes).item() == pytest.approx((1 + 4 + 9) / 3)


def test_a_point_contributes_to_the_nodes_around_it() -> None:
    # The centres of four nodes are -0.75, -0.25, 0.25, 0.75: this point is a node itself.
    at_node = node_weights(torch.tensor([[-0.25, 0.25, 0.75]]), 4)
    assert (at_node > 0.01).nonzero().flatten().tolist() == [(1 * 4 + 2) * 4 + 3]
    between = node_weights(torch.tensor([[0.0, 0.25, 0.25]]), 4, torch.tensor([2.0]))
    assert (between > 0.01).nonzero().flatten().tolist() == [(1 * 4 + 2) * 4 + 2, (2 * 4 + 2) * 4 + 2]
    assert between.sum().item() == pytest.approx(2)


def test_details_are_in_the_template_frame(shape: UnifiedShape) -> None:
    """Two cases have the same details, one is shifted: logits are equal at points that are mapped to one point."""
    codes = shape.new_codes(1)
    both = {name: code.repeat(2, *[1] * (code.dim() - 1)) for name, code in codes.items()}
    both["affine"][1, :, 3] = torch.tensor([0.1, 0.0, -0.1])
    book = CodeBook(["a", "b"], both)
    at = points() * 0.5
    predicted = shape(at, book.of(["a"]))
    moved = shape(at - torch.tensor([0.1, 0.0, -0.1]), book.of(["b"]))
    torch.testing.assert_close(predicted, moved, rtol=1e-4, atol=1e-4)


def test_settings_include_those_of_the_template(shape: UnifiedShape) -> None:
    assert isinstance(shape.template, TemplateShape)
    again = UnifiedShape(**shape.settings())
    assert again.template.heads == ("LV", "RV")
    assert again.settings() == shape.settings()
