"""What a fit makes small, by name. Each takes logits (case, point, head) and a batch and gives a scalar.

Every mean is a quotient of two sums, which `across` adds up over the processes of a fit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from heartmend.errors import ConfigError
from heartmend.training.joint_training import joint
from heartmend.training.point_sampler import Across, Batch, alone

Loss = Callable[..., Tensor]
FOCAL_GAMMA = 4.0


def surface_distance(logits: Tensor, batch: Batch, across: Across = alone, *, tolerance_mm: float = 2.0) -> Tensor:
    """Mean |logit - signed distance| in mm, each point counting the more the nearer it is to the boundary.

    The logit of such a shape is a signed distance in mm. The absolute error makes the fit a median: a leak or an
    island in a few cases is outvoted and does not pull (weight exp(-|d| / tolerance) plus a little for the rest).
    """
    weights = torch.exp(-batch.distances_mm.abs() / tolerance_mm) + 0.02
    apart, weight = across(torch.stack([((logits - batch.distances_mm).abs() * weights).sum(), weights.sum()]))
    return apart / weight


def dice(logits: Tensor, batch: Batch, across: Across = alone) -> Tensor:
    """1 - soft Dice of each head over the drawn points, averaged over the heads (Milletari et al., 3DV 2016)."""
    inside = (batch.distances_mm > 0).to(logits.dtype)
    chance = logits.sigmoid()
    both, guess, truth = across(torch.stack([part.sum(dim=(0, 1)) for part in (chance * inside, chance, inside)]))
    return 1 - ((2 * both + 1) / (guess + truth + 1)).mean()


def focal(logits: Tensor, batch: Batch, across: Across = alone, *, gamma: float = FOCAL_GAMMA) -> Tensor:
    """Cross entropy that forgets the points it is sure of (Lin et al., ICCV 2017)."""
    inside = (batch.distances_mm > 0).to(logits.dtype)
    entropy = F.binary_cross_entropy_with_logits(logits, inside, reduction="none")
    return _mean(entropy * (1 - torch.exp(-entropy)) ** gamma, across)


def cross_entropy(logits: Tensor, batch: Batch, across: Across = alone) -> Tensor:
    """Binary cross entropy of each head."""
    inside = (batch.distances_mm > 0).to(logits.dtype)
    return _mean(F.binary_cross_entropy_with_logits(logits, inside, reduction="none"), across)


def dice_focal(logits: Tensor, batch: Batch, across: Across = alone) -> Tensor:
    """0.7 Dice + 0.3 focal: what the reference project fits with."""
    return 0.7 * dice(logits, batch, across) + 0.3 * focal(logits, batch, across)


def _mean(values: Tensor, across: Across) -> Tensor:
    total, count = across(torch.stack([values.sum(), values.new_full((), values.numel())]))
    return total / count


LOSSES: dict[str, Loss] = {"dice_focal": dice_focal, "dice": dice, "focal": focal, "bce": cross_entropy,
                           "surface_distance": surface_distance, "joint": joint}  # fmt: skip


def loss_by_name(name: str, tolerance_mm: float = 2.0) -> Loss:
    """The loss of that name; ConfigError, listing the names, when there is none."""
    if name not in LOSSES:
        raise ConfigError(f"no loss is called {name!r}; there are {', '.join(LOSSES)}")
    if name in ("surface_distance", "joint"):
        return partial(LOSSES[name], tolerance_mm=tolerance_mm)
    return LOSSES[name]


@torch.no_grad()
def whole_volume_dice(logits: Tensor, batch: Batch, across: Across = alone) -> Tensor:
    """(head,): hard Dice over the whole volume, estimated without bias from points that were drawn with one."""
    inside, guess = batch.distances_mm > 0, logits > 0
    weights = batch.weights[..., None]
    both, truth, guessed = across(
        torch.stack([(part * weights).sum(dim=(0, 1)) for part in (inside & guess, inside, guess)])
    )
    total = truth + guessed
    return torch.where(total > 0, 2 * both / total.clamp(min=1e-9), torch.ones_like(total))
