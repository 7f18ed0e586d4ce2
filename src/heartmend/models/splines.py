"""Smooth vector fields: cubic B-splines on a grid of control points (Rueckert et al., IEEE TMI 1999)."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def spline_weights(at: Tensor, controls: int) -> Tensor:
    """Weights (n, controls) with which the control points make the spline's value at unit coordinates `at` (n,).

    The outermost control points lie one interval beyond the faces of the unit frame, so there are controls - 3
    intervals between -1 and 1. Outside the frame the value at the face holds.
    """
    knot = ((at.clamp(-1, 1) + 1) / 2 * (controls - 3)).clamp(max=controls - 3 - 1e-6)
    first = knot.floor()
    t = (knot - first)[:, None]
    basis = torch.cat(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], dim=1
    ) / 6  # fmt: skip
    weights = torch.zeros(len(at), controls, dtype=at.dtype, device=at.device)
    return weights.scatter_add_(1, first.long()[:, None] + torch.arange(4, device=at.device), basis)


def on_lattice(controls: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Values (cases, 3, nx, ny, nz) of the fields with control points (cases, 3, m, m, m) on a lattice.

    x, y, z: weights (n, m) along each axis, from `spline_weights`.
    """
    field = torch.einsum("bcijk,zk->bcijz", controls, z)
    field = torch.einsum("bcijz,yj->bciyz", field, y)
    return torch.einsum("bciyz,xi->bcxyz", field, x)


def refined(controls: Tensor, count: int) -> Tensor:
    """The same fields (cases, 3, m, m, m) with `count` control points a side, in the sense of least squares."""
    change = _refinement(controls.shape[-1], count).to(controls)
    return on_lattice(controls, change, change, change)


@lru_cache
def _refinement(old: int, new: int) -> Tensor:
    at = torch.linspace(-1, 1, 8 * new, dtype=torch.float64)
    return torch.linalg.pinv(spline_weights(at, new)) @ spline_weights(at, old)


def bending(controls: Tensor) -> Tensor:
    """Mean squared second derivative of the fields along the axes, unit frame: how much they bend (a scalar)."""
    interval = 2 / (controls.shape[-1] - 3)
    along = [controls.diff(n=2, dim=axis).square().mean() for axis in (2, 3, 4)]
    return torch.stack(along).sum() / interval**4
