"""What goes wrong in label maps made by networks, thick slices or haste: one small function per fault.

A fault takes the map, the spacing and a rng, and returns a new map; its strength is an argument. `corrupt` draws which
faults a case has and how strong, from the ranges in `Recipe`, and says what it did. The draw is of our own making and
wide on purpose: a case may be nearly clean or poor, may have one kind of fault or most of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import edt
import numpy as np
from numpy.typing import NDArray

from heartmend.geometry.boxes import Box
from heartmend.phantom.plan import Label, Vector
from heartmend.phantom.sdf import bounds, smooth_noise

Labels = NDArray[np.uint8]
Range = tuple[float, float]

STRUCTURES = tuple(label for label in Label if label != Label.BACKGROUND)
_LEAKS = np.isin(np.arange(256), [label for label in STRUCTURES if label != Label.CORONARY])
VESSELS = (Label.AORTA, Label.PA, Label.LAA, Label.PV)


@dataclass(frozen=True)
class Recipe:
    """Ranges that a case's faults are drawn from.

    Chances are per case (bias: per structure), counts are means of Poisson draws; both grow with the case's severity,
    which also scales the rms size of rough and ragged surfaces.
    """

    severity: Range = (0.35, 1.15)
    rough_chance: float = 0.85
    rough_mm: Range = (0.3, 1.1)
    ragged_chance: float = 0.65
    ragged_mm: Range = (0.3, 1.6)
    length_mm: Range = (1.5, 5.0)
    bias_chance: float = 0.12
    bias_mm: Range = (0.3, 1.0)
    stairs_chance: float = 0.3
    slice_staircase_mm: Range = (1.6, 4.0)
    coarse_chance: float = 0.15
    coarse_mm: Range = (1.5, 2.4)
    small_components: float = 7.0
    holes: float = 4.0
    leaks: float = 2.5
    swaps: float = 0.7
    cut_vessel_chance: float = 0.3
    coronary_gaps: float = 4.0
    coronary_width_chance: float = 0.5
    coronary_end_chance: float = 0.3
    slice_shift_chance: float = 0.12
    slice_drop_chance: float = 0.12
    salt_chance: float = 0.25
    salt_share: Range = (0.002, 0.02)


def corrupt(
    truth: Labels, spacing_mm: Vector, rng: np.random.Generator, recipe: Recipe | None = None
) -> tuple[Labels, tuple[str, ...]]:
    """Spoil a label map; returns the noisy map and the name and strength of every fault in the order applied."""
    noisy, modes = truth.copy(), []
    for mode, fault in _draw(recipe or Recipe(), rng, spacing_mm):
        noisy = fault(noisy)
        modes.append(mode)
    return noisy, tuple(modes)


def _draw(r: Recipe, rng: np.random.Generator, sp: Vector) -> Iterator[tuple[str, Callable[[Labels], Labels]]]:
    severity = float(rng.uniform(*r.severity))

    def happens(chance: float) -> bool:
        return bool(rng.random() < min(chance * (0.4 + 0.6 * severity), 1.0))

    def drawn(span: Range) -> float:
        return float(rng.uniform(*span))

    def some(mean: float, span: Range) -> Iterator[float]:
        yield from (drawn(span) for _ in range(int(rng.poisson(mean * severity))))

    with_rng: dict[str, Any] = {"spacing_mm": sp, "rng": rng}
    for mm in some(r.coronary_gaps, (1.5, 7.0)):
        yield f"coronary_gap@{mm:.1f}mm", partial(cut, label=Label.CORONARY, length_mm=mm, **with_rng)
    if happens(r.coronary_end_chance):
        mm = drawn((10.0, 30.0))
        yield f"coronary_end_lost@{mm:.0f}mm", partial(lose_end, label=Label.CORONARY, length_mm=mm, **with_rng)
    if happens(r.coronary_width_chance):
        mm = drawn((-0.35, 0.6))
        yield f"coronary_width{mm:+.1f}mm", partial(bias, label=Label.CORONARY, offset_mm=mm, **with_rng)
    if happens(r.cut_vessel_chance):
        vessel, mm = VESSELS[rng.integers(len(VESSELS))], drawn((4.0, 12.0))
        yield f"cut_vessel:{vessel.name}@{mm:.0f}mm", partial(cut, label=vessel, length_mm=mm, **with_rng)
    for label in STRUCTURES:
        if label != Label.CORONARY and happens(r.bias_chance):
            mm = drawn(r.bias_mm) * (1 if rng.random() < 0.5 else -1)
            yield f"bias:{label.name}{mm:+.1f}mm", partial(bias, label=label, offset_mm=mm, **with_rng)
    for mm in some(r.leaks, (2.5, 7.0)):
        yield f"leak@{mm:.1f}mm", partial(leak, radius_mm=mm, **with_rng)
    for mm in some(r.swaps, (4.0, 10.0)):
        yield f"swap@{mm:.1f}mm", partial(swap, radius_mm=mm, **with_rng)
    for mm in some(r.holes, (1.2, 5.0)):
        yield f"hole@{mm:.1f}mm", partial(hole, radius_mm=mm, **with_rng)
    if happens(r.rough_chance):
        mm, length = severity * drawn(r.rough_mm), drawn(r.length_mm)
        yield f"rough@{mm:.1f}mm/{length:.1f}mm", partial(rough, size_mm=mm, length_mm=length, **with_rng)
    if happens(r.ragged_chance):
        for label in STRUCTURES:
            if rng.random() < 0.5:
                mm, length = severity * drawn(r.ragged_mm), drawn(r.length_mm)
                mm *= 0.4 if label == Label.CORONARY else 1.0
                fault = partial(ragged, label=label, size_mm=mm, length_mm=length, **with_rng)
                yield f"ragged:{label.name}@{mm:.1f}mm/{length:.1f}mm", fault
    if happens(r.stairs_chance):
        axis, mm = int(rng.integers(3)), drawn(r.slice_staircase_mm)
        steps = [mm if a == axis else 0.0 for a in range(3)]
        yield f"stairs:axis{axis}@{mm:.1f}mm", partial(staircases, spacing_mm=sp, step_mm=steps)
    elif happens(r.coarse_chance):
        mm = drawn(r.coarse_mm)
        yield f"coarse@{mm:.1f}mm", partial(staircases, spacing_mm=sp, step_mm=[mm] * 3)
    for mm in some(r.small_components, (1.0, 6.0)):
        mm *= 1.8 if rng.random() < 0.15 else 1.0
        yield f"crumb@{mm:.1f}mm", partial(small_component, radius_mm=mm, **with_rng)
    if happens(r.slice_shift_chance):
        mm = drawn((1.0, 3.5))
        yield f"slice_shift@{mm:.1f}mm", partial(shift_slices, shift_mm=mm, **with_rng)
    if happens(r.slice_drop_chance):
        yield "slice_drop", partial(drop_slices, rng=rng)
    if happens(r.salt_chance):
        share = drawn(r.salt_share)
        yield f"salt@{share:.3f}", partial(speckle, rng=rng, share=share)


def rough(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, size_mm: float, length_mm: float) -> Labels:
    """Push all surfaces together by a correlated random displacement (rms `size_mm` per axis; thin vessels less)."""
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


def ragged(
    labels: Labels, spacing_mm: Vector, rng: np.random.Generator, label: int, size_mm: float, length_mm: float
) -> Labels:
    """Move one structure's surface in and out along its normal (rms `size_mm`); it grows over background only."""
    return _offset(labels, spacing_mm, label, size_mm, length_mm, 0.0, rng)


