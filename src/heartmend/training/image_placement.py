"""Placement of a template in a CT: its code is fitted to the intensities, not to a label map.

Each structure, and what surrounds the heart, has its own distribution of intensities. They are measured in the label
map of the case and stay as they are: also a label map that is wrong by a third contains mostly what it names. Then the
code of the case is fitted so that the intensities become most likely. What no intensity separates, such as an atrium
from its ventricle, follows from the smooth deformation, as in an atlas registration (Wells et al., IEEE TMI 1996;
Ashburner and Friston, NeuroImage 2005).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from heartmend.geometry.boxes import Spacing, bounding_box
from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.geometry.roi import Roi
from heartmend.io.hounsfield import HEART_WINDOW_HU
from heartmend.models.base import Codes
from heartmend.models.code_book import CodeBook
from heartmend.models.splines import refine_controls
from heartmend.models.template import TemplateShape
from heartmend.training.placement import select_heads
from heartmend.training.schedule import cosine_factor
from heartmend.types import BACKGROUND, Labels, Mask

BIN_HU = 20.0
"""Intensities are counted in bins of this width."""
SMOOTH_MM = 0.5
"""Standard deviation of the Gaussian that lowers the noise of the CT."""
BINS = round((HEART_WINDOW_HU[1] - HEART_WINDOW_HU[0]) / BIN_HU)
INNER_MM, MIN_INNER_VOXELS = 1.5, 200
"""A structure is measured at this depth and deeper; one with fewer such voxels in the deeper half of its own. Up to
this depth it is blurred with its neighbours."""
BESIDE_MM = (1.0, 2.5)
"""What is beside a surface, in mm from it."""
AROUND_MM = 5.0
"""The surroundings are measured up to this distance from the label map."""
DRAWN = 20_000
"""Intensities that are drawn from each class."""
REACH_MM = 10.0
"""Voxels that are farther outside the label map do not take part in the fit."""
UNKNOWN_SHARE = 0.02
"""Share of the voxels of a structure whose intensity may be any: plaques, leads, streaks."""


@dataclass(frozen=True)
class ImagePhase:
    """Part of a fit to a CT, with one resolution of the deformation.

    Attributes:
        steps: number of steps.
        controls: control points along each side of the deformation.
        code_lr: learning rate of the deformation (Adam), in units of the unit frame.
        softness_mm: width of the surfaces: a voxel so far inside belongs to a structure with odds of e².
        regularisation: weight of the bending energy.
    """

    steps: int
    controls: int
    code_lr: float
    softness_mm: float
    regularisation: float = 3e-5


IMAGE_PHASES = (ImagePhase(120, 10, 0.008, 1.2), ImagePhase(200, 12, 0.005, 0.8))
START_PHASES = (ImagePhase(80, 5, 0.015, 3.0),)
"""Phases with which several starts are compared: only the whole heart is placed."""
COMPARED = 2
"""So many of the best starts are fitted to the end."""
POINTS, MAX_VOXELS, CHUNK = 6000, 400_000, 100_000
"""Voxels in each step, of a case, and those that are evaluated at once."""


@dataclass(frozen=True, eq=False)
class ImageVoxels:
    """Voxels of a CT that a template is fitted to.

    Attributes:
        names: names of the structures.
        points: (n, 3) float32, their places in the unit frame of the case.
        log_shares: (n, 1 + structure) float32, logarithm of the share that the intensity of each voxel has in the
            distribution of the surroundings, and in that of each structure.
    """

    names: tuple[str, ...]
    points: torch.Tensor
    log_shares: torch.Tensor


@dataclass(frozen=True, eq=False)
class ImagePlacement:
    """A template that was placed in a CT.

    Attributes:
        code: affine map (1, 3, 4) and field (1, 3, m, m, m) of the case, with the template's number of controls.
        log_likelihood: mean logarithm of the likelihood of all voxels.
    """

    code: dict[str, torch.Tensor]
    log_likelihood: float


def sample_image(
    labels: Labels, image: npt.NDArray[np.generic], roi: Roi, heads: Mapping[str, int], seed: int = 0
) -> ImageVoxels:
    """Sample the voxels of a CT in and about a heart, and measure what its structures look like.

    Args:
        labels: (x, y, z) uint8 on the voxels of the ROI, a label map that is right in most voxels.
        image: (x, y, z) CT in HU on the same voxels.
        roi: the region of interest.
        heads: id of each structure that the label map has, by name.
        seed: seed of the choice of voxels.

    Returns:
        The voxels.
    """
    spacing_mm = roi.grid.spacing_mm
    clipped = np.clip(np.asarray(image, np.float32), *HEART_WINDOW_HU)
    smooth = gaussian_filter(clipped, [SMOOTH_MM / step for step in spacing_mm])
    rng = np.random.default_rng(seed)
    outside_mm = distance_transform_mm(labels == BACKGROUND, spacing_mm)
    around = outside_mm < AROUND_MM
    columns = [_log_shares(around & (labels == BACKGROUND), smooth, spacing_mm, rng)]
    columns += [_log_shares(labels == id, smooth, spacing_mm, rng) for id in heads.values()]
    table = np.stack(columns, axis=1)
    near = np.flatnonzero(outside_mm < REACH_MM)
    picked, points = sample_voxels(near, labels.shape, roi, rng)
    return ImageVoxels(tuple(heads), points, torch.from_numpy(table[_bins(smooth.reshape(-1)[picked])]))


def sample_voxels(
    near: npt.NDArray[np.int64], shape: tuple[int, ...], roi: Roi, rng: np.random.Generator | None = None
) -> tuple[npt.NDArray[np.int64], torch.Tensor]:
    """Sample some of the voxels that a template is fitted to.

    Args:
        near: (n,) flat indices of the voxels.
        shape: numbers of voxels of the ROI.
        roi: the region of interest.
        rng: random numbers; None: always the same ones.

    Returns:
        Flat indices (m,) of at most `MAX_VOXELS` of them, and their places (m, 3) float32 in the unit frame.
    """
    rng = rng or np.random.default_rng(0)
    picked = near if len(near) <= MAX_VOXELS else rng.choice(near, MAX_VOXELS, replace=False)
    voxels = np.stack(np.unravel_index(picked, shape), axis=-1)
    return picked, torch.from_numpy(roi.box_index_to_unit(voxels).astype(np.float32))


def _log_shares(
    mask: Mask, image: npt.NDArray[np.float32], spacing_mm: Spacing, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Logarithm (bin,) of the share of each bin in a structure or in the surroundings.

    They consist of what is well inside and of voxels at the surface. These are blurred with what is beside them, of
    which they have less than half: without them every surface would shrink to where nothing is blurred.
    """
    box = bounding_box(mask, [math.ceil(BESIDE_MM[1] / step) for step in spacing_mm])
    assert box is not None
    own, values = mask[box], image[box]
    depth_mm = distance_transform_mm(own, spacing_mm)
    outside_mm = distance_transform_mm(~own, spacing_mm)
    deep = depth_mm > INNER_MM
    if np.count_nonzero(deep) < MIN_INNER_VOXELS:
        deep = own & (depth_mm >= np.median(depth_mm[own]))
    beside = (outside_mm >= BESIDE_MM[0]) & (outside_mm <= BESIDE_MM[1])
    inner, share = rng.choice(values[deep], DRAWN), rng.uniform(0.5, 1, DRAWN)
    blurred = share * inner + (1 - share) * rng.choice(values[beside if beside.any() else deep], DRAWN)
    at_surface = float(np.mean(depth_mm[own] <= INNER_MM))
    known = (1 - at_surface) * _histogram(inner) + at_surface * _histogram(blurred)
    found: npt.NDArray[np.float32] = np.log((1 - UNKNOWN_SHARE) * known + UNKNOWN_SHARE / BINS).astype(np.float32)
    return found


