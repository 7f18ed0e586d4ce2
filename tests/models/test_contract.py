"""What every shape promises: a logit depends on its point and its case's code, and on nothing that is asked with it."""

import pytest
import torch

from heartmend.errors import ConfigError
from heartmend.models.base import Shape
from heartmend.models.code_book import CodeBook
from heartmend.models.feature_table import cell_centres
from heartmend.models.lattice import render
from heartmend.models.shapes import SHAPES, make_shape

HEADS = ("LA", "LV", "RV")
TEMPLATE = {"heads": HEADS[:2], "side": 12, "controls": 6}
SMALL = {
    "template": {"side": 12, "controls": 6},
    "decoder": {"code_size": 8},
    "unified": {"template": TEMPLATE, "side": 6, "channels": 3, "width": 8},
    "near": {"code_size": 16, "image_side": 5},
}
ROUNDING = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(params=SHAPES)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def fitted(kind: str) -> tuple[Shape, CodeBook]:
    """A shape and the codes of three cases, none of them near where a fit begins."""
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
    """Some of them outside the unit frame."""
    return torch.rand(3, 50, 3, generator=torch.Generator().manual_seed(6)) * 2.4 - 1.2


def test_a_logit_for_each_case_point_and_head(fitted: tuple[Shape, CodeBook], points: torch.Tensor) -> None:
    shape, codes = fitted
    logits = shape(points, codes.of("abc"))
    assert logits.shape == (3, 50, len(HEADS))
    assert logits.isfinite().all()
    assert logits.std(dim=1).min() > 1e-3


def test_pointwise(fitted: tuple[Shape, CodeBook], points: torch.Tensor) -> None:
    """Alone, in another order, in chunks, with other points: the same answer to rounding. Or it says that it is not."""
    shape, codes = fitted
    code = codes.of("abc")
    whole = shape(points, code)
    alone = shape(points[:, 17:18], code)
    if not shape.pointwise:
        assert not torch.allclose(alone, whole[:, 17:18], atol=1e-2)
        return
    torch.testing.assert_close(alone, whole[:, 17:18], **ROUNDING)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(shape(points[:, order], code), whole[:, order], **ROUNDING)
    chunks = [shape(part, code) for part in points.split((1, 30, 19), dim=1)]
    torch.testing.assert_close(torch.cat(chunks, dim=1), whole, **ROUNDING)
    crowd = torch.cat([points, torch.zeros(3, 1000, 3)], dim=1)
    torch.testing.assert_close(shape(crowd, code)[:, :50], whole, **ROUNDING)


def test_no_case_sees_the_code_of_another(fitted: tuple[Shape, CodeBook], points: torch.Tensor) -> None:
    shape, codes = fitted
    together = shape(points, codes.of("abc"))
    for row, id in enumerate("abc"):
        torch.testing.assert_close(shape(points[row : row + 1], codes.of([id]))[0], together[row], **ROUNDING)
    assert not torch.allclose(shape(points, codes.of("bca")), together, atol=1e-2)
    gradient = {}
    asked = codes.of("abc")
    for name, code in asked.items():
        gradient[name] = code.detach().requires_grad_(code.is_floating_point())
    shape(points, gradient)[1].sum().backward()
    for code in (code for code in gradient.values() if code.requires_grad):
        assert (code.grad[[0, 2]] == 0).all()
        assert (code.grad[1] != 0).any()


def test_a_lattice_is_its_points(fitted: tuple[Shape, CodeBook]) -> None:
    shape, codes = fitted
    code = codes.of(["b"])
    axes = (torch.linspace(-0.9, 0.8, 5), torch.linspace(0.7, -0.5, 4), torch.linspace(-1, 1, 3))
    lattice = shape.on_lattice(axes, code)
    assert lattice.shape == (len(HEADS), 5, 4, 3)
    every = torch.cartesian_prod(*axes)[None]
    torch.testing.assert_close(lattice.flatten(1), shape(every, code)[0].T, **ROUNDING)
    small = render(shape, code, tuple(axis.numpy() for axis in axes), (64, 64, 64))
    torch.testing.assert_close(torch.from_numpy(small), lattice, **ROUNDING)


