"""Evaluation on a lattice, coarse to fine, on the whole lattice or near the surfaces only."""

import numpy as np
import pytest
import torch

from heartmend.geometry.boxes import Box
from heartmend.geometry.grid import Grid
from heartmend.geometry.local_field import LocalField
from heartmend.geometry.roi import Roi
from heartmend.models.base import Shape
from heartmend.models.code_book import CodeBook
from heartmend.models.feature_table import cell_centres
from heartmend.models.lattice import evaluate_case, evaluate_lattice, evaluate_near_surfaces
from heartmend.models.shapes import make_shape


def ball(side: int = 24, radius_mm: float = 18.0, size_mm: float = 64.0) -> tuple[Shape, CodeBook]:
    """Make a template of two balls off the centre, and the code of a case with a small deformation."""
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
def test_coarse_to_fine_evaluation_equals_dense_evaluation(side: int, flipped: bool) -> None:
    """The masks are equal, and so are the values near the surfaces, on decreasing axes too."""
    shape, codes = ball()
    x = cell_centres(side)
    y = cell_centres(side - 3)
    axes = (x.flip(0) if flipped else x, y, x)
    sparse = evaluate_lattice(shape, codes.of(["a"]), tuple(a.numpy() for a in axes), (64.0, 64.0, 64.0))
    dense = shape.on_lattice(axes, codes.of(["a"])).detach().numpy()
    assert ((sparse > 0) == (dense > 0)).all()
    assert 0.05 < (dense > 0).mean() < 0.5
    near = abs(dense) < 2
    assert abs(sparse - dense)[near].max() < 1e-4


def test_most_points_of_a_fine_lattice_are_not_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    shape, codes = ball()
    counts = []
    forward = shape.forward
    monkeypatch.setattr(shape, "forward", lambda points, code: counts.append(points.shape[1]) or forward(points, code))
    x = cell_centres(96).numpy()
    evaluate_lattice(shape, codes.of(["a"]), (x, x, x), (64.0, 64.0, 64.0))
    assert sum(counts) < 0.6 * 96**3


SHAPE = (40, 52, 45)
AXES = {
    "of the unit frame": np.diag([1.4, 1.2, 1.3, 1.0]),
    "in another order, one flipped": np.array([[0, 1.2, 0, 0], [0, 0, -1.3, 0], [1.4, 0, 0, 0], [0, 0, 0, 1.0]]),
}
FAR = (slice(0, 3), slice(49, 52), slice(2, 4))


@pytest.fixture(params=AXES)
def roi(request: pytest.FixtureRequest) -> Roi:
    return Roi(Grid(SHAPE, AXES[request.param]), start=(0, 0, 0), stop=SHAPE)


def near(roi: Roi, around: dict[str, Box], margin_mm: float = 3.0) -> dict[str, LocalField]:
    shape, codes = ball()
    return evaluate_near_surfaces(shape, codes, "a", roi, around, margin_mm)


def test_the_values_near_the_surfaces_are_those_of_the_whole_volume(roi: Roi) -> None:
    whole, fields = evaluate_case(*ball(), "a", roi), near(roi, {})
    assert list(fields) == list(whole)
    for name, field in fields.items():
        assert field.shape == SHAPE and field.values.size < 0.9 * whole[name].size
        assert (field.values == whole[name][field.box]).all()
        outside = np.ones(SHAPE, dtype=bool)
        outside[field.box] = False
        assert whole[name][outside].max() < -3, "no voxel within the margin is left out"


def test_a_field_contains_the_given_box_too(roi: Roi) -> None:
    field = near(roi, {"LV": FAR})["LV"]
    assert (field.on(FAR, np.nan) == evaluate_case(*ball(), "a", roi)["LV"][FAR]).all()


def test_a_structure_outside_the_volume_has_a_field_without_its_inside() -> None:
    shape, codes = ball()
    with torch.no_grad():
        shape.table[:, 1] = -8.0
    roi = Roi(Grid(SHAPE, np.eye(4)), start=(0, 0, 0), stop=SHAPE)
    field = evaluate_near_surfaces(shape, codes, "a", roi, {}, 3.0)["RV"]
    assert field.values.size and (field.whole(-8.0) == -8).all()
