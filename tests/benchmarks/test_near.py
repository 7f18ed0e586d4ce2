"""The published NeAR: number of weights, interpolation of maps, and dependence on all points of a call."""

import pytest
import torch
from near_shape import NearShape
from torch.nn import functional

HEADS = ("Adrenal",)


def test_it_has_the_published_number_of_weights() -> None:
    """Computed from the widths: convolutions with bias, and two weights per channel for each normalisation."""

    def block(before: int, width: int, kernel: int) -> int:
        return before * width * kernel**3 + width + 2 * width

    decoder = block(256, 1024, 1) + block(128, 512, 1) + block(64, 64, 3)
    for before, width in ((64, 48), (48, 32), (32, 16)):
        decoder += block(before, width, 3) + block(width, width, 3)
    points = block(163, 64, 1) + block(64, 32, 1) + 32 + 1
    assert sum(weight.numel() for weight in NearShape(HEADS).parameters()) == decoder + points
    aware = NearShape(HEADS, image_side=64)
    assert sum(weight.numel() for weight in aware.parameters()) == decoder + points + 64


def test_initial_codes_are_those_of_an_embedding() -> None:
    codes = NearShape(HEADS).new_codes(400, seed=1)
    assert codes.keys() == {"latent"}
    assert codes["latent"].std() == pytest.approx(1, abs=0.02)
    assert NearShape(HEADS, image_side=6).new_codes(2)["image"].shape == (2, 6, 6, 6)


def test_the_regularisation_is_the_mean_length() -> None:
    latent = torch.zeros(2, 256)
    latent[0, :2] = torch.tensor([3.0, 4.0])
    assert NearShape(HEADS).regularisation({"latent": latent}).item() == pytest.approx(2.5)


def test_lattices_equal_their_points() -> None:
    """For two cases with different lattices, partly outside the frame, and with images."""
    torch.manual_seed(0)
    shape = NearShape(("a", "b"), code_size=16, image_side=5)
    codes = shape.new_codes(2, seed=1)
    codes["image"] = torch.randn(2, 5, 5, 5)
    axes = tuple(torch.rand(2, n) * 2.2 - 1.1 for n in (4, 5, 6))
    points = torch.stack([torch.cartesian_prod(*(axis[case] for axis in axes)) for case in range(2)])
    fast = shape.on_lattices(axes, codes)
    assert fast.shape == (2, 2, 4, 5, 6)
    torch.testing.assert_close(fast.flatten(2).transpose(1, 2), shape(points, codes), rtol=1e-4, atol=1e-5)


def test_logits_depend_on_the_image() -> None:
    torch.manual_seed(0)
    shape = NearShape(HEADS, code_size=16, image_side=4)
    codes = shape.new_codes(1, seed=1)
    axis = torch.linspace(-1, 1, 8)
    dark = shape.on_lattice((axis, axis, axis), codes)
    codes["image"][0, 3, 0, 0] = 9.0
    bright = shape.on_lattice((axis, axis, axis), codes)
    # The first axis is x: the bright voxel is at its end.
    assert (bright - dark).abs().argmax() == torch.tensor(7 * 64)


def test_logits_depend_on_the_other_points_of_a_call() -> None:
    """Mean and variance are those of the queried points: repeating all points changes nothing, others do."""
    torch.manual_seed(0)
    shape = NearShape(HEADS, code_size=16)
    codes = shape.new_codes(1, seed=1)
    points = torch.rand(1, 40, 3) * 2 - 1
    once = shape(points, codes)
    twice = shape(torch.cat([points, points], dim=1), codes)
    torch.testing.assert_close(twice[:, :40], once, rtol=1e-4, atol=1e-5)
    more = torch.cat([points, torch.full((1, 400, 3), 0.9)], dim=1)
    assert functional.l1_loss(shape(more, codes)[:, :40], once) > 0.01