def bias(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, label: int, offset_mm: float) -> Labels:
    """Over-segment (positive) or under-segment one structure, more in some places than in others."""
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
    anisotropy = tuple(float(s) for s in spacing_mm)
    half = float(spacing_mm.min()) / 2
    inside = edt.edt(np.ascontiguousarray(mask), anisotropy=anisotropy)
    outside = edt.edt(np.ascontiguousarray(~mask), anisotropy=anisotropy)
    distance = np.where(mask, half - inside, outside - half)
    limit = mean_mm + size_mm * smooth_noise(part.shape, spacing_mm, length_mm, rng)
    part[mask & (distance > limit)] = 0
    part[~mask & (distance < limit) & (part == 0)] = label
    return result


def staircases(labels: Labels, spacing_mm: Vector, step_mm: list[float]) -> Labels:
    """The map as drawn on slices `step_mm` apart (0: as they are) and copied back without interpolation."""
    index = []
    for n, spacing, step in zip(labels.shape, spacing_mm, step_mm, strict=True):
        thick = max(step / spacing, 1.0)
        slab = np.floor((np.arange(n) + 0.5) / thick)
        index.append(np.clip(np.floor((slab + 0.5) * thick).astype(int), 0, n - 1))
    return labels[np.ix_(*index)]


def small_component(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, radius_mm: float) -> Labels:
    """A loose blob of a structure in the background, mostly not far from it."""
    label, home = _some_voxel(labels, rng)
    if label is None:
        return labels
    away = rng.standard_normal(3)
    reach = rng.uniform(6, 25) if rng.random() < 0.75 else rng.uniform(25, 70)
    centre = home + reach * away / np.linalg.norm(away) / spacing_mm
    return _stamp(labels, spacing_mm, rng, centre, radius_mm, {Label.BACKGROUND}, label)


