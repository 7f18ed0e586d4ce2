"""Trilinear interpolation of dense tables of features."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def read_table(table: Tensor, points: Tensor, side: int, first_row: Tensor | None = None) -> Tensor:
    """Interpolate a cubic table at points of the unit frame, differentiable in both.

    Beyond the outermost cell centres the value at the border is used.

    Args:
        table: (side³, features), rows in C order of (x, y, z); or several such tables, one after the other.
        points: (n, 3) unit coordinates; -1 and 1 are the outer faces of the cube.
        side: cells along each axis.
        first_row: (n,) int64, first row of the table of each point, where there are several.

    Returns:
        (n, features) interpolated values.

    Example:
        >>> table = torch.arange(8.0)[:, None]
        >>> read_table(table, torch.tensor([[0.0, 0.0, 0.0]]), side=2).item()
        3.5
    """
    rows, weights = corners(points, side)
    return read_rows(table, rows if first_row is None else rows + first_row[:, None], weights)


def read_rows(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Compute weighted sums of eight rows of a table.

    One row contains all features of a cell, so a point needs eight short reads for any number of features.

    Args:
        table: (rows, features).
        rows: (n, 8) int64.
        weights: (n, 8).

    Returns:
        (n, features) weighted sums.
    """
    weights = weights.to(table.dtype)
    if table.device.type == "cpu" and torch.is_grad_enabled():
        result: Tensor = _ReadRows.apply(table, rows, weights)  # type: ignore[no-untyped-call]
        return result
    return _weighted_sums(table, rows, weights)


def _weighted_sums(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    return F.embedding_bag(rows, table, per_sample_weights=weights, mode="sum")


class _ReadRows(torch.autograd.Function):
    """`read_rows` on a CPU, whose gradient is a product with a sparse matrix.

    The gradient of `embedding_bag` sorts all rows first, and takes the weights one by one: four times the time.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(table, rows, weights)
        return _weighted_sums(table, rows, weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        from scipy.sparse import csr_array

        (table, rows, weights), (gradient,) = ctx.saved_tensors, gradients
        of_table = of_weights = None
        if ctx.needs_input_grad[0]:
            count, corner_count = rows.shape
            # 32 bits, the index type of SciPy's kernels; a step has fewer rows than that.
            ends = np.arange(count + 1, dtype=np.int32) * np.int32(corner_count)
            read = (weights.reshape(-1).numpy(), rows.reshape(-1).int().numpy(), ends)
            of_table = torch.from_numpy(csr_array(read, shape=(count, len(table))).T @ gradient.contiguous().numpy())
        if ctx.needs_input_grad[2]:
            values = table.index_select(0, rows.reshape(-1)).reshape(*rows.shape, table.shape[1])
            of_weights = torch.bmm(values, gradient[:, :, None])[:, :, 0]
        return of_table, None, of_weights


def corners(points: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Compute the eight cells around each point and their trilinear weights.

    Args:
        points: (n, 3) unit coordinates.
        side: cells along each axis.

    Returns:
        Rows (n, 8) int64 of the cells, and weights (n, 8) that sum to 1.
    """
    at = ((points + 1) * (side / 2) - 0.5).clamp(0, side - 1.001)
    # A NaN point reads row 0 and stays NaN by its weights, so that a fit ends with its own error message.
    cell = at.detach().floor().nan_to_num_(0)
    high = at - cell
    i, j, k = cell.long().unbind(1)
    row = (i * side + j) * side + k
    bit = torch.arange(2, device=points.device)
    offsets = ((bit[:, None, None] * side + bit[:, None]) * side + bit).reshape(8)
    return row[:, None] + offsets, _trilinear_weights(high) if torch.is_grad_enabled() else _columns_of_weights(high)


def _trilinear_weights(high: Tensor) -> Tensor:
    """Weights (n, 8) of the corners of a cell at places (n, 3) in it, 0 to 1."""
    x, y, z = torch.stack([1 - high, high], dim=2).unbind(1)
    return (x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, :]).reshape(-1, 8)


def _columns_of_weights(high: Tensor) -> Tensor:
    """The same without a gradient, column by column: loops over n points are several times faster than loops over 2."""
    high = high.T.contiguous()
    weights = high.new_empty(high.shape[1], 8)
    column = iter(weights.unbind(1))
    (x, y, z) = zip(1 - high, high, strict=True)
    for a in x:
        for b in y:
            of_both = a * b
            for c in z:
                torch.mul(of_both, c, out=next(column))
    return weights


def resample_table(table: Tensor, side: int, new_side: int) -> Tensor:
    """Resample a table to another resolution.

    Args:
        table: (side³, features).
        side: cells along each axis.
        new_side: cells along each axis of the result.

    Returns:
        (new_side³, features) trilinear values; the table itself if the resolution is the same.
    """
    if side == new_side:
        return table
    cube = table.reshape(side, side, side, -1).permute(3, 0, 1, 2)[None]
    cube = F.interpolate(cube, size=(new_side,) * 3, mode="trilinear", align_corners=False)
    return cube[0].permute(1, 2, 3, 0).reshape(new_side**3, -1).contiguous()


def cell_centres(side: int, device: torch.device | None = None) -> Tensor:
    """Compute the unit coordinates of the centres of equal cells between the faces -1 and 1.

    Args:
        side: number of cells.
        device: device of the result.

    Returns:
        (side,) float32.

    Example:
        >>> cell_centres(4).tolist()
        [-0.75, -0.25, 0.25, 0.75]
    """
    return (torch.arange(side, device=device) + 0.5) * (2 / side) - 1
