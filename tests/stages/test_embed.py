"""A new heart under frozen weights: noise is not followed, parts are enough, nothing of the model changes."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from heartmend.errors import FitError
from heartmend.models.heart_model import Heart, HeartModel, evaluate_labels
from heartmend.run_folder.records import CaseFacts, PreparedCase
from heartmend.stages.embed import EmbedSettings, encode_case, place_models
from heartmend.training.schedule import Phase
from support.models import SIDE, frame, two_balls

QUICK = EmbedSettings(
    place_phases=(
        Phase(steps=50, code_lr=0.01, shape_lr=0, controls=4, tolerance_mm=3.0),
        Phase(steps=60, code_lr=0.006, shape_lr=0, controls=5),
    ),
    template_phase=Phase(steps=30, code_lr=0.004, shape_lr=0, tolerance_mm=1.5),
    detail_phase=Phase(steps=20, code_lr=0.03, shape_lr=0, loss="joint", tolerance_mm=1.0),
    points=500,
    resolution=SIDE,
)


@pytest.fixture(scope="module")
def model() -> HeartModel:
    return two_balls(spread=0.0)


@pytest.fixture(scope="module")
def new_heart() -> np.ndarray:
    """A heart of the same kind that the model does not hold, on 32 voxels a side."""
    other = two_balls(("x",), spread=0.05, seed=9)
    return evaluate_labels(other, other.heart("x"), frame().grid)


def case_of(labels: np.ndarray) -> PreparedCase:
    return PreparedCase(CaseFacts("x", frame()), labels, labels)


def noisy(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """The same labels with ragged edges: smooth noise of a voxel or two."""
    rng = np.random.default_rng(seed)
    at = np.indices(labels.shape).reshape(3, -1)
    shift = np.stack([gaussian_filter(rng.standard_normal(labels.shape), 1.0) for _ in range(3)])
    shift *= 1.2 / shift.std()
    moved = np.clip(np.rint(at + shift.reshape(3, -1)).astype(int), 0, SIDE - 1)
    return labels[tuple(moved)].reshape(labels.shape)


def rendered(model: HeartModel, code: dict[str, torch.Tensor]) -> np.ndarray:
    return evaluate_labels(model, Heart(code, frame()), frame().grid)


def wrong(labels: np.ndarray, truth: np.ndarray) -> int:
    return int((labels != truth).sum())


def test_a_noisy_heart_is_placed_nearer_to_the_truth_than_its_label(model: HeartModel, new_heart: np.ndarray) -> None:
    corrupt_mask = noisy(new_heart)
    before = {name: value.clone() for name, value in model.shape.state_dict().items()}
    code = place_models([model], case_of(corrupt_mask), QUICK)[0].code
    assert {name: value.shape for name, value in code.items()} == {"affine": (1, 3, 4), "field": (1, 3, 5, 5, 5)}
    placed = rendered(model, {**code, **model.shape.empty_details()})
    assert wrong(placed, new_heart) < 0.5 * wrong(corrupt_mask, new_heart)
    assert all(torch.equal(value, before[name]) for name, value in model.shape.state_dict().items())


def test_half_of_the_structures_are_enough(model: HeartModel, new_heart: np.ndarray) -> None:
    """Only the LV is given; the RV comes out about where it would be, and not where an empty label would push it."""
    code = place_models([model], case_of(np.where(new_heart == 3, 3, 0).astype(np.uint8)), QUICK)[0].code
    placed = rendered(model, {**code, **model.shape.empty_details()})
    overlap = 2 * ((placed == 5) & (new_heart == 5)).sum() / ((placed == 5).sum() + (new_heart == 5).sum())
    assert overlap > 0.75


def test_nothing_to_go_by_is_told(model: HeartModel, new_heart: np.ndarray) -> None:
    with pytest.raises(FitError, match="x: has none of LV, RV"):
        place_models([model], case_of(np.zeros_like(new_heart)), QUICK)


def test_the_whole_code_follows_the_mended_map(model: HeartModel, new_heart: np.ndarray) -> None:
    placed = place_models([model], case_of(noisy(new_heart)), QUICK)[0].code
    code = encode_case(model, ("x", frame()), new_heart, placed, QUICK)
    assert set(code) == {"affine", "field", "detail", "slot"}
    assert wrong(rendered(model, code), new_heart) <= wrong(
        rendered(model, {**placed, **model.shape.empty_details()}), new_heart
    )


def test_a_confused_label_map_is_placed_as_a_whole_by_a_model_of_its_own_population(
    model: HeartModel, new_heart: np.ndarray
) -> None:
    confused = new_heart.copy()
    z = np.indices(new_heart.shape)[2]
    for id, other in ((3, 5), (5, 3)):
        confused[(new_heart == id) & (z > np.quantile(z[new_heart == id], 0.65))] = other
    for is_own in (True, False):
        (found,) = place_models([model], case_of(confused), QUICK, is_own=is_own)
        assert found.is_confused is is_own
        if is_own:
            placed = rendered(model, {**found.code, **model.shape.empty_details()})
            assert wrong(placed, new_heart) < 0.6 * wrong(confused, new_heart)
    assert not place_models([model], case_of(new_heart), QUICK, is_own=True)[0].is_confused
