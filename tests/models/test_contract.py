"""Contract of every implicit shape in heartmend.models: a logit depends on its point and its case's code only."""

import importlib
import inspect
import pkgutil

import pytest
import torch
from torch import Tensor, nn

import heartmend.models
from heartmend.errors import ConfigError
from heartmend.models.base import Codes, Shape
from heartmend.models.code_book import CodeBook
from heartmend.models.lattice import evaluate_lattice
from heartmend.models.shapes import SHAPES, make_shape

HEADS = ("LA", "LV", "RV")
SMALL = {
    "template": {"side": 12, "controls": 6},
    "decoder": {"code_size": 8},
    "unified": {"template": {"heads": HEADS[:2], "side": 12, "controls": 6}, "side": 6, "channels": 3, "width": 8},
}
"""Settings of small shapes; a kind that is not named is constructed with its defaults."""
ROUNDING = {"rtol": 1e-4, "atol": 1e-4}


def defined_shapes() -> list[type[Shape]]:
    """Find every concrete shape that a module of heartmend.models defines."""
    found = []
    for module in pkgutil.iter_modules(heartmend.models.__path__):
        members = inspect.getmembers(importlib.import_module(f"heartmend.models.{module.name}"), inspect.isclass)
        found += [
            member
            for _, member in members
            if issubclass(member, Shape) and not inspect.isabstract(member) and member.__module__.endswith(module.name)
        ]
    return found


def test_every_shape_is_registered_by_its_kind() -> None:
    assert {shape.kind: shape for shape in defined_shapes()} == SHAPES


@pytest.fixture(params=[shape.kind for shape in defined_shapes()])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def fitted(kind: str) -> tuple[Shape, CodeBook]:
    """Make a shape and the codes of three cases, all away from their initial values."""
    torch.manual_seed(3)
    shape = make_shape(kind, {"heads": HEADS, **SMALL.get(kind, {})})
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for weight in shape.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=generator)
    codes = shape.new_codes(3, seed=5)
    moved = {
        name: code + 0.1 * torch.randn(code.shape, generator=generator) if code.is_floating_point() else code
        for name, code in codes.items()
    }
    return shape.eval(), CodeBook(["a", "b", "c"], moved)


@pytest.fixture
def points() -> torch.Tensor:
    """Draw points, some of them outside the unit frame."""
    return torch.rand(3, 50, 3, generator=torch.Generator().manual_seed(6)) * 2.4 - 1.2


def test_there_is_a_logit_for_each_case_point_and_head(fitted: tuple[Shape, CodeBook], points: torch.Tensor) -> None:
    shape, codes = fitted
    logits = shape(points, codes.of("abc"))
    assert logits.shape == (3, 50, len(HEADS))
    assert logits.isfinite().all()
    assert logits.std(dim=1).min() > 1e-3


def test_a_logit_is_independent_of_the_other_points(fitted: tuple[Shape, CodeBook], points: torch.Tensor) -> None:
    """Alone, in another order, in chunks and with other points the logits are equal, up to rounding."""
    shape, codes = fitted
    assert shape.pointwise
    code = codes.of("abc")
    together = shape(points, code)
    torch.testing.assert_close(shape(points[:, 17:18], code), together[:, 17:18], **ROUNDING)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(shape(points[:, order], code), together[:, order], **ROUNDING)
    chunks = [shape(part, code) for part in points.split((1, 30, 19), dim=1)]
    torch.testing.assert_close(torch.cat(chunks, dim=1), together, **ROUNDING)
    more = torch.cat([points, torch.zeros(3, 1000, 3)], dim=1)
    torch.testing.assert_close(shape(more, code)[:, :50], together, **ROUNDING)


def test_a_logit_is_independent_of_the_codes_of_other_cases(
    fitted: tuple[Shape, CodeBook], points: torch.Tensor
) -> None:
    shape, codes = fitted
    together = shape(points, codes.of("abc"))
    for row, id in enumerate("abc"):
        torch.testing.assert_close(shape(points[row : row + 1], codes.of([id]))[0], together[row], **ROUNDING)
    assert not torch.allclose(shape(points, codes.of("bca")), together, atol=1e-2)
    gradient = {}
    for name, code in codes.of("abc").items():
        gradient[name] = code.detach().requires_grad_(code.is_floating_point())
    shape(points, gradient)[1].sum().backward()
    for code in (code for code in gradient.values() if code.requires_grad):
        assert (code.grad[[0, 2]] == 0).all()
        assert (code.grad[1] != 0).any()


def test_a_lattice_equals_its_points(fitted: tuple[Shape, CodeBook]) -> None:
    shape, codes = fitted
    code = codes.of(["b"])
    axes = (torch.linspace(-0.9, 0.8, 5), torch.linspace(0.7, -0.5, 4), torch.linspace(-1, 1, 3))
    lattice = shape.on_lattice(axes, code)
    assert lattice.shape == (len(HEADS), 5, 4, 3)
    points = torch.cartesian_prod(*axes)[None]
    torch.testing.assert_close(lattice.flatten(1), shape(points, code)[0].T, **ROUNDING)
    evaluated = evaluate_lattice(shape, code, tuple(axis.numpy() for axis in axes), (64, 64, 64))
    torch.testing.assert_close(torch.from_numpy(evaluated), lattice, **ROUNDING)


def test_settings_construct_the_same_shape(fitted: tuple[Shape, CodeBook], points: torch.Tensor) -> None:
    shape, codes = fitted
    again = make_shape(shape.kind, shape.settings())
    again.load_state_dict(shape.state_dict())
    assert again.heads == HEADS
    assert torch.equal(again(points, codes.of("abc")), shape(points, codes.of("abc")))


def test_new_codes_depend_on_their_seed_only(kind: str) -> None:
    shape = make_shape(kind, {"heads": HEADS, **SMALL.get(kind, {})})
    first, again = shape.new_codes(2, seed=1), shape.new_codes(2, seed=1)
    torch.manual_seed(99)
    assert all(torch.equal(first[name], again[name]) and len(first[name]) == 2 for name in first)
    assert shape.regularisation(first).shape == ()


def test_an_unknown_kind_raises_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="unknown shape 'blob'; choose one of template, decoder"):
        make_shape("blob", {})


class CentredShape(Shape):
    """Shape that is not pointwise: its logits have the mean 0 over all points of a call."""

    kind = "centred"
    pointwise = False

    def __init__(self) -> None:
        super().__init__(HEADS)
        self.linear = nn.Linear(3, len(HEADS))

    def new_codes(self, count: int, seed: int = 0) -> dict[str, Tensor]:
        return {"latent": torch.zeros(count, 1)}

    def forward(self, points: Tensor, codes: Codes) -> Tensor:
        logits: Tensor = self.linear(points)
        return logits - logits.mean(dim=1, keepdim=True)

    def settings(self) -> dict[str, object]:
        return {}


def test_a_shape_that_is_not_pointwise_is_evaluated_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Independent of the size of the chunks in which other shapes are evaluated."""
    shape = CentredShape()
    code = shape.new_codes(1)
    axis = torch.linspace(-1, 1, 7) ** 2
    expected = shape.on_lattice((axis, axis, axis), code).detach()
    monkeypatch.setattr("heartmend.models.lattice.CHUNK", 10)
    evaluated = evaluate_lattice(shape, code, (axis.numpy(),) * 3, (64, 64, 64))
    torch.testing.assert_close(torch.from_numpy(evaluated), expected)
