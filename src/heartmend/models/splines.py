"""Cubic B-spline deformation fields on a grid of control points (Rueckert et al., IEEE TMI 1999)."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def spline_weights(at: Tensor, controls: int) -> Tensor:
    """Compute the weights of the control points in the spline's values along one axis.

    The outermost control points are one interval beyond the faces of the unit frame, so there are controls - 3
    intervals between -1 and 1. Outside the unit frame the value at the face is used.

    Args:
        at: (n,) unit coordinates.
        controls: number of control points, 4 or more.

    Returns:
        (n, controls) weights that sum to 1.

    Example:
        >>> (spline_weights(torch.tensor([-1.0]), controls=5) * 6).round().tolist()
        [[1.0, 4.0, 1.0, 0.0, 0.0]]
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
    """Evaluate deformation fields on a lattice.

    Args:
        controls: (cases, 3, m, m, m) control points.
        x: (nx, m) weights along the first axis, from `spline_weights`.
        y: (ny, m) weights along the second axis.
        z: (nz, m) weights along the third axis.

    Returns:
        (cases, nx, ny, nz, 3) displacements, each point's components side by side.
    """
    cases, components, m, _, _ = controls.shape
    along_z = (controls @ z.T).permute(0, 2, 3, 4, 1)
    # With all sizes given, because a process may have no case of a step.
    along_y = y @ along_z.reshape(cases, m, m, len(z) * components)
    along_x = x @ along_y.reshape(cases, m, len(y) * len(z) * components)
    return along_x.reshape(cases, len(x), len(y), len(z), components)


def refine_controls(controls: Tensor, count: int) -> Tensor:
    """Resample deformation fields to another number of control points, in least squares.

    Args:
        controls: (cases, 3, m, m, m) control points.
        count: control points along each axis of the result.

    Returns:
        (cases, 3, count, count, count) control points.
    """
    change = _refinement(controls.shape[-1], count).to(controls)
    return on_lattice(controls, change, change, change).movedim(-1, 1).contiguous()


@lru_cache
def _refinement(old: int, new: int) -> Tensor:
    at = torch.linspace(-1, 1, 8 * new, dtype=torch.float64)
    return torch.linalg.pinv(spline_weights(at, new)) @ spline_weights(at, old)


def bending_energy(controls: Tensor) -> Tensor:
    """Compute the mean squared second derivative of deformation fields along the axes, in the unit frame.

    Args:
        controls: (cases, 3, m, m, m) control points.

    Returns:
        The bending energy, a scalar.
    """
    interval = 2 / (controls.shape[-1] - 3)
    along = [controls.diff(n=2, dim=axis).square().mean() for axis in (2, 3, 4)]
    return torch.stack(along).sum() / interval**4
