"""Deformable template: mapping of points, and refinement."""

import torch

from heartmend.models.feature_table import cell_centres
from heartmend.models.template import TemplateShape


def test_a_new_code_is_the_identity() -> None:
    shape = TemplateShape(["LV"], side=8, controls=6)
    points = torch.rand(2, 20, 3) * 2 - 1
    torch.testing.assert_close(shape.to_template_frame(points, shape.new_codes(2)), points)


def test_the_field_is_added_to_the_affine_map() -> None:
    shape = TemplateShape(["LV"], side=8, controls=6)
    codes = shape.new_codes(1)
    codes["affine"][0] = torch.tensor([[0.0, 2.0, 0.0, 0.1], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.2]])
    codes["field"][0, 2] = 0.05
    mapped = shape.to_template_frame(torch.tensor([[[0.3, 0.4, 0.5]]]), codes)
    torch.testing.assert_close(mapped, torch.tensor([[[0.9, 0.3, -0.25]]]))


def test_a_finer_template_is_the_same_shape() -> None:
    shape = TemplateShape(["LV", "RV"], side=12, controls=6)
    x, y, z = torch.meshgrid(*[cell_centres(12)] * 3, indexing="ij")
    with torch.no_grad():
        shape.table.copy_(torch.stack([x - y, z], dim=-1).reshape(-1, 2))
    codes = shape.new_codes(2)
    codes["field"] += 0.02 * torch.randn(codes["field"].shape, generator=torch.Generator().manual_seed(1))
    points = torch.rand(2, 60, 3, generator=torch.Generator().manual_seed(2)) * 1.4 - 0.7
    before = shape(points, codes)
    finer = shape.refine(codes, side=18, controls=9)
    assert shape.settings() == {"heads": ["LV", "RV"], "side": 18, "controls": 9}
    assert finer["field"].shape == (2, 3, 9, 9, 9)
    torch.testing.assert_close(shape(points, finer), before, atol=1e-3, rtol=0)
