"""Stratified sampling of all structures, and the joint loss."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from heartmend.models.code_book import CodeBook
from heartmend.models.label_decision import LOGISTIC_SCALE_MM
from heartmend.models.template import TemplateShape
from heartmend.training.joint_training import (
    ENTROPY_WEIGHT,
    FINE_MM,
    FINE_SHARE,
    JointBatch,
    JointSampler,
    joint,
    shape_as_teacher,
)
from heartmend.training.losses import loss_by_name, whole_volume_dice
from heartmend.training.point_sampler import Batch
from heartmend.training.sampling import CaseSamples
from support.hearts import samples_of, small_heart

IDS = (3, 5, 9)
CPU = torch.device("cpu")


def heart(seed: int, vessel: bool = True) -> np.ndarray:
    """Make LV and RV, and a vessel of twenty voxels."""
    labels = small_heart(seed)
    if vessel:
        labels[5:25, 27, 27] = 9
    return labels


@pytest.fixture(scope="module")
def cases() -> list[CaseSamples]:
    return [samples_of("a", heart(1), IDS, far_share=0.2), samples_of("b", heart(2, vessel=False), IDS, far_share=0.2)]


def test_a_small_structure_gets_as_many_points_as_a_large_one(cases: list[CaseSamples]) -> None:
    sampler = JointSampler(cases[:1], CPU, positives=80)
    batch = sampler.draw(0, 4, 1000, 0.8)
    assert batch.points.shape == (1, 1000, 3)
    inside = (batch.distances_mm[0] > 0).sum(dim=0)
    assert (inside >= 80).all()
    # Uniform sampling would draw its 20 of 32,768 voxels once in two thousand points.
    assert (heart(1) == 9).sum() == 20


def test_a_long_and_a_short_vessel_get_equal_shares() -> None:
    """Points near fine structures are divided by structure, not by surface area."""
    labels = heart(1)
    labels[4:6, 4, 4] = 7
    case = samples_of("a", labels, (*IDS, 7), far_share=0.2)
    batch = JointSampler([case], CPU, positives=4).draw(0, 1, 2000, 0.8)
    near = (batch.distances_mm[0].abs() < FINE_MM).sum(dim=0)
    assert (near[[2, 3]] >= FINE_SHARE * 2000 / 2).all()
    assert near[2] < 1.25 * near[3]


def test_a_case_without_the_structure_contributes_other_points(cases: list[CaseSamples]) -> None:
    batch = JointSampler(cases, CPU, positives=100).draw(3, 4, 600, 0.8)
    assert (batch.distances_mm[1, :, 2] < 0).all()
    assert batch.present.tolist() == [[True, True, True], [True, True, False]]
    assert batch.points.abs().max() < 1


@pytest.mark.parametrize("points", [64, 250, 2500])
def test_points_of_the_band_are_drawn_with_few_cases(cases: list[CaseSamples], points: int) -> None:
    """The positives of a single case would take all points; their number is limited."""
    batch = JointSampler(cases[:1], CPU, positives=100_000).draw(0, 4, points, 0.8)
    assert batch.points.shape == (1, points, 3)
    outside = (batch.distances_mm[0] <= 0).all(dim=-1) & (batch.distances_mm[0].abs() < 4).any(dim=-1)
    assert outside.sum() >= 0.05 * points


def test_labels_at_the_points_are_those_of_the_label_map(cases: list[CaseSamples]) -> None:
    batch = JointSampler(cases, CPU, positives=100).draw(1, 4, 600, 0.8)
    for row, labels in enumerate((heart(1), heart(2, vessel=False))):
        i, j, k = ((batch.points[row] + 1) * 16).long().unbind(1)
        found = labels[i, j, k]
        for head, id in enumerate(IDS):
            assert ((batch.distances_mm[row, :, head] > 0).numpy() == (found == id)).all()


def test_a_draw_depends_on_seed_and_step_only(cases: list[CaseSamples]) -> None:
    one, two = (JointSampler(cases, CPU, seed=5) for _ in range(2))
    assert torch.equal(one.draw(7, 4, 300, 0.8).points, two.draw(7, 4, 300, 0.8).points)
    assert not torch.equal(one.draw(8, 4, 300, 0.8).points, two.draw(7, 4, 300, 0.8).points)


def test_weights_correct_the_sampling_bias(cases: list[CaseSamples]) -> None:
    """A weighted mean is a mean over the whole volume, though a third of the points are near the vessel."""
    sampler = JointSampler(cases[:1], CPU, positives=200)
    shares = np.zeros(3)
    for step in range(60):
        batch = sampler.draw(step, 1, 1500, 0.8)
        inside = (batch.distances_mm[0] > 0).float()
        shares += ((inside * batch.weights[0][:, None]).mean(dim=0)).numpy() / 60
    true = [(heart(1) == id).mean() for id in IDS]
    assert shares == pytest.approx(true, rel=0.06)
    batch = sampler.draw(0, 1, 1500, 0.8)
    assert whole_volume_dice(batch.distances_mm, batch).tolist() == [1, 1, 1]


def test_alpha_is_the_capped_inverse_volume(cases: list[CaseSamples]) -> None:
    alphas = JointSampler(cases, CPU).draw(0, 2, 100, 0.8).alphas
    volumes = sum(np.array([(heart(n, v) == id).sum() for id in IDS], dtype=float) for n, v in ((1, True), (2, False)))
    assert alphas[2] == 4
    assert (alphas[0] / alphas[1]).item() == pytest.approx(volumes[1] / volumes[0], rel=0.05)


def batch_of(
    distances: list[float], present: bool = True, teacher_mm: float | None = None, teacher_weight: float = 0.0
) -> JointBatch:
    d = torch.tensor(distances)[None, :, None]
    return JointBatch(
        torch.tensor([0]), torch.zeros(1, len(distances), 3), d, torch.ones(1, len(distances)),
        torch.tensor([[present]]), torch.tensor([2.0]), None if teacher_mm is None else torch.full_like(d, teacher_mm),
        torch.tensor([teacher_weight]),
    )  # fmt: skip


def test_the_loss_equals_the_value_computed_by_hand() -> None:
    batch = batch_of([1.0, -1.0])
    logits = torch.tensor([[[0.5], [-1.0]]])
    # Both points have the same weight, so an error of 0.5 mm at one is 0.25 mm on average.
    entropy = (math.log1p(math.exp(-0.5 / LOGISTIC_SCALE_MM)) + math.log1p(math.exp(-1 / LOGISTIC_SCALE_MM))) / 2
    assert joint(logits, batch).item() == pytest.approx(0.25 + ENTROPY_WEIGHT * entropy, rel=1e-5)
    assert loss_by_name("joint", 3.0)(logits, batch).item() == pytest.approx(joint(logits, batch).item(), rel=1e-5)


def test_an_absent_structure_does_not_contribute() -> None:
    logits = torch.tensor([[[5.0], [3.0]]], requires_grad=True)
    loss = joint(logits, batch_of([-8.0, -8.0], present=False))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_the_teacher_adds_the_cross_entropy_with_its_probability() -> None:
    logits = torch.tensor([[[0.1], [0.1]]], requires_grad=True)
    plain = joint(logits, batch_of([1.0, 1.0], teacher_mm=-1.0, teacher_weight=0.0))
    with_teacher = joint(logits, batch_of([1.0, 1.0], teacher_mm=-1.0, teacher_weight=2.0))
    log_odds = logits.detach() / LOGISTIC_SCALE_MM
    probability = torch.full_like(log_odds, -1 / LOGISTIC_SCALE_MM).sigmoid()
    entropy = F.binary_cross_entropy_with_logits(log_odds, probability)
    assert (with_teacher - plain).item() == pytest.approx(ENTROPY_WEIGHT * 2 * entropy.item() / 2, rel=1e-5)
    without = joint(logits, batch_of([1.0, 1.0], teacher_mm=float("nan"), teacher_weight=2.0))
    without.backward()
    assert torch.isfinite(logits.grad).all()


def test_another_batch_raises_an_error(cases: list[CaseSamples]) -> None:
    batch = JointSampler(cases, CPU).draw(0, 2, 50, 0.8)
    other = Batch(batch.cases, batch.points, batch.distances_mm, batch.weights)
    with pytest.raises(TypeError, match="JointSampler"):
        joint(batch.distances_mm, other)


def test_a_shape_as_teacher_predicts_its_own_heads_for_each_case(cases: list[CaseSamples]) -> None:
    shape = TemplateShape(("LV", "RV"), side=8, controls=5)
    with torch.no_grad():
        shape.table.copy_(torch.randn(shape.table.shape, generator=torch.Generator().manual_seed(0)))
    codes = shape.new_codes(2)
    codes["affine"][1, 0, 3] = 0.3
    teacher = shape_as_teacher(shape, CodeBook(["a", "b"], codes), [0, 1], 3, CPU)
    batch = JointSampler(cases, CPU, teacher=teacher, teacher_weights=[1, 1, 0]).draw(0, 2, 100, 0.8)
    assert batch.teacher_mm is not None
    assert batch.teacher_mm[..., 2].isnan().all()
    torch.testing.assert_close(batch.teacher_mm[..., :2], shape(batch.points, codes), rtol=1e-5, atol=1e-5)
