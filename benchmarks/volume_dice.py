"""Dice of a fitted shape over a whole volume, on the device of the shape."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from heartmend.models.base import Codes, Shape
from heartmend.models.feature_table import cell_centres
from heartmend.types import UNKNOWN

SLAB = 16
"""Planes of the volume that are evaluated at once."""


@torch.no_grad()
def compute_volume_dice(shape: Shape, code: Codes, labels: Tensor, ids: Sequence[int]) -> Tensor:
    """Compute the Dice of one case's shape over all known cells of its cube.

    Args:
        shape: the fitted shape.
        code: the code of the case (tensors whose first axis has length 1).
        labels: (n, n, n) uint8 labels in the unit frame, on the device of the code; `UNKNOWN` cells do not count.
        ids: label id of each head.

    Returns:
        (heads,) float64 Dice; 1 where a structure is absent in both.
    """
    axis, slab = cell_centres(len(labels), labels.device), SLAB if shape.pointwise else len(labels)
    wanted = torch.tensor(list(ids), device=labels.device)[:, None, None, None]
    both = torch.zeros(len(ids), dtype=torch.int64, device=labels.device)
    total = torch.zeros_like(both)
    for x, part in zip(axis.split(slab), labels.split(slab), strict=True):
        reference, predicted = part == wanted, (shape.on_lattice((x, axis, axis), code) > 0) & (part != UNKNOWN)
        both += (reference & predicted).sum(dim=(1, 2, 3))
        total += reference.sum(dim=(1, 2, 3)) + predicted.sum(dim=(1, 2, 3))
    return torch.where(total > 0, 2 * both.double() / total.clamp(min=1), 1.0)
