"""Corruption of a label map: which errors a case has, sampled from the ranges of a recipe.

The ranges are our own and wide on purpose: a case may be nearly clean or poor, and may have one kind of error or most
of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from heartmend.phantom.corruption.patches import hole, label_swap, leak, small_component, speckle
from heartmend.phantom.corruption.slices import missing_slices, slice_shift, slice_staircase
from heartmend.phantom.corruption.surfaces import bias, rough_structure, rough_surfaces
from heartmend.phantom.corruption.vessel_faults import missing_end, vessel_gap
from heartmend.phantom.plan import STRUCTURES, VENAE_CAVAE, Label, Vector
from heartmend.types import Labels

Range = tuple[float, float]

VESSELS = (Label.AORTA, Label.PA, Label.LAA, Label.PV)


@dataclass(frozen=True)
class CorruptionRecipe:
    """Ranges from which the corruptions of a case are sampled.

    Chances are per case (bias: per structure), counts are means of Poisson distributions. Both grow with the severity
    of the case, which also scales the rms displacement of rough surfaces.

    Attributes:
        severity: range of the severity of a case.
        rough_surfaces_chance: chance that all surfaces are displaced together.
        rough_surfaces_mm: rms displacement per axis in mm.
        rough_structure_chance: chance that single structures have rough surfaces.
        rough_structure_mm: rms displacement along the normal in mm.
        length_mm: correlation length of both displacements in mm.
        bias_chance: chance that a structure is over- or under-segmented.
        bias_mm: mean displacement in mm.
        slice_staircase_chance: chance of a slice staircase along one axis.
        slice_staircase_mm: slice thickness in mm.
        coarse_grid_chance: chance of a coarse grid, if there is no slice staircase.
        coarse_grid_mm: voxel size of the coarse grid in mm.
        small_components: mean number of false-positive components.
        holes: mean number of holes.
        leaks: mean number of leaks between structures.
        label_swaps: mean number of patches with the label of another structure.
        vessel_gap_chance: chance of a gap in a large vessel.
        coronary_gaps: mean number of gaps in the coronaries.
        coronary_width_chance: chance that the coronaries are too wide or too thin.
        coronary_end_chance: chance that the end of a coronary is missing.
        slice_shift_chance: chance of a run of shifted slices.
        missing_slices_chance: chance of a run of slices without labels.
        speckle_chance: chance of speckle noise.
        speckle_share: share of the voxels with speckle noise.
    """

    severity: Range = (0.35, 1.15)
    rough_surfaces_chance: float = 0.85
    rough_surfaces_mm: Range = (0.3, 1.1)
    rough_structure_chance: float = 0.65
    rough_structure_mm: Range = (0.3, 1.6)
    length_mm: Range = (1.5, 5.0)
    bias_chance: float = 0.12
    bias_mm: Range = (0.3, 1.0)
    slice_staircase_chance: float = 0.3
    slice_staircase_mm: Range = (1.6, 4.0)
    coarse_grid_chance: float = 0.15
    coarse_grid_mm: Range = (1.5, 2.4)
    small_components: float = 7.0
    holes: float = 4.0
    leaks: float = 2.5
    label_swaps: float = 0.7
    vessel_gap_chance: float = 0.3
    coronary_gaps: float = 4.0
    coronary_width_chance: float = 0.5
    coronary_end_chance: float = 0.3
    slice_shift_chance: float = 0.12
    missing_slices_chance: float = 0.12
    speckle_chance: float = 0.25
    speckle_share: Range = (0.002, 0.02)


def corrupt(
    truth: Labels, spacing_mm: Vector, rng: np.random.Generator, recipe: CorruptionRecipe | None = None
) -> tuple[Labels, tuple[str, ...]]:
    """Corrupt a label map.

    Args:
        truth: label map (x, y, z), uint8, in the ids of `Label`; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator.
        recipe: ranges of the corruptions; the defaults if None.

    Returns:
        The corrupted map of the same shape, and the name and strength of every corruption in the order of application,
        such as "hole@2.3mm" or "bias:LV-0.4mm".
    """
    noisy, names = truth.copy(), []
    recipe = recipe or CorruptionRecipe()
    present = [label for label in VENAE_CAVAE if (truth == label).any()]
    drawn = chain(_draw(recipe, rng, spacing_mm), _draw_of_venae_cavae(recipe, rng, spacing_mm, present))
    for name, corruption in drawn:
        noisy = corruption(noisy)
        names.append(name)
    return noisy, tuple(names)


def _draw(
    recipe: CorruptionRecipe, rng: np.random.Generator, spacing_mm: Vector
) -> Iterator[tuple[str, Callable[[Labels], Labels]]]:
    """Name and function of each corruption of a case. The order of the draws must not change, or seeds change cases."""
    severity = float(rng.uniform(*recipe.severity))

    def happens(chance: float) -> bool:
        return bool(rng.random() < min(chance * (0.4 + 0.6 * severity), 1.0))

    def drawn(span: Range) -> float:
        return float(rng.uniform(*span))

    def some(mean: float, span: Range) -> Iterator[float]:
        yield from (drawn(span) for _ in range(int(rng.poisson(mean * severity))))

    with_rng: dict[str, Any] = {"spacing_mm": spacing_mm, "rng": rng}
    for mm in some(recipe.coronary_gaps, (1.5, 7.0)):
        yield f"coronary_gap@{mm:.1f}mm", partial(vessel_gap, label=Label.CORONARY, length_mm=mm, **with_rng)
    if happens(recipe.coronary_end_chance):
        mm = drawn((10.0, 30.0))
        yield f"coronary_end@{mm:.0f}mm", partial(missing_end, label=Label.CORONARY, length_mm=mm, **with_rng)
    if happens(recipe.coronary_width_chance):
        mm = drawn((-0.35, 0.6))
        yield f"coronary_width{mm:+.1f}mm", partial(bias, label=Label.CORONARY, offset_mm=mm, **with_rng)
    if happens(recipe.vessel_gap_chance):
        vessel, mm = VESSELS[rng.integers(len(VESSELS))], drawn((4.0, 12.0))
        yield f"vessel_gap:{vessel.name}@{mm:.0f}mm", partial(vessel_gap, label=vessel, length_mm=mm, **with_rng)
    for label in STRUCTURES:
        if label != Label.CORONARY and happens(recipe.bias_chance):
            mm = drawn(recipe.bias_mm) * (1 if rng.random() < 0.5 else -1)
            yield f"bias:{label.name}{mm:+.1f}mm", partial(bias, label=label, offset_mm=mm, **with_rng)
    for mm in some(recipe.leaks, (2.5, 7.0)):
        yield f"leak@{mm:.1f}mm", partial(leak, radius_mm=mm, **with_rng)
    for mm in some(recipe.label_swaps, (4.0, 10.0)):
        yield f"label_swap@{mm:.1f}mm", partial(label_swap, radius_mm=mm, **with_rng)
    for mm in some(recipe.holes, (1.2, 5.0)):
        yield f"hole@{mm:.1f}mm", partial(hole, radius_mm=mm, **with_rng)
    if happens(recipe.rough_surfaces_chance):
        mm, length = severity * drawn(recipe.rough_surfaces_mm), drawn(recipe.length_mm)
        corruption = partial(rough_surfaces, size_mm=mm, length_mm=length, **with_rng)
        yield f"rough_surfaces@{mm:.1f}mm/{length:.1f}mm", corruption
    if happens(recipe.rough_structure_chance):
        for label in STRUCTURES:
            if rng.random() < 0.5:
                mm, length = severity * drawn(recipe.rough_structure_mm), drawn(recipe.length_mm)
                mm *= 0.4 if label == Label.CORONARY else 1.0
                corruption = partial(rough_structure, label=label, size_mm=mm, length_mm=length, **with_rng)
                yield f"rough_structure:{label.name}@{mm:.1f}mm/{length:.1f}mm", corruption
    if happens(recipe.slice_staircase_chance):
        axis, mm = int(rng.integers(3)), drawn(recipe.slice_staircase_mm)
        steps = [mm if a == axis else 0.0 for a in range(3)]
        corruption = partial(slice_staircase, spacing_mm=spacing_mm, step_mm=steps)
        yield f"slice_staircase:axis{axis}@{mm:.1f}mm", corruption
    elif happens(recipe.coarse_grid_chance):
        mm = drawn(recipe.coarse_grid_mm)
        yield f"coarse_grid@{mm:.1f}mm", partial(slice_staircase, spacing_mm=spacing_mm, step_mm=[mm] * 3)
    for mm in some(recipe.small_components, (1.0, 6.0)):
        mm *= 1.8 if rng.random() < 0.15 else 1.0
        yield f"small_component@{mm:.1f}mm", partial(small_component, radius_mm=mm, **with_rng)
    if happens(recipe.slice_shift_chance):
        mm = drawn((1.0, 3.5))
        yield f"slice_shift@{mm:.1f}mm", partial(slice_shift, shift_mm=mm, **with_rng)
    if happens(recipe.missing_slices_chance):
        yield "missing_slices", partial(missing_slices, rng=rng)
    if happens(recipe.speckle_chance):
        share = drawn(recipe.speckle_share)
        yield f"speckle@{share:.3f}", partial(speckle, rng=rng, share=share)


def _draw_of_venae_cavae(
    recipe: CorruptionRecipe, rng: np.random.Generator, spacing_mm: Vector, present: Sequence[Label]
) -> Iterator[tuple[str, Callable[[Labels], Labels]]]:
    """Corruptions of the venae cavae, after all others: a cohort without them has the same cases as before."""
    with_rng: dict[str, Any] = {"spacing_mm": spacing_mm, "rng": rng}
    for label in present:
        mm, length = float(rng.uniform(*recipe.rough_structure_mm)), float(rng.uniform(*recipe.length_mm))
        corruption = partial(rough_structure, label=label, size_mm=mm, length_mm=length, **with_rng)
        yield f"rough_structure:{label.name}@{mm:.1f}mm/{length:.1f}mm", corruption
        if rng.random() < recipe.vessel_gap_chance:
            mm = float(rng.uniform(4.0, 9.0))
            yield f"vessel_gap:{label.name}@{mm:.0f}mm", partial(vessel_gap, label=label, length_mm=mm, **with_rng)
