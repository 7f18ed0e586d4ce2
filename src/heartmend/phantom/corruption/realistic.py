"""Errors of a data set that a network labelled, as a noise model: what all cases share, and what each has of its own.

Matched to what was counted in the 998 label maps of the Public Cardiac CT Dataset: outlines are smooth, with the steps
of a grid of 1.5 mm, the RV has 1.16 components on average and more than one in 5 % of the cases, valve planes are
straight, and distal ends of vessels are missing. What was not counted there (smooth errors, displaced planes, shared
bias) has sizes of our own choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from heartmend.geometry.boxes import boxes_by_id
from heartmend.geometry.components import without_small_components
from heartmend.phantom.corruption.network_faults import early_end, smooth_surfaces, straight_plane
from heartmend.phantom.corruption.patches import component_of
from heartmend.phantom.corruption.slices import slice_staircase
from heartmend.phantom.corruption.surfaces import bias
from heartmend.phantom.plan import STRUCTURES, VENAE_CAVAE, Label, Vector
from heartmend.types import Labels

Range = tuple[float, float]

VALVES = (
    (Label.LA, Label.LV), (Label.RA, Label.RV), (Label.LV, Label.AORTA), (Label.RV, Label.PA),
)  # fmt: skip
"""Pairs of structures with a valve between them, in the direction of the blood."""
ENDS = ((Label.CORONARY, Label.AORTA), (Label.PV, Label.LA))
"""Vessels that end early, each with its root."""


@dataclass(frozen=True)
class RealisticRecipe:
    """Sizes of the errors of a data set that a network labelled.

    Attributes:
        severity: range of the severity of a case, which scales its own errors.
        shared_bias_mm: standard deviation of the bias of a structure that all cases share.
        own_bias_mm: standard deviation of the bias of a structure of one case.
        smooth_mm: rms displacement of surfaces by a smooth random field.
        length_mm: correlation length of that field.
        shared_shift_mm: standard deviation of the displacement of a valve plane that all cases share.
        own_shift_mm: standard deviation of the displacement of a valve plane of one case.
        tilt_degrees: largest tilt of a valve plane.
        kept_share: share of the longest course of coronaries and pulmonary veins that is labelled.
        coronary_width_mm: range of the width of coronaries that all cases share, too wide or too thin.
        extra_chance: chance that a structure has additional components.
        extra_components: their mean number, where there are any; at least one.
        extra_mm: radius of an additional component.
        grid_mm: voxel size of the grid that the network predicts on.
    """

    severity: Range = (0.5, 1.5)
    shared_bias_mm: float = 0.3
    own_bias_mm: float = 0.15
    smooth_mm: Range = (0.3, 0.8)
    length_mm: Range = (5.0, 12.0)
    shared_shift_mm: float = 1.0
    own_shift_mm: float = 0.7
    tilt_degrees: float = 6.0
    kept_share: Range = (0.55, 1.0)
    coronary_width_mm: Range = (-0.15, 0.4)
    extra_chance: float = 0.05
    extra_components: float = 3.2
    extra_mm: Range = (1.5, 4.0)
    grid_mm: float = 1.5


@dataclass(frozen=True)
class Tendency:
    """Errors that all cases of a data set share, because one network made them.

    Attributes:
        bias_mm: displacement of the surface of each structure, positive outwards.
        shifts_mm: displacement of each valve plane, positive into the second structure.
        coronary_width_mm: displacement of the surface of the coronaries.
    """

    bias_mm: Mapping[int, float]
    shifts_mm: Mapping[tuple[int, int], float]
    coronary_width_mm: float


def draw_tendency(rng: np.random.Generator, recipe: RealisticRecipe | None = None) -> Tendency:
    """Sample the errors that all cases of a data set share.

    Args:
        rng: random generator of the data set.
        recipe: sizes of the errors; the defaults if None.

    Returns:
        The shared errors.
    """
    recipe = recipe or RealisticRecipe()
    solid = [int(label) for label in (*STRUCTURES, *VENAE_CAVAE) if label != Label.CORONARY]
    return Tendency(
        {label: float(rng.normal(0, recipe.shared_bias_mm)) for label in solid},
        {pair: float(rng.normal(0, recipe.shared_shift_mm)) for pair in VALVES},
        float(rng.uniform(*recipe.coronary_width_mm)),
    )


def corrupt_as_network(
    truth: Labels,
    spacing_mm: Vector,
    rng: np.random.Generator,
    tendency: Tendency,
    recipe: RealisticRecipe | None = None,
) -> tuple[Labels, tuple[str, ...]]:
    """Corrupt a label map as a network does.

    Args:
        truth: label map (x, y, z), uint8, in the ids of `Label`; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator of the case.
        tendency: what all cases of the data set share.
        recipe: sizes of the errors; the defaults if None.

    Returns:
        The corrupted map of the same shape, and the name and strength of every corruption in the order of application,
        such as "plane:LA-LV+0.8mm".
    """
    noisy, names = truth.copy(), []
    for name, corruption in _draw(recipe or RealisticRecipe(), rng, spacing_mm, tendency):
        noisy = corruption(noisy)
        names.append(name)
    return noisy, tuple(names)


def _draw(
    recipe: RealisticRecipe, rng: np.random.Generator, spacing_mm: Vector, tendency: Tendency
) -> Iterator[tuple[str, Callable[[Labels], Labels]]]:
    """Name and function of each corruption of a case. The order of the draws must not change, or seeds change cases."""
    severity = float(rng.uniform(*recipe.severity))
    # Each corruption has a generator of its own, so what it draws does not change what is drawn here.
    own = partial(_with_own_generator, rng, spacing_mm)
    for vessel, root in ENDS:
        share = float(rng.uniform(*recipe.kept_share))
        yield (
            f"early_end:{vessel.name}@{share:.2f}",
            partial(early_end, spacing_mm=spacing_mm, label=vessel, root=root, kept_share=share),
        )
    width = tendency.coronary_width_mm
    yield f"coronary_width{width:+.1f}mm", own(bias, label=Label.CORONARY, offset_mm=width)
    planes = []
    for pair in VALVES:
        shift = tendency.shifts_mm[pair] + severity * float(rng.normal(0, recipe.own_shift_mm))
        tilt = float(rng.uniform(0, recipe.tilt_degrees))
        name = f"plane:{pair[0].name}-{pair[1].name}{shift:+.1f}mm"
        planes.append((name, own(straight_plane, pair=pair, shift_mm=shift, tilt_degrees=tilt)))
    size, length = severity * float(rng.uniform(*recipe.smooth_mm)), float(rng.uniform(*recipe.length_mm))
    biases = {id: mm + severity * float(rng.normal(0, recipe.own_bias_mm)) for id, mm in tendency.bias_mm.items()}
    name = f"smooth_surfaces@{size:.1f}mm/{length:.0f}mm"
    yield name, own(smooth_surfaces, bias_mm=biases, size_mm=size, length_mm=length)
    # After the smooth errors, which would bend them.
    yield from planes
    on_grid = partial(network_grid, spacing_mm=spacing_mm, grid_mm=recipe.grid_mm)
    yield f"network_grid@{recipe.grid_mm:g}mm", lambda labels: without_pieces(on_grid(labels))
    for label in STRUCTURES:
        if rng.random() < recipe.extra_chance:
            for _ in range(1 + int(rng.poisson(recipe.extra_components - 1))):
                mm = float(rng.uniform(*recipe.extra_mm))
                extra = own(component_of, label=label, radius_mm=mm)
                yield f"component:{label.name}@{mm:.1f}mm", partial(_on_grid, extra, on_grid)


def _with_own_generator(
    rng: np.random.Generator, spacing_mm: Vector, corruption: Callable[..., Labels], **arguments: Any
) -> Callable[[Labels], Labels]:
    return partial(corruption, spacing_mm=spacing_mm, rng=rng.spawn(1)[0], **arguments)


def _on_grid(corruption: Callable[[Labels], Labels], on_grid: Callable[[Labels], Labels], labels: Labels) -> Labels:
    return on_grid(corruption(labels))


def without_pieces(labels: Labels) -> Labels:
    """Remove the small pieces that smooth errors and a coarse grid cut off structures: a network has fewer of them.

    Args:
        labels: label map (x, y, z), uint8; not changed.

    Returns:
        The label map, in which every structure but the coronaries has its large components only.
    """
    result = labels.copy()
    for id, box in boxes_by_id(labels).items():
        if id != Label.CORONARY:
            mask = labels[box] == id
            result[box][mask & ~without_small_components(mask)] = 0
    return result


def network_grid(labels: Labels, spacing_mm: Vector, grid_mm: float) -> Labels:
    """Resample to the grid that a network predicts on and back by the nearest voxel, where that grid is coarser.

    Coronaries stay: at 1.5 mm they would break into pieces; networks that find them predict on the grid of the scan.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        grid_mm: voxel size of the grid of the network in mm.

    Returns:
        The corrupted label map.
    """
    coronary = labels == Label.CORONARY
    result = slice_staircase(np.where(coronary, np.uint8(0), labels), spacing_mm, [grid_mm] * 3)
    result[coronary] = Label.CORONARY
    return result