def _bins(image: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    return np.clip((image - HEART_WINDOW_HU[0]) / BIN_HU, 0, BINS - 1).astype(np.int64)


def _histogram(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Share (bin,) of the values in each bin."""
    smooth = gaussian_filter1d(np.bincount(_bins(values), minlength=BINS).astype(np.float64), 1.0)
    shares: npt.NDArray[np.float64] = smooth / smooth.sum()
    return shares


def place_in_image(
    template: TemplateShape, voxels: ImageVoxels, start: Codes, phases: Sequence[ImagePhase] = IMAGE_PHASES,
    seed: int = 0,
) -> ImagePlacement:  # fmt: skip
    """Fit the code of one case to its CT.

    Args:
        template: the fitted template, which is not changed.
        voxels: the voxels of the case.
        start: code of the case to start from: affine map (1, 3, 4) and field (1, 3, k, k, k).
        phases: phases of the fit, coarse to fine.
        seed: seed of the sampled voxels.

    Returns:
        The code, and how well it explains the CT.
    """
    shape = select_heads(template, voxels.names).requires_grad_(False)
    rng = np.random.default_rng(seed)
    affine, field = start["affine"].detach(), start["field"].detach()
    for phase in phases:
        affine, field = _fit_phase(shape, voxels, affine, field, phase, rng, template.controls)
    code = {"affine": affine, "field": refine_controls(field, template.controls)}
    shape.controls = template.controls
    with torch.no_grad():
        parts = zip(voxels.points.split(CHUNK), voxels.log_shares.split(CHUNK), strict=True)
        total = sum(
            float(_log_likelihoods(shape(points[None], code)[0], shares, phases[-1].softness_mm).sum())
            for points, shares in parts
        )
    return ImagePlacement(code, total / max(len(voxels.points), 1))


def usual_affine(codes: CodeBook) -> torch.Tensor:
    """Compute the affine map of a usual case: the median of those of all cases.

    Args:
        codes: the codes of a template's cases.

    Returns:
        (1, 3, 4).
    """
    return codes.values["affine"].detach().median(dim=0, keepdim=True).values


def turned_starts(affine: torch.Tensor) -> list[dict[str, torch.Tensor]]:
    """Return the eight starts in which each axis of a case is taken as it is, or the other way round.

    The header of a file may be wrong about the direction of an axis, and a heart may be mirrored. A network that has
    never seen such hearts fails on both, and then the label map has no pose to start from.

    Args:
        affine: (1, 3, 4) a usual affine map from the unit frame of a case to that of the template.

    Returns:
        The codes, the usual one first.
    """
    signs = torch.tensor([*product((1.0, -1.0), repeat=3)])
    field = torch.zeros(1, 3, *(START_PHASES[0].controls,) * 3)
    maps = [torch.cat([affine[:, :, :3] * sign, affine[:, :, 3:]], dim=2) for sign in signs]
    return [{"affine": one, "field": field} for one in maps]


def place_from_starts(template: TemplateShape, voxels: ImageVoxels, starts: Sequence[Codes]) -> ImagePlacement:
    """Fit the code of one case to its CT from the start that explains the CT best.

    Args:
        template: the fitted template, which is not changed.
        voxels: the voxels of the case.
        starts: codes to start from, at least one.

    Returns:
        The code, and how well it explains the CT.
    """

    best = rank_starts(template, voxels, starts)[:COMPARED]
    return max((place_in_image(template, voxels, one.code) for one in best), key=_likelihood)


def rank_starts(template: TemplateShape, voxels: ImageVoxels, starts: Sequence[Codes]) -> list[ImagePlacement]:
    """Place the whole heart from each start.

    Args:
        template: the fitted template, which is not changed.
        voxels: the voxels of the case.
        starts: codes to start from.

    Returns:
        The coarse placements, the one that explains the voxels best first.
    """
    coarse = [place_in_image(template, voxels, start, START_PHASES) for start in starts]
    return sorted(coarse, key=_likelihood, reverse=True)


def _likelihood(placement: ImagePlacement) -> float:
    return placement.log_likelihood


def _fit_phase(
    shape: TemplateShape, voxels: ImageVoxels, affine: torch.Tensor, field: torch.Tensor, phase: ImagePhase,
    rng: np.random.Generator, most_controls: int,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """The affine map and the field after a phase."""
    # Of a template with fewer control points, a finer deformation could not be kept.
    shape.controls = min(phase.controls, most_controls)
    field = refine_controls(field, shape.controls) if field.shape[-1] != shape.controls else field.clone()
    code = {"affine": affine.clone().requires_grad_(), "field": field.requires_grad_()}
    # An affine map moves all points at once, a control point only those near it.
    rates = {"affine": 0.3 * phase.code_lr, "field": phase.code_lr}
    optimiser = torch.optim.Adam([{"params": [code[name]], "lr": rate} for name, rate in rates.items()])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: cosine_factor(step, phase.steps))
    for _ in range(phase.steps):
        rows = torch.from_numpy(rng.integers(len(voxels.points), size=min(POINTS, len(voxels.points))))
        distances_mm = shape(voxels.points[rows][None], code)[0]
        likelihood = _log_likelihoods(distances_mm, voxels.log_shares[rows], phase.softness_mm).mean()
        loss = phase.regularisation * shape.regularisation(code) - likelihood
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return code["affine"].detach(), code["field"].detach()


def _log_likelihoods(distances_mm: torch.Tensor, log_shares: torch.Tensor, softness_mm: float) -> torch.Tensor:
    """Logarithm (n,) of the likelihood of each voxel, given the distances (n, structure) to the surfaces."""
    deepest = distances_mm.max(dim=1, keepdim=True).values
    prior = torch.log_softmax(torch.cat([-deepest, distances_mm], dim=1) / softness_mm, dim=1)
    return torch.logsumexp(prior + log_shares, dim=1)