def hole(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, radius_mm: float) -> Labels:
    """A blob of background inside a structure or at its edge."""
    label, centre = _some_voxel(labels, rng)
    if label is None:
        return labels
    return _stamp(labels, spacing_mm, rng, centre, radius_mm, {label}, Label.BACKGROUND)


def leak(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, radius_mm: float) -> Labels:
    """One structure spills into another where they meet, or nearly: thin walls leak most."""
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


def swap(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, radius_mm: float) -> Labels:
    """A patch of one structure is called by the name of another."""
    label, centre = _some_voxel(labels, rng)
    other, _ = _some_voxel(labels, rng)
    if label is None or other in (None, label, Label.CORONARY):
        return labels
    return _stamp(labels, spacing_mm, rng, centre, radius_mm, {label}, other)


def cut(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, label: int, length_mm: float) -> Labels:
    """Take a stretch of about `length_mm` out of a vessel, through its whole width if it is not much wider."""
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


def lose_end(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, label: int, length_mm: float) -> Labels:
    """Lose what lies within `length_mm` of one of the places farthest from the structure's middle."""
    voxels = np.argwhere(labels == label)
    if not len(voxels):
        return labels
    distance = np.linalg.norm((voxels - voxels.mean(axis=0)) * spacing_mm, axis=1)
    far = np.flatnonzero(distance >= np.quantile(distance, 0.9))
    end = voxels[far[rng.integers(len(far))]]
    gone = voxels[np.linalg.norm((voxels - end) * spacing_mm, axis=1) < length_mm]
    result = labels.copy()
    result[tuple(gone.T)] = 0
    return result


def shift_slices(labels: Labels, spacing_mm: Vector, rng: np.random.Generator, shift_mm: float) -> Labels:
    """A run of slices moved sideways, as by a breath."""
    first, last = _run(labels.shape[2], rng, (3, 14))
    result = labels.copy()
    angle = rng.uniform(0, 2 * np.pi)
    step = np.round(shift_mm * np.array([np.cos(angle), np.sin(angle)]) / spacing_mm[:2]).astype(int)
    result[:, :, first:last] = np.roll(labels[:, :, first:last], tuple(step), axis=(0, 1))
    return result


def drop_slices(labels: Labels, rng: np.random.Generator) -> Labels:
    """One to three slices without any label."""
    first, last = _run(labels.shape[2], rng, (1, 3))
    result = labels.copy()
    result[:, :, first:last] = 0
    return result


def speckle(labels: Labels, rng: np.random.Generator, share: float) -> Labels:
    """A share of the voxels in and about the heart take the label of a voxel up to three away."""
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
    """The box of voxels within `reach` (voxels) of a centre, inside the volume."""
    low = np.clip(np.floor(centre - reach).astype(int), 0, shape)
    high = np.clip(np.ceil(centre + reach).astype(int) + 1, low, shape)
    x, y, z = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return x, y, z


def offsets_mm(box: Box, centre: Vector, spacing_mm: Vector) -> NDArray[np.float64]:
    """For each voxel of a box its offset (..., 3) from the centre, mm."""
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
    """Write `label` into a lumpy ellipsoid wherever the map now holds one of `onto`."""
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
    """A structure, each as likely as the others, and a voxel of it; (None, ...) if the map is empty."""
    for label in rng.permutation(np.array(STRUCTURES)):
        found = np.flatnonzero(labels == label)
        if len(found):
            return int(label), np.array(np.unravel_index(found[rng.integers(len(found))], labels.shape))
    return None, np.zeros(3, np.int64)


def _run(count: int, rng: np.random.Generator, length: tuple[int, int]) -> tuple[int, int]:
    first = int(rng.integers(count // 6, max(5 * count // 6, count // 6 + 1)))
    return first, min(first + int(rng.integers(length[0], length[1] + 1)), count)
