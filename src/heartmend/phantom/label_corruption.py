"""Label corruption: errors of automatic and quickly drawn label maps, with one function for each kind.

A corruption takes the label map, the spacing and a random generator, and returns a new map; its strength is an
argument. `corrupt` samples the corruptions of a case from the ranges of a `CorruptionRecipe`. The ranges are our own
and wide on purpose: a case may be nearly clean or poor, and may have one kind of error or most of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heartmend.geometry.boxes import Box
from heartmend.geometry.distance import distance_to_other_label_mm
from heartmend.phantom.plan import VENAE_CAVAE, Label, Vector
from heartmend.phantom.sdf import bounds, smooth_noise

Labels = NDArray[np.uint8]
Range = tuple[float, float]

STRUCTURES = tuple(label for label in Label if label not in (Label.BACKGROUND, *VENAE_CAVAE))
_LEAKS = np.isin(np.arange(256), [label for label in STRUCTURES if label != Label.CORONARY])
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


def rough_surfaces(
    labels: Labels, spacing_mm: Vector, rng: np.random.Generator, size_mm: float, length_mm: float
) -> Labels:
    """Displace all surfaces together by a smooth random field; thin vessels less.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator.
        size_mm: rms displacement per axis in mm.
        length_mm: correlation length in mm.

    Returns:
        The corrupted label map.
    """
    where = [np.arange(n).reshape([-1 if a == axis else 1 for a in range(3)]) for axis, n in enumerate(labels.shape)]
    push = [smooth_noise(labels.shape, spacing_mm, length_mm, rng) * np.float32(size_mm / s) for s in spacing_mm]

    def sample(source: NDArray[np.generic], share: float, box: Box) -> NDArray[np.generic]:
        at = []
        for axis, n in enumerate(labels.shape):
            line = where[axis][tuple(b if a == axis else slice(None) for a, b in enumerate(box))]
            at.append(np.clip(np.rint(line + np.float32(share) * push[axis][box]).astype(np.int32), 0, n - 1))
        return np.asarray(source[tuple(at)])

    vessel = labels == Label.CORONARY
    box = bounds(labels > 0, labels.shape, 6)
    result = np.zeros_like(labels)
    result[box] = sample(np.where(vessel, np.uint8(0), labels), 1.0, box)
    result[box][sample(vessel, 0.4, box).astype(bool)] = Label.CORONARY
    return result


def rough_structure(
    labels: Labels, spacing_mm: Vector, rng: np.random.Generator, label: int, size_mm: float, length_mm: float
) -> Labels:
    """Displace the surface of one structure along its normal by a smooth random field; it grows over background only.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator.
        label: id of the structure.
        size_mm: rms displacement in mm.
        length_mm: correlation length in mm.

    Returns:
        The corrupted label map.
    """
    return _offset(labels, spacing_mm, label, size_mm, length_mm, 0.0, rng)


def bias(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, label: int, offset_mm: float) -> Labels:
    """Over-segment or under-segment one structure, more in some places than in others.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator.
        label: id of the structure.
        offset_mm: mean displacement of the surface in mm, positive outwards.

    Returns:
        The corrupted label map.
    """
    return _offset(labels, spacing_mm, label, 0.45 * abs(offset_mm), 18.0, offset_mm, rng)


def _offset(
    labels: Labels,
    spacing_mm: Vector,
    label: int,
    size_mm: float,
    length_mm: float,
    mean_mm: float,
    rng: np.random.Generator,
) -> Labels:
    if not (labels == label).any():
        return labels
    result = labels.copy()
    box = bounds(labels == label, labels.shape, int(np.ceil((3 * size_mm + abs(mean_mm)) / spacing_mm.min())) + 1)
    part, mask = result[box], labels[box] == label
    apart = distance_to_other_label_mm(mask, tuple(float(s) for s in spacing_mm)) - float(spacing_mm.min()) / 2
    distance = np.where(mask, -apart, apart)
    limit = mean_mm + size_mm * smooth_noise(part.shape, spacing_mm, length_mm, rng)
    part[mask & (distance > limit)] = 0
    part[~mask & (distance < limit) & (part == 0)] = label
    return result


def slice_staircase(labels: Labels, spacing_mm: Vector, step_mm: list[float]) -> Labels:
    """Resample to thicker slices and back without interpolation, which makes a slice staircase.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        step_mm: slice thickness along x, y and z in mm; 0 leaves an axis as it is.

    Returns:
        The corrupted label map.
    """
    index = []
    for n, spacing, step in zip(labels.shape, spacing_mm, step_mm, strict=True):
        thick = max(step / spacing, 1.0)
        slab = np.floor((np.arange(n) + 0.5) / thick)
        index.append(np.clip(np.floor((slab + 0.5) * thick).astype(int), 0, n - 1))
    return labels[np.ix_(*index)]


def small_component(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, radius_mm: float) -> Labels:
    """Add a false-positive component of a structure to the background, mostly near the structure.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator.
        radius_mm: radius of the component in mm.

    Returns:
        The corrupted label map.
    """
    label, home = _some_voxel(labels, rng)
    if label is None:
        return labels
    away = rng.standard_normal(3)
    reach = rng.uniform(6, 25) if rng.random() < 0.75 else rng.uniform(25, 70)
    centre = home + reach * away / np.linalg.norm(away) / spacing_mm
    return _stamp(labels, spacing_mm, rng, centre, radius_mm, {Label.BACKGROUND}, label)


def hole(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, radius_mm: float) -> Labels:
    """Add a hole inside a structure or at its surface.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator.
        radius_mm: radius of the hole in mm.

    Returns:
        The corrupted label map.
    """
    label, centre = _some_voxel(labels, rng)
    if label is None:
        return labels
    return _stamp(labels, spacing_mm, rng, centre, radius_mm, {label}, Label.BACKGROUND)


def leak(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, radius_mm: float) -> Labels:
    """Extend one structure into another where they touch or nearly touch, such as across a thin wall.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator.
        radius_mm: radius of the leak in mm.

    Returns:
        The corrupted label map.
    """
    for axis in (int(a) for a in rng.permutation(3)):
        step = max(round(3.0 / float(spacing_mm[axis])), 1)
        lines = np.moveaxis(labels, axis, 0)
        here, there = lines[:-step], lines[step:]
        places = np.argwhere(_LEAKS[here] & _LEAKS[there] & (here != there))
        if len(places):
            break
    else:
        return labels
    meeting = here[tuple(places.T)].astype(int) * 256 + there[tuple(places.T)]
    kinds = np.unique(meeting)
    at = places[rng.choice(np.flatnonzero(meeting == kinds[rng.integers(len(kinds))]))]
    pair = [int(here[tuple(at)]), int(there[tuple(at)])]
    label, into = pair if rng.random() < 0.5 else pair[::-1]
    centre = np.insert(at[1:].astype(float), axis, at[0] + step / 2)
    return _stamp(labels, spacing_mm, rng, centre, radius_mm, {into, Label.BACKGROUND}, label)


def label_swap(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, radius_mm: float) -> Labels:
    """Relabel a patch of one structure as another one.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator.
        radius_mm: radius of the patch in mm.

    Returns:
        The corrupted label map.
    """
    label, centre = _some_voxel(labels, rng)
    other, _ = _some_voxel(labels, rng)
    if label is None or other in (None, label, Label.CORONARY):
        return labels
    return _stamp(labels, spacing_mm, rng, centre, radius_mm, {label}, other)


def vessel_gap(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, label: int, length_mm: float) -> Labels:
    """Remove a section of a vessel, across its full width if it is not much wider than long.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator.
        label: id of the vessel.
        length_mm: length of the gap in mm, about.

    Returns:
        The corrupted label map.
    """
    voxels = np.argwhere(labels == label)
    if not len(voxels):
        return labels
    centre = voxels[rng.integers(len(voxels))].astype(float)
    wide = 1.6 if label == Label.CORONARY else 9.0
    result = labels.copy()
    box = bounds_about(centre, max(length_mm, wide) / spacing_mm + 2, labels.shape)
    near = np.linalg.norm(offsets_mm(box, centre, spacing_mm), axis=-1) < max(length_mm / 2, wide)
    result[box][near & (labels[box] == label)] = 0
    return result


def missing_end(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, label: int, length_mm: float) -> Labels:
    """Remove one end of a structure, a place far from its centre.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator.
        label: id of the structure.
        length_mm: radius around the end in mm.

    Returns:
        The corrupted label map.
    """
    voxels = np.argwhere(labels == label)
    if not len(voxels):
        return labels
    distance = np.linalg.norm((voxels - voxels.mean(axis=0)) * spacing_mm, axis=1)
    far = np.flatnonzero(distance >= np.quantile(distance, 0.9))
    end = voxels[far[rng.integers(len(far))]]
    lost = voxels[np.linalg.norm((voxels - end) * spacing_mm, axis=1) < length_mm]
    result = labels.copy()
    result[tuple(lost.T)] = 0
    return result


def slice_shift(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, shift_mm: float) -> Labels:
    """Shift a run of slices in plane, as breathing does.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        spacing_mm: voxel size along x, y and z in mm.
        rng: random generator.
        shift_mm: length of the shift in mm.

    Returns:
        The corrupted label map.
    """
    first, last = _run(labels.shape[2], rng, (3, 14))
    result = labels.copy()
    angle = rng.uniform(0, 2 * np.pi)
    step = np.round(shift_mm * np.array([np.cos(angle), np.sin(angle)]) / spacing_mm[:2]).astype(int)
    result[:, :, first:last] = np.roll(labels[:, :, first:last], tuple(step), axis=(0, 1))
    return result


def missing_slices(labels: Labels, rng: np.random.Generator) -> Labels:
    """Remove all labels from one to three slices.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        rng: random generator.

    Returns:
        The corrupted label map.
    """
    first, last = _run(labels.shape[2], rng, (1, 3))
    result = labels.copy()
    result[:, :, first:last] = 0
    return result


def speckle(labels: Labels, rng: np.random.Generator, share: float) -> Labels:
    """Replace the labels of random voxels by those of voxels up to three away.

    Args:
        labels: label map (x, y, z), uint8; not changed.
        rng: random generator.
        share: share of the voxels in and around the heart that are replaced.

    Returns:
        The corrupted label map.
    """
    box = bounds(labels > 0, labels.shape, 2)
    part = labels[box].copy()
    size = np.array(part.shape)
    at = rng.integers(0, size, (int(share * part.size), 3))
    source = np.clip(at + rng.integers(-3, 4, at.shape), 0, size - 1)
    part[tuple(at.T)] = part[tuple(source.T)]
    result = labels.copy()
    result[box] = part
    return result


def bounds_about(centre: Vector, reach: Vector, shape: tuple[int, ...]) -> Box:
    """Compute the box of voxels within a distance of a centre.

    Args:
        centre: (3,) voxel indices.
        reach: (3,) distance in voxels.
        shape: shape of the volume, to which the box is clipped.

    Returns:
        Slices along x, y and z.

    Example:
        >>> bounds_about(np.array([2.0, 2, 2]), np.array([1.0, 1, 9]), (8, 8, 8))
        (slice(1, 4, None), slice(1, 4, None), slice(0, 8, None))
    """
    low = np.clip(np.floor(centre - reach).astype(int), 0, shape)
    high = np.clip(np.ceil(centre + reach).astype(int) + 1, low, shape)
    x, y, z = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return x, y, z


def offsets_mm(box: Box, centre: Vector, spacing_mm: Vector) -> NDArray[np.float64]:
    """Compute the offsets of the voxels of a box from a centre.

    Args:
        box: slices along x, y and z.
        centre: (3,) voxel indices.
        spacing_mm: voxel size along x, y and z in mm.

    Returns:
        float64 array (x, y, z, 3) in mm.
    """
    grid = np.stack(np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij"), axis=-1)
    return np.asarray((grid - centre) * spacing_mm)


def _stamp(
    labels: Labels,
    spacing_mm: Vector,
    rng: np.random.Generator,
    centre: Vector,
    radius_mm: float,
    onto: set[int],
    label: int,
) -> Labels:
    """Set `label` in an irregular ellipsoid where the map has one of the labels `onto`."""
    box = bounds_about(centre, 1.8 * radius_mm / spacing_mm + 1, labels.shape)
    if any(s.start >= s.stop for s in box):
        return labels
    axes = np.linalg.qr(rng.standard_normal((3, 3)))[0] / rng.uniform(0.6, 1.4, 3)
    reach = np.linalg.norm(offsets_mm(box, centre, spacing_mm) @ axes, axis=-1)
    size = tuple(s.stop - s.start for s in box)
    lumpy = radius_mm * (1 + 0.25 * smooth_noise(size, spacing_mm, max(radius_mm, 1.5), rng))
    result = labels.copy()
    part = result[box]
    part[(reach < lumpy) & np.isin(part, list(onto))] = label
    return result


def _some_voxel(labels: Labels, rng: np.random.Generator) -> tuple[int | None, NDArray[np.int64]]:
    """A random structure of the map and a random voxel of it; (None, ...) if the map is empty."""
    for label in rng.permutation(np.array(STRUCTURES)):
        found = np.flatnonzero(labels == label)
        if len(found):
            return int(label), np.array(np.unravel_index(found[rng.integers(len(found))], labels.shape))
    return None, np.zeros(3, np.int64)


def _run(count: int, rng: np.random.Generator, length: tuple[int, int]) -> tuple[int, int]:
    first = int(rng.integers(count // 6, max(5 * count // 6, count // 6 + 1)))
    return first, min(first + int(rng.integers(length[0], length[1] + 1)), count)
