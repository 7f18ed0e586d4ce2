"""Dice of a fitted shape over whole volumes, on the device where it is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from heartmend.models.base import Codes, Shape
from heartmend.models.feature_table import cell_centres
from heartmend.types import UNKNOWN

SLAB = 16
"""Planes of a volume that are asked at once."""


@torch.no_grad()
def dice_of_volume(shape: Shape, code: Codes, labels: Tensor, ids: Sequence[int]) -> Tensor:
    """(head,) float64: Dice of one case's shape against the cells of its cube that are not `UNKNOWN`; 1 where neither
    shows anything.

    labels: (n, n, n) on the device of the code; ids: of the heads. Of many cases only sums come back from the device.
    """
    axis, slab = cell_centres(len(labels), labels.device), SLAB if shape.pointwise else len(labels)
    wanted = torch.tensor(list(ids), device=labels.device)[:, None, None, None]
    both = torch.zeros(len(ids), dtype=torch.int64, device=labels.device)
    total = torch.zeros_like(both)
    for x, shown in zip(axis.split(slab), labels.split(slab), strict=True):
        truth, guess = shown == wanted, (shape.on_lattice((x, axis, axis), code) > 0) & (shown != UNKNOWN)
        both += (truth & guess).sum(dim=(1, 2, 3))
        total += truth.sum(dim=(1, 2, 3)) + guess.sum(dim=(1, 2, 3))
    return torch.where(total > 0, 2 * both.double() / total.clamp(min=1), 1.0)
