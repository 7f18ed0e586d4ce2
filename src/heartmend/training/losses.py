"""Loss functions by name. Each takes logits (case, point, head) and a batch and returns a scalar.

Every mean is a quotient of two sums, which `sum_over_processes` adds up over the processes of a fit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from heartmend.errors import ConfigError
from heartmend.training.joint_training import joint
from heartmend.training.point_sampler import Batch, SumOverProcesses, local_sum

Loss = Callable[..., Tensor]
FOCAL_GAMMA = 4.0


def surface_distance(
    logits: Tensor, batch: Batch, sum_over_processes: SumOverProcesses = local_sum, *, tolerance_mm: float = 2.0
) -> Tensor:
    """Compute the weighted mean absolute error of the signed distance, in mm.

    A point's weight is exp(-|distance| / tolerance) + 0.02, so points near the boundary dominate. The absolute error
    makes the fit a median over the cases: a leak or a false component in a few cases has no influence.

    Args:
        logits: (b, p, heads) predicted signed distances in mm, positive inside.
        batch: the sampled points.
        sum_over_processes: sums a tensor over the processes of the fit.
        tolerance_mm: decay length of the weight, in mm.

    Returns:
        The loss in mm, a scalar.
    """
    weights = torch.exp(-batch.distances_mm.abs() / tolerance_mm) + 0.02
    error, weight = sum_over_processes(
        torch.stack([((logits - batch.distances_mm).abs() * weights).sum(), weights.sum()])
    )
    return error / weight


def dice(logits: Tensor, batch: Batch, sum_over_processes: SumOverProcesses = local_sum) -> Tensor:
    """Compute 1 - soft Dice over the sampled points, averaged over the heads (Milletari et al., V-Net, 3DV 2016).

    Args:
        logits: (b, p, heads) log odds of being inside.
        batch: the sampled points.
        sum_over_processes: sums a tensor over the processes of the fit.

    Returns:
        The loss in [0, 1], a scalar.
    """
    inside = (batch.distances_mm > 0).to(logits.dtype)
    probability = logits.sigmoid()
    both, predicted, reference = sum_over_processes(
        torch.stack([part.sum(dim=(0, 1)) for part in (probability * inside, probability, inside)])
    )
    return 1 - ((2 * both + 1) / (predicted + reference + 1)).mean()


def focal(
    logits: Tensor, batch: Batch, sum_over_processes: SumOverProcesses = local_sum, *, gamma: float = FOCAL_GAMMA
) -> Tensor:
    """Compute the focal loss, a cross entropy that down-weights well classified points (Lin et al., ICCV 2017).

    Args:
        logits: (b, p, heads) log odds of being inside.
        batch: the sampled points.
        sum_over_processes: sums a tensor over the processes of the fit.
        gamma: exponent of the weight.

    Returns:
        The loss, a scalar.
    """
    inside = (batch.distances_mm > 0).to(logits.dtype)
    entropy = F.binary_cross_entropy_with_logits(logits, inside, reduction="none")
    return _mean(entropy * (1 - torch.exp(-entropy)) ** gamma, sum_over_processes)


def cross_entropy(logits: Tensor, batch: Batch, sum_over_processes: SumOverProcesses = local_sum) -> Tensor:
    """Compute the mean binary cross entropy of the heads.

    Args:
        logits: (b, p, heads) log odds of being inside.
        batch: the sampled points.
        sum_over_processes: sums a tensor over the processes of the fit.

    Returns:
        The loss, a scalar.
    """
    inside = (batch.distances_mm > 0).to(logits.dtype)
    return _mean(F.binary_cross_entropy_with_logits(logits, inside, reduction="none"), sum_over_processes)


def dice_focal(logits: Tensor, batch: Batch, sum_over_processes: SumOverProcesses = local_sum) -> Tensor:
    """Compute 0.7 Dice + 0.3 focal loss, the loss of the reference project.

    Args:
        logits: (b, p, heads) log odds of being inside.
        batch: the sampled points.
        sum_over_processes: sums a tensor over the processes of the fit.

    Returns:
        The loss, a scalar.
    """
    return 0.7 * dice(logits, batch, sum_over_processes) + 0.3 * focal(logits, batch, sum_over_processes)


def _mean(values: Tensor, sum_over_processes: SumOverProcesses) -> Tensor:
    total, count = sum_over_processes(torch.stack([values.sum(), values.new_full((), values.numel())]))
    return total / count


LOSSES: dict[str, Loss] = {"dice_focal": dice_focal, "dice": dice, "focal": focal, "bce": cross_entropy,
                           "surface_distance": surface_distance, "joint": joint}  # fmt: skip


def loss_by_name(name: str, tolerance_mm: float = 2.0) -> Loss:
    """Return a loss function.

    Args:
        name: a key of `LOSSES`.
        tolerance_mm: decay length of the weights of the losses of a distance, in mm.

    Returns:
        The loss `(logits, batch, sum_over_processes) -> scalar`.

    Raises:
        ConfigError: if no loss has this name.
    """
    if name not in LOSSES:
        raise ConfigError(f"unknown loss {name!r}; choose one of {', '.join(LOSSES)}")
    if name in ("surface_distance", "joint"):
        return partial(LOSSES[name], tolerance_mm=tolerance_mm)
    return LOSSES[name]


@torch.no_grad()
def whole_volume_dice(logits: Tensor, batch: Batch, sum_over_processes: SumOverProcesses = local_sum) -> Tensor:
    """Estimate the Dice over the whole volume from the sampled points, without the bias of the sampling.

    Args:
        logits: (b, p, heads) logits, positive inside.
        batch: the sampled points with their weights.
        sum_over_processes: sums a tensor over the processes of the fit.

    Returns:
        (heads,) Dice; 1 where a structure is absent in both.
    """
    inside, guess = batch.distances_mm > 0, logits > 0
    weights = batch.weights[..., None]
    both, reference, predicted = sum_over_processes(
        torch.stack([(part * weights).sum(dim=(0, 1)) for part in (inside & guess, inside, guess)])
    )
    total = reference + predicted
    return torch.where(total > 0, 2 * both / total.clamp(min=1e-9), torch.ones_like(total))
