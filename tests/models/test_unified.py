"""The shape with a head for every structure: it begins as the template, and what is closed stays closed."""

import pytest
import torch

from heartmend.models.code_book import CodeBook
from heartmend.models.template import TemplateShape
from heartmend.models.unified import UnifiedShape, blended, details_at, node_weights, stacked

HEADS = ("LV", "Coronary", "RV")


@pytest.fixture
def shape() -> UnifiedShape:
    """A template of LV and RV, and a network that is not fitted; the coronaries stand between the two."""
    torch.manual_seed(0)
    made = UnifiedShape(HEADS, {"heads": ("LV", "RV"), "side": 10, "controls": 5}, side=4, channels=3, width=8)
    with torch.no_grad():
        made.template.table.copy_(6 * torch.randn(made.template.table.shape))
    return made


def points(cases: int = 1, count: int = 40) -> torch.Tensor:
    return torch.rand(cases, count, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_a_head_of_the_template_is_the_template_where_the_network_says_nothing(shape: UnifiedShape) -> None:
    with torch.no_grad():
        shape.net[-1].weight.zero_()
        shape.net[-1].bias.copy_(torch.tensor([0.5, -2.0, 0.0]))
    codes = shape.new_codes(1)
    codes["field"] += 0.05
    said = shape(points(), codes)
    template = shape.template(points(), codes)
    torch.testing.assert_close(said[..., 0], template[..., 0] + 0.5)
    torch.testing.assert_close(said[..., 2], template[..., 1])
    assert (said[..., 1] == -2).all()


def test_it_begins_near_the_template_and_without_coronaries(shape: UnifiedShape) -> None:
    codes = shape.new_codes(2)
    said = shape(points(2), codes)
    assert (said[..., [0, 2]] - shape.template(points(2), codes)).abs().max() < 1
    assert (said[..., 1] < 0).all()


def test_the_slot_of_closed_nodes_gets_no_gradient_and_open_ones_do(shape: UnifiedShape) -> None:
    half = shape.details(torch.arange(4**3) % 2 == 1)
    codes = shape.new_codes(1) | half
    assert half["slot"][0, :4].tolist() == [0, 1, 0, 2] and half["detail"].shape == (1, 33, 3)
    codes["detail"].requires_grad_()
    shape(points(), codes).sum().backward()
    gradient = codes["detail"].grad[0]
    assert (gradient[0] == 0).all()
    assert (gradient[1:].abs().sum(dim=1) > 0).float().mean() > 0.8


def test_cases_with_few_and_with_many_open_nodes_stand_in_one_table(shape: UnifiedShape) -> None:
    """Each says the same as alone, and as if all its nodes were kept, the closed ones with zeros."""
    opened = [torch.arange(4**3) % each == 0 for each in (2, 9)]
    apart = [shape.details(nodes, seed) for seed, nodes in enumerate(opened)]
    codes = shape.new_codes(2)
    both = shape(points(2), codes | stacked(apart))
    for row, (nodes, alone) in enumerate(zip(opened, apart, strict=True)):
        own = {name: code[[row]] for name, code in codes.items()}
        torch.testing.assert_close(shape(points(2)[[row]], own | alone)[0], both[row])
        everywhere = torch.zeros(4**3, 3)
        everywhere[nodes] = alone["detail"][0, 1:]
        whole = details_at(torch.ones(4**3, dtype=torch.bool), everywhere)
        torch.testing.assert_close(shape(points(2)[[row]], own | whole)[0], both[row])


def test_a_heart_of_which_no_node_is_open_is_its_template(shape: UnifiedShape) -> None:
    none = shape.details(torch.zeros(4**3, dtype=torch.bool))
    assert none["detail"].shape == (1, 1, 3)
    codes = shape.new_codes(1)
    assert torch.equal(shape(points(), codes | none), shape(points(), codes | shape.empty_details()))


def test_details_of_two_hearts_fade_into_each_other(shape: UnifiedShape) -> None:
    one = details_at(torch.arange(64) < 2, torch.tensor([[1.0] * 3, [2.0] * 3]))
    other = details_at(torch.arange(64) % 63 == 1, torch.tensor([[4.0] * 3]))
    between = blended(one, other, 0.25)
    assert between["slot"][0, :3].tolist() == [1, 2, 0]
    assert between["detail"][0, :, 0].tolist() == [0, 0.75, 0.75 * 2 + 0.25 * 4]


def test_the_penalty_is_the_mean_square_of_the_open_nodes(shape: UnifiedShape) -> None:
    codes = shape.new_codes(1)
    codes["detail"].zero_()
    assert shape.regularisation(codes) == 0
    codes["detail"][0, 6] = torch.tensor([1.0, 2.0, 3.0])
    assert shape.regularisation(codes).item() == pytest.approx((1 + 4 + 9) / 3)


def test_a_place_counts_for_the_nodes_it_is_read_from() -> None:
    # Of four nodes a side the centres lie at -0.75, -0.25, 0.25, 0.75: this one is a node itself.
    at_node = node_weights(torch.tensor([[-0.25, 0.25, 0.75]]), 4)
    assert (at_node > 0.01).nonzero().flatten().tolist() == [(1 * 4 + 2) * 4 + 3]
    between = node_weights(torch.tensor([[0.0, 0.25, 0.25]]), 4, torch.tensor([2.0]))
    assert (between > 0.01).nonzero().flatten().tolist() == [(1 * 4 + 2) * 4 + 2, (2 * 4 + 2) * 4 + 2]
    assert between.sum().item() == pytest.approx(2)


def test_a_detail_lies_in_the_template_and_so_at_the_same_place_of_every_heart(shape: UnifiedShape) -> None:
    """Two cases of one detail, one of them shifted: they say the same at points that are carried to one place."""
    codes = shape.new_codes(1)
    both = {name: code.repeat(2, *[1] * (code.dim() - 1)) for name, code in codes.items()}
    both["affine"][1, :, 3] = torch.tensor([0.1, 0.0, -0.1])
    book = CodeBook(["a", "b"], both)
    there = points() * 0.5
    said = shape(there, book.of(["a"]))
    moved = shape(there - torch.tensor([0.1, 0.0, -0.1]), book.of(["b"]))
    torch.testing.assert_close(said, moved, rtol=1e-4, atol=1e-4)


def test_its_template_is_a_template(shape: UnifiedShape) -> None:
    assert isinstance(shape.template, TemplateShape)
    again = UnifiedShape(**shape.settings())
    assert again.template.heads == ("LV", "RV")
    assert again.settings() == shape.settings()
