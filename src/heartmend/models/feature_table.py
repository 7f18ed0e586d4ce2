"""Reading dense tables of features at points: the one interpolation that every shape here uses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def read_table(table: Tensor, points: Tensor, side: int, first_row: Tensor | None = None) -> Tensor:
    """Trilinear values of a cubic table at points of the unit frame.

    table: (side³ [times the tables stacked], features), rows in C order of (x, y, z); points: (n, 3), -1 and 1 being
    the outer faces of the cube; beyond the outermost cell centres the border holds. first_row: (n,) where the table
    of each point begins when several are stacked. Returns (n, features), differentiable in table and points.
    """
    rows, weights = corners(points, side)
    return read_rows(table, rows if first_row is None else rows + first_row[:, None], weights)


def read_rows(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """(n, features): the sum of eight rows (n, 8) of a table, each times its weight (n, 8).

    One row holds all features of a cell, so a point costs eight short reads whatever the number of heads.
    """
    return F.embedding_bag(rows, table, per_sample_weights=weights.to(table.dtype), mode="sum")


def corners(points: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The eight cells (n, 8) of a cube of `side` a side that a point (n, 3) lies between, and their weights (n, 8)."""
    at = ((points + 1) * (side / 2) - 0.5).clamp(0, side - 1.001)
    # A point that is no number reads row 0 and stays no number through its weights: a fit then ends with its own error.
    cell = at.detach().floor().nan_to_num_(0)
    high = at - cell
    x, y, z = torch.stack([1 - high, high], dim=2).unbind(1)
    weights = (x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, :]).reshape(-1, 8)
    i, j, k = cell.long().unbind(1)
    row = (i * side + j) * side + k
    bit = torch.arange(2, device=points.device)
    offsets = ((bit[:, None, None] * side + bit[:, None]) * side + bit).reshape(8)
    return row[:, None] + offsets, weights


def resized_table(table: Tensor, side: int, new_side: int) -> Tensor:
    """The same function on a table of another resolution: (side³, features) to (new_side³, features)."""
    if side == new_side:
        return table
    cube = table.reshape(side, side, side, -1).permute(3, 0, 1, 2)[None]
    cube = F.interpolate(cube, size=(new_side,) * 3, mode="trilinear", align_corners=False)
    return cube[0].permute(1, 2, 3, 0).reshape(new_side**3, -1).contiguous()


def cell_centres(side: int, device: torch.device | None = None) -> Tensor:
    """The unit coordinates (side,) of the centres of `side` equal cells between the faces -1 and 1."""
    return (torch.arange(side, device=device) + 0.5) * (2 / side) - 1