def test_its_settings_make_it_again(fitted: tuple[Shape, CodeBook], points: torch.Tensor) -> None:
    shape, codes = fitted
    again = make_shape(shape.kind, shape.settings())
    again.load_state_dict(shape.state_dict())
    assert again.heads == HEADS
    assert torch.equal(again(points, codes.of("abc")), shape(points, codes.of("abc")))


def test_new_codes_depend_on_their_seed_alone(kind: str) -> None:
    shape = make_shape(kind, {"heads": HEADS, **SMALL.get(kind, {})})
    first, again = shape.new_codes(2, seed=1), shape.new_codes(2, seed=1)
    torch.manual_seed(99)
    assert all(torch.equal(first[name], again[name]) and len(first[name]) == 2 for name in first)
    assert shape.regularisation(first).shape == ()


def test_an_unknown_kind_is_told_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no shape is called 'blob'; there are template, decoder"):
        make_shape("blob", {})


def test_a_shape_that_is_not_pointwise_is_rendered_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the chunks are that other shapes are asked in."""
    shape = make_shape("near", {"heads": HEADS, "code_size": 16})
    code = shape.new_codes(1, seed=2)
    axis = torch.linspace(-1, 1, 7)
    whole = shape.on_lattice((axis, axis, axis), code).detach()
    monkeypatch.setattr("heartmend.models.lattice.CHUNK", 10)
    rendered = render(shape, code, (axis.numpy(),) * 3, (64, 64, 64))
    torch.testing.assert_close(torch.from_numpy(rendered), whole)


def ball(side: int = 24, radius_mm: float = 18.0, size_mm: float = 64.0) -> tuple[Shape, CodeBook]:
    """A template that is the clipped signed distance to a ball off the centre, for a case that is bent a little."""
    shape = make_shape("template", {"heads": ("LV", "RV"), "side": side, "controls": 6})
    axis = cell_centres(side) * size_mm / 2
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    distances = [radius_mm - torch.sqrt((x - c) ** 2 + y**2 + z**2) for c in (8.0, -12.0)]
    with torch.no_grad():
        shape.table.copy_(torch.stack(distances, dim=-1).clamp(-8, 8).reshape(-1, 2))
    codes = shape.new_codes(1)
    codes["field"] += 0.03 * torch.randn(codes["field"].shape, generator=torch.Generator().manual_seed(0))
    return shape, CodeBook(["a"], codes)


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("side", [24, 41])
def test_coarse_to_fine_is_the_dense_evaluation(side: int, flipped: bool) -> None:
    """The same masks, and the same values about the surfaces, on axes that fall too."""
    shape, codes = ball()
    x = cell_centres(side)
    y = cell_centres(side - 3)
    axes = (x.flip(0) if flipped else x, y, x)
    sparse = render(shape, codes.of(["a"]), tuple(a.numpy() for a in axes), (64.0, 64.0, 64.0))
    dense = shape.on_lattice(axes, codes.of(["a"])).detach().numpy()
    assert ((sparse > 0) == (dense > 0)).all()
    assert 0.05 < (dense > 0).mean() < 0.5
    near = abs(dense) < 2
    assert abs(sparse - dense)[near].max() < 1e-4


def test_most_of_a_fine_lattice_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    shape, codes = ball()
    asked = []
    forward = shape.forward
    monkeypatch.setattr(shape, "forward", lambda points, code: asked.append(points.shape[1]) or forward(points, code))
    x = cell_centres(96).numpy()
    render(shape, codes.of(["a"]), (x, x, x), (64.0, 64.0, 64.0))
    assert sum(asked) < 0.6 * 96**3
