"""Statistics of populations of synthetic hearts with known forms."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from heartmend.errors import ConfigError
from heartmend.models.code_book import CodeBook
from heartmend.models.heart_model import HeartModel, evaluate_labels
from heartmend.models.population import heart_from_form, interpolate_hearts, outlier_scores, principal_modes
from support.models import RADIUS_MM, SIZE_MM, frame, two_balls


def along_one_field(steps: list[float], extra: float = 0.0) -> HeartModel:
    """Make hearts that differ by multiples of one field; the last one by a second field too."""
    ids = tuple(f"{n}" for n in range(len(steps)))
    model = two_balls(ids, spread=0.0)
    generator = torch.Generator().manual_seed(1)
    first, second = (torch.randn(model.codes.values["field"].shape[1:], generator=generator) for _ in range(2))
    codes = {name: code.detach().clone() for name, code in model.codes.values.items()}
    for row, step in enumerate(steps):
        codes["field"][row] += step * first
    codes["field"][-1] += extra * second
    return replace(model, codes=CodeBook(ids, codes))


def test_hearts_that_differ_by_one_field_have_one_mode() -> None:
    steps = [-0.02, -0.01, 0.0, 0.01, 0.02]
    modes = principal_modes(along_one_field(steps), 3)
    assert modes.directions.shape[0] <= 3
    assert modes.deviations_mm[0] > 100 * modes.deviations_mm[1:].max(initial=0)
    # In mm: the field's root mean square times half the box.
    assert modes.deviations_mm[0] == pytest.approx(np.std(steps, ddof=1) * SIZE_MM / 2 * np.sqrt(3), rel=0.1)
    order = modes.scores[:, 0] * np.sign(modes.scores[-1, 0])
    assert order == pytest.approx(np.array(steps) / np.std(steps, ddof=1), rel=1e-3, abs=1e-6)


def test_a_point_along_a_mode_is_a_heart() -> None:
    model = along_one_field([-0.02, -0.01, 0.0, 0.01, 0.02])
    modes = principal_modes(model, 1)
    step = modes.scores[4, 0] * modes.deviations_mm[0] * modes.directions[0]
    heart = heart_from_form(model, modes.mean + step)
    grid = heart.frame.grid_at(48)
    assert (evaluate_labels(model, heart, grid) != evaluate_labels(model, model.heart("4"), grid)).mean() < 1e-3
    assert "Coronary" in heart.absent


def test_the_mean_of_two_sizes_has_the_mean_size() -> None:
    """Balls of one radius in unit frames of two sizes: the mean heart has the mean radius."""
    model = two_balls(("a", "b", "c", "d"), spread=0.0)
    large = frame(np.diag([2.5, 2.5, 2.5, 1.0]))
    model = replace(model, frames={"a": frame(), "b": frame(), "c": large, "d": large})
    heart = heart_from_form(model, principal_modes(model, 1).mean)
    grid = heart.frame.grid_at(80)
    volume = (evaluate_labels(model, heart, grid) == 3).sum() * grid.voxel_mm3
    radius = (volume / (4 / 3 * np.pi)) ** (1 / 3)
    assert radius == pytest.approx(RADIUS_MM * (1 + 2.5 / 2) / 2, rel=0.03)


def test_an_interpolation_starts_and_ends_at_the_two_hearts() -> None:
    model = two_balls(spread=0.06)
    grid = model.frames["a"].grid
    for share, id in ((0.0, "a"), (1.0, "c")):
        heart = interpolate_hearts(model, "a", "c", share)
        assert (
            evaluate_labels(model, heart, heart.frame.grid_at(32)) == evaluate_labels(model, model.heart(id), grid)
        ).mean() > 0.999
    middle = interpolate_hearts(model, "a", "c", 0.5)
    expected = 0.5 * (model.codes.of(["a"])["field"] + model.codes.of(["c"])["field"])
    torch.testing.assert_close(middle.code["field"], expected)


def test_an_unusual_heart_has_a_large_score() -> None:
    steps = list(np.random.default_rng(0).normal(0, 0.02, 9))
    noise = two_balls(tuple(str(n) for n in range(9)), spread=0.002)
    model = along_one_field(steps, extra=0.02)
    codes = {name: code.detach().clone() for name, code in model.codes.values.items()}
    codes["field"] += noise.codes.values["field"].detach()
    found = outlier_scores(replace(model, codes=CodeBook(model.codes.ids, codes)))
    assert [p.case_id for p in found] == list(model.codes.ids)
    assert found[-1].outlier_z > 5
    assert max(p.outlier_z for p in found[:-1]) < 5
    assert all(0 <= p.reconstruction_residual_mm <= p.distance_mm for p in found)


def test_too_few_hearts_raise_an_error() -> None:
    with pytest.raises(ConfigError, match="at least three hearts; the model contains 2"):
        principal_modes(two_balls(("a", "b")))
    with pytest.raises(ConfigError, match="at least four hearts; the model contains 3"):
        outlier_scores(two_balls(("a", "b", "c")))
