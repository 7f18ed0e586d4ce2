"""Points from which every structure has its say, and the loss over all heads."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from heartmend.models.code_book import CodeBook
from heartmend.models.label_decision import SURE_MM
from heartmend.models.template import TemplateShape
from heartmend.training.case_samples import CaseSamples
from heartmend.training.joint_training import (
    ENTROPY_SHARE,
    FINE_MM,
    FINE_SHARE,
    JointBatch,
    JointSampler,
    joint,
    shape_as_teacher,
)
from heartmend.training.losses import loss_by_name, whole_volume_dice
from heartmend.training.point_sampler import Batch
from support.hearts import small_heart, target_of

IDS = (3, 5, 9)
CPU = torch.device("cpu")


def heart(seed: int, vessel: bool = True) -> np.ndarray:
    """LV and RV, and a vessel of a few dozen voxels."""
    labels = small_heart(seed)
    if vessel:
        labels[5:25, 27, 27] = 9
    return labels


@pytest.fixture(scope="module")
def targets() -> list[CaseSamples]:
    return [target_of("a", heart(1), IDS, far_share=0.2), target_of("b", heart(2, vessel=False), IDS, far_share=0.2)]


def test_a_small_structure_gets_as_many_points_as_a_large_one(targets: list[CaseSamples]) -> None:
    sampler = JointSampler(targets[:1], CPU, positives=80)
    batch = sampler.draw(0, 4, 1000, 0.8)
    assert batch.points.shape == (1, 1000, 3)
    inside = (batch.distances_mm[0] > 0).sum(dim=0)
    assert (inside >= 80).all()
    # 20 of 32,768 voxels would come once in two thousand points.
    assert (heart(1) == 9).sum() == 20


def test_a_long_vessel_leaves_a_short_one_its_share() -> None:
    """Points about the surfaces of fine structures are dealt out by structure, not by how much surface there is."""
    labels = heart(1)
    labels[4:6, 4, 4] = 7
    target = target_of("a", labels, (*IDS, 7), far_share=0.2)
    batch = JointSampler([target], CPU, positives=4).draw(0, 1, 2000, 0.8)
    about = (batch.distances_mm[0].abs() < FINE_MM).sum(dim=0)
    assert (about[[2, 3]] >= FINE_SHARE * 2000 / 2).all()
    assert about[2] < 1.25 * about[3]


def test_a_case_without_the_structure_gives_other_points(targets: list[CaseSamples]) -> None:
    batch = JointSampler(targets, CPU, positives=100).draw(3, 4, 600, 0.8)
    assert (batch.distances_mm[1, :, 2] < 0).all()
    assert batch.present.tolist() == [[True, True, True], [True, True, False]]
    assert batch.points.abs().max() < 1


@pytest.mark.parametrize("points", [64, 250, 2500])
def test_few_cases_leave_points_for_the_band(targets: list[CaseSamples], points: int) -> None:
    """A single case would have all of the positives; it gets what room there is."""
    batch = JointSampler(targets[:1], CPU, positives=100_000).draw(0, 4, points, 0.8)
    assert batch.points.shape == (1, points, 3)
    outside = (batch.distances_mm[0] <= 0).all(dim=-1) & (batch.distances_mm[0].abs() < 4).any(dim=-1)
    assert outside.sum() >= 0.05 * points


def test_the_labels_at_the_points_are_those_of_the_map(targets: list[CaseSamples]) -> None:
    batch = JointSampler(targets, CPU, positives=100).draw(1, 4, 600, 0.8)
    for row, labels in enumerate((heart(1), heart(2, vessel=False))):
        i, j, k = ((batch.points[row] + 1) * 16).long().unbind(1)
        there = labels[i, j, k]
        for head, id in enumerate(IDS):
            assert ((batch.distances_mm[row, :, head] > 0).numpy() == (there == id)).all()


def test_a_draw_depends_on_seed_and_step_alone(targets: list[CaseSamples]) -> None:
    one, two = (JointSampler(targets, CPU, seed=5) for _ in range(2))
    assert torch.equal(one.draw(7, 4, 300, 0.8).points, two.draw(7, 4, 300, 0.8).points)
    assert not torch.equal(one.draw(8, 4, 300, 0.8).points, two.draw(7, 4, 300, 0.8).points)


def test_weights_undo_the_bias(targets: list[CaseSamples]) -> None:
    """A mean with the weights is one over the whole volume, though a third of the points lie about the vessel."""
    sampler = JointSampler(targets[:1], CPU, positives=200)
    shares = np.zeros(3)
    for step in range(60):
        batch = sampler.draw(step, 1, 1500, 0.8)
        inside = (batch.distances_mm[0] > 0).float()
        shares += ((inside * batch.weights[0][:, None]).mean(dim=0)).numpy() / 60
    true = [(heart(1) == id).mean() for id in IDS]
    assert shares == pytest.approx(true, rel=0.06)
    batch = sampler.draw(0, 1, 1500, 0.8)
    assert whole_volume_dice(batch.distances_mm, batch).tolist() == [1, 1, 1]


def test_alpha_is_one_over_the_volume_capped(targets: list[CaseSamples]) -> None:
    alphas = JointSampler(targets, CPU).draw(0, 2, 100, 0.8).alphas
    volumes = sum(np.array([(heart(n, v) == id).sum() for id in IDS], dtype=float) for n, v in ((1, True), (2, False)))
    assert alphas[2] == 4
    assert (alphas[0] / alphas[1]).item() == pytest.approx(volumes[1] / volumes[0], rel=0.05)


def batch_of(
    distances: list[float], present: bool = True, taught: float | None = None, teaching: float = 0.0
) -> JointBatch:
    d = torch.tensor(distances)[None, :, None]
    return JointBatch(
        torch.tensor([0]), torch.zeros(1, len(distances), 3), d, torch.ones(1, len(distances)),
        torch.tensor([[present]]), torch.tensor([2.0]), None if taught is None else torch.full_like(d, taught),
        torch.tensor([teaching]),
    )  # fmt: skip


def test_the_loss_by_hand() -> None:
    batch = batch_of([1.0, -1.0])
    logits = torch.tensor([[[0.5], [-1.0]]])
    # Both points fuse_shape_and_label the same, so half a millimetre at one is a quarter on average.
    entropy = (math.log1p(math.exp(-0.5 / SURE_MM)) + math.log1p(math.exp(-1 / SURE_MM))) / 2
    assert joint(logits, batch).item() == pytest.approx(0.25 + ENTROPY_SHARE * entropy, rel=1e-5)
    assert loss_by_name("joint", 3.0)(logits, batch).item() == pytest.approx(joint(logits, batch).item(), rel=1e-5)


def test_an_absent_structure_teaches_nothing() -> None:
    logits = torch.tensor([[[5.0], [3.0]]], requires_grad=True)
    loss = joint(logits, batch_of([-8.0, -8.0], present=False))
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_stage_1_pulls_towards_its_own_probability() -> None:
    logits = torch.tensor([[[0.1], [0.1]]], requires_grad=True)
    plain = joint(logits, batch_of([1.0, 1.0], taught=-1.0, teaching=0.0))
    taught = joint(logits, batch_of([1.0, 1.0], taught=-1.0, teaching=2.0))
    odds = logits.detach() / SURE_MM
    lesson = F.binary_cross_entropy_with_logits(odds, torch.full_like(odds, -1 / SURE_MM).sigmoid())
    assert (taught - plain).item() == pytest.approx(ENTROPY_SHARE * 2 * lesson.item() / 2, rel=1e-5)
    silent = joint(logits, batch_of([1.0, 1.0], taught=float("nan"), teaching=2.0))
    silent.backward()
    assert torch.isfinite(logits.grad).all()


def test_other_batches_are_refused(targets: list[CaseSamples]) -> None:
    batch = JointSampler(targets, CPU).draw(0, 2, 50, 0.8)
    other = Batch(batch.cases, batch.points, batch.distances_mm, batch.weights)
    with pytest.raises(TypeError, match="JointSampler"):
        joint(batch.distances_mm, other)


def test_a_shape_teaches_its_own_heads_of_each_case_its_own(targets: list[CaseSamples]) -> None:
    shape = TemplateShape(("LV", "RV"), side=8, controls=5)
    with torch.no_grad():
        shape.table.copy_(torch.randn(shape.table.shape, generator=torch.Generator().manual_seed(0)))
    codes = shape.new_codes(2)
    codes["affine"][1, 0, 3] = 0.3
    teacher = shape_as_teacher(shape, CodeBook(["a", "b"], codes), [0, 1], 3, CPU)
    batch = JointSampler(targets, CPU, teacher=teacher, teaching=[1, 1, 0]).draw(0, 2, 100, 0.8)
    assert batch.taught_mm is not None
    assert batch.taught_mm[..., 2].isnan().all()
    torch.testing.assert_close(batch.taught_mm[..., :2], shape(batch.points, codes), rtol=1e-5, atol=1e-5)
