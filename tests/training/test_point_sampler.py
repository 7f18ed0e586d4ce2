"""Random sampling of points: positions, reference distances and weights, on shapes off the centre."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from heartmend.geometry.distance import STEP_MM, signed_distance_mm
from heartmend.training.losses import whole_volume_dice
from heartmend.training.point_sampler import Batch, PointSampler
from heartmend.training.sampling import BAND_MM
from heartmend.types import UNKNOWN
from support.hearts import ellipsoid, samples_of

CPU = torch.device("cpu")
SIDE, SIZE_MM = 40, (60.0, 60.0, 60.0)
CENTRES = ((10, 20, 27), (26, 12, 17))


def labels_of(row: int) -> np.ndarray:
    labels = np.zeros((SIDE,) * 3, dtype=np.uint8)
    labels[ellipsoid(labels.shape, CENTRES[row], (6, 7, 9))] = 3
    labels[ellipsoid(labels.shape, CENTRES[row][::-1], (4, 4, 4)) & (labels == 0)] = 5
    labels[36:] = UNKNOWN
    return labels


@pytest.fixture(scope="module")
def sampler() -> PointSampler:
    return PointSampler([samples_of(str(r), labels_of(r), [3, 5], SIZE_MM, far_share=0.9) for r in (0, 1)], CPU, seed=1)


def test_points_are_coordinates_of_their_case(sampler: PointSampler) -> None:
    batch = sampler.draw(0, 2, 800, 0.5)
    assert batch.cases.tolist() == [0, 1]
    assert batch.points.shape == (2, 800, 3)
    for row, points, distances in zip(batch.cases.tolist(), batch.points, batch.distances_mm, strict=True):
        at = ((points.numpy() + 1) / 2 * SIDE - 0.5).T
        labels = map_coordinates(labels_of(row), at, order=0, mode="nearest")
        assert (labels != UNKNOWN).all()
        for head, id in enumerate((3, 5)):
            assert ((labels == id) == (distances[:, head].numpy() > 0)).all()
            assert 0.02 < (labels == id).mean() < 0.6
        truth = np.full((SIDE,) * 3, np.nan)
        truth[:36] = signed_distance_mm(labels_of(row)[:36] == 3, (1.5, 1.5, 1.5))
        assert np.allclose(map_coordinates(truth, at, order=0, mode="nearest"), distances[:, 0], atol=STEP_MM)


def test_the_band_is_on_both_sides_of_the_boundary() -> None:
    sampler = PointSampler([samples_of("a", labels_of(0), [3], SIZE_MM)], CPU)
    batch = sampler.draw(3, 1, 4000, 0.7)
    distances = batch.distances_mm[0, :, 0]
    band, rest = distances[:2800], distances[2800:]
    assert (band.abs() < BAND_MM).all()
    assert 0.3 < (band > 0).float().mean() < 0.5
    assert (rest.abs() >= BAND_MM - STEP_MM).all()
    assert band.std() > 1


def test_a_draw_depends_on_seed_and_step_only(sampler: PointSampler) -> None:
    first = sampler.draw(7, 2, 100, 0.5)
    torch.manual_seed(1234)
    sampler.draw(8, 1, 64, 0.3)
    again = sampler.draw(7, 2, 100, 0.5)
    assert torch.equal(first.points, again.points)
    assert torch.equal(first.distances_mm, again.distances_mm)
    assert not torch.equal(first.points, sampler.draw(8, 2, 100, 0.5).points)
    cases = [samples_of(str(r), labels_of(r), [3, 5], SIZE_MM, far_share=0.9) for r in (0, 1)]
    assert torch.equal(first.points, PointSampler(cases, CPU, seed=1).draw(7, 2, 100, 0.5).points)
    assert not torch.equal(first.points, PointSampler(cases, CPU, seed=2).draw(7, 2, 100, 0.5).points)


def test_all_cases_are_drawn(sampler: PointSampler) -> None:
    drawn = torch.cat([sampler.draw(step, 1, 64, 0.5).cases for step in range(20)])
    assert set(drawn.tolist()) == {0, 1}


@pytest.mark.parametrize("band_share", [0.8, 0.5, 0.1])
def test_the_dice_of_the_whole_volume_is_estimated_without_bias(sampler: PointSampler, band_share: float) -> None:
    """The prediction is the reference shifted by two voxels; its Dice is known."""
    exact = []
    for id in (3, 5):
        both = total = 0
        for row in (0, 1):
            labels = labels_of(row)
            known = labels != UNKNOWN
            truth, guess = labels == id, np.roll(labels == id, 2, axis=0) & known
            both, total = both + 2 * (truth & guess).sum(), total + truth.sum() + guess.sum()
        exact.append(both / total)
    assert 0.3 < min(exact) < max(exact) < 0.9
    draws, guesses = [], []
    for step in range(30):
        batch = sampler.draw(step, 2, 4000, band_share)
        draws.append(batch)
        logits = torch.empty_like(batch.distances_mm)
        for row in (0, 1):
            at = ((batch.points[row].numpy() + 1) / 2 * SIDE - 0.5).T
            for head, id in enumerate((3, 5)):
                moved = np.roll(labels_of(row) == id, 2, axis=0)
                logits[row, :, head] = (
                    torch.from_numpy(map_coordinates(moved.astype(np.float32), at, order=0, mode="nearest")) - 0.5
                )
        guesses.append(logits)
    together = Batch(
        draws[0].cases,
        *(torch.cat([getattr(d, n) for d in draws], dim=1) for n in ("points", "distances_mm", "weights")),
    )
    assert whole_volume_dice(torch.cat(guesses, dim=1), together).tolist() == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize(("max_points", "error"), [(None, 0.02), (20_000, 0.15)])
def test_all_points_of_a_case_represent_its_volume(max_points: int | None, error: float) -> None:
    density = {"far_share": 0.9, "max_points": max_points}
    sampler = PointSampler([samples_of(str(r), labels_of(r), [3, 5], SIZE_MM, **density) for r in (0, 1)], CPU)
    for row in (0, 1):
        batch, labels = sampler.whole_case(row), labels_of(row)
        assert batch.cases.tolist() == [row] and batch.points.shape[1] == batch.weights.shape[1]
        for head, id in enumerate((3, 5)):
            share = float(((batch.distances_mm[..., head] > 0) * batch.weights).mean())
            assert share == pytest.approx((labels == id).sum() / (labels != UNKNOWN).sum(), rel=error)


def test_a_weighted_mean_is_a_mean_over_the_volume(sampler: PointSampler) -> None:
    shares = [(labels_of(r) == 3).sum() / (labels_of(r) != UNKNOWN).sum() for r in (0, 1)]
    batches = [sampler.draw(step, 2, 3000, 0.8) for step in range(20)]
    inside = torch.stack([((b.distances_mm[..., 0] > 0) * b.weights).mean(dim=1) for b in batches]).mean(dim=0)
    assert inside.tolist() == pytest.approx(shares, rel=0.05)
    assert batches[0].weights.mean(dim=1).tolist() == pytest.approx([1, 1])


def test_the_weighted_dice_equals_the_value_computed_by_hand() -> None:
    """Weights 1, 1, 2, 4: inside are points 1 and 2, predicted 1 and 3; the other head is empty in both."""
    batch = Batch(
        cases=torch.tensor([0]), points=torch.zeros(1, 4, 3), weights=torch.tensor([[1.0, 1.0, 2.0, 4.0]]),
        distances_mm=torch.tensor([[[1.0, -1.0], [1.0, -1.0], [-1.0, -1.0], [-1.0, -1.0]]]),
    )  # fmt: skip
    logits = torch.tensor([[[3.0, -1.0], [-3.0, -1.0], [2.0, -1.0], [-1.0, -1.0]]])
    assert whole_volume_dice(logits, batch).tolist() == pytest.approx([2 * 1 / (2 + 3), 1])


def test_a_case_without_a_band_and_a_case_with_nothing_else() -> None:
    empty = np.zeros((SIDE,) * 3, dtype=np.uint8)
    case = samples_of("a", empty, [3], SIZE_MM)
    assert case.band == 0
    batch = PointSampler([case], CPU).draw(0, 1, 200, 0.8)
    assert (batch.distances_mm == -127 * STEP_MM).all()
    assert (batch.weights[:, :160] == 0).all()
    tiny = np.zeros((4, 4, 4), dtype=np.uint8)
    tiny[:2] = 3
    case = samples_of("b", tiny, [3], (8.0, 8.0, 8.0))
    batch = PointSampler([case], CPU).draw(0, 1, 200, 0.5)
    assert batch.weights.isfinite().all()


def test_heads_are_selected_repeatedly_without_copying_points(sampler: PointSampler) -> None:
    points = sampler.point_set
    second = points.select_heads([1, 0]).select_heads([0])
    assert second.heads == 1
    index = torch.arange(0, len(points.voxels), 7)
    assert torch.equal(second.distances_mm(index), points.distances_mm(index)[:, 1:])
    assert torch.equal(second.encoded_distances(3, 9), points.encoded_distances(3, 9)[:, 1:])
    torch.testing.assert_close(second.volumes(), points.volumes()[:, 1:])
    assert torch.equal(second.present, points.present[:, 1:])
    assert second.distances is points.distances
