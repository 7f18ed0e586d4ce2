"""Structures whose size is unusual beside the other cases, and structures that only this case lacks. Each is a remark.

A heart may be large as a whole, so a structure is compared with the others of its own heart: an atrium of twice its
share, an aorta of one and a half times its width. A label that is wrong in this way looks the same; the remark names
both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from heartmend.anatomy.schema import Anatomy
from heartmend.geometry.boxes import Box, boxes_by_id
from heartmend.geometry.components import without_small_components
from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.geometry.grid import Grid
from heartmend.repair.changes import ORIGINAL_KEPT, Change, box_in_mm
from heartmend.types import FloatArray, Labels, Mask

RULE = "unusual_size"
"""Name of this method in the change log."""
MIN_CASES = 6
"""Smallest number of cases that have a structure, for a comparison."""
OUTLIER_Z = 3.5
"""A size is unusual from so many robust standard deviations on (Iglewicz and Hoaglin 1993)."""
MIN_VOLUME_RATIO, MIN_WIDTH_RATIO = 1.4, 1.25
"""A smaller ratio to the other cases is not unusual, however little these differ."""
MIN_SD_OF_VOLUME, MIN_SD_OF_WIDTH = 0.08, 0.05
"""Least standard deviation of the logarithm of volumes and of widths that a cohort is assumed to have."""
PRESENT_SHARE = 0.75
"""A structure that so many of the cases have is unusually absent from the others."""
MAD_TO_SD = 1.4826
"""Standard deviation of a Gaussian variable with a median absolute deviation of 1."""
_STEP_MM = 1.6
"""Widths are measured on every voxel that is about this far from the one before."""


@dataclass(frozen=True)
class ComparedSize:
    """Size of a structure of a case.

    Attributes:
        volume_ml: its volume, without small components.
        width_mm: diameter of its widest place; 0 where the width of its kind of structure is not compared.
        is_cut: whether it reaches the border of the volume, so that its size is that of a part.
    """

    volume_ml: float
    width_mm: float = 0.0
    is_cut: bool = False


def measure_compared_sizes(labels: Labels, anatomy: Anatomy, grid: Grid, box: Box) -> dict[str, ComparedSize]:
    """Measure the structures of a label map, but for thin vessels.

    Args:
        labels: (x, y, z) uint8, the label map of a part of the volume.
        anatomy: the structures.
        grid: grid of the whole volume.
        box: the part of the volume.

    Returns:
        The size of each structure that is present.
    """
    sizes, steps = {}, [max(round(_STEP_MM / step), 1) for step in grid.spacing_mm]
    x_mm, y_mm, z_mm = (step * mm for step, mm in zip(steps, grid.spacing_mm, strict=True))
    for id, inner in boxes_by_id(labels).items():
        if id not in anatomy.ids or anatomy.by_id(id).kind == "tube":
            continue
        structure = anatomy.by_id(id)
        mask = without_small_components(labels[inner] == id)
        width_mm = 0.0
        if structure.kind == "chamber" or (structure.kind == "vessel" and not structure.must_touch):
            every = np.pad(mask[tuple(slice(None, None, step) for step in steps)], 1)
            width_mm = 2 * float(distance_transform_mm(every, (x_mm, y_mm, z_mm)).max())
        is_cut = any(
            (outer.start + side.start == 0 and mask.take(0, axis).any())
            or (outer.start + side.stop == count and mask.take(-1, axis).any())
            for axis, (outer, side, count) in enumerate(zip(box, inner, grid.shape, strict=True))
        )
        volume_ml = int(mask.sum()) * grid.voxel_mm3 / 1000
        sizes[structure.name] = ComparedSize(round(volume_ml, 3), round(width_mm, 2), is_cut)
    return sizes


def name_unusual_sizes(
    sizes: Mapping[str, Mapping[str, ComparedSize]], boxes: Mapping[str, tuple[Box, Grid]]
) -> dict[str, tuple[Change, ...]]:
    """Compare the sizes of the structures of all cases.

    The logarithm of each volume is compared with the median of the cohort; what the structures of a heart share is its
    size and does not count. The same is done with widths. A structure that the field of view cuts is not compared.

    Args:
        sizes: size of each structure that is present, by case and structure.
        boxes: box of the heart of each case, and the grid of its label map.

    Returns:
        Remarks by case; cases without one are missing.
    """
    cases = list(sizes)
    names = sorted({name for found in sizes.values() for name in found})
    texts: dict[str, dict[str, str]] = {case: {} for case in cases}
    widths = _table(sizes, names, lambda size: size.width_mm)
    volumes = _table(sizes, names, lambda size: size.volume_ml)
    # A volume says more than a width, so it is the one that is named where both are unusual.
    for table, words, what, unit, min_ratio, min_sd in (
        (widths, ("wide", "narrow"), "width", "mm", MIN_WIDTH_RATIO, MIN_SD_OF_WIDTH),
        (volumes, ("large", "small"), "volume", "ml", MIN_VOLUME_RATIO, MIN_SD_OF_VOLUME),
    ):
        ratios, is_unusual = _outliers(table, min_ratio, min_sd)
        for row, column in np.argwhere(is_unusual):
            ratio, value = ratios[row, column], table[row, column]
            texts[cases[row]][names[column]] = (
                f"unusually {words[int(ratio < 1)]}, or a large error: {value:.3g} {unit}, {ratio:.2f} times the "
                f"{what} of the other cases beside the rest of the heart"
            )
    present = {name: sum(name in found for found in sizes.values()) for name in names}
    for name, count in present.items():
        for case in cases:
            if name not in sizes[case] and count >= max(PRESENT_SHARE * len(cases), MIN_CASES):
                texts[case][name] = f"absent, present in {count} of {len(cases)} cases; it stays absent"
    return {
        case: tuple(
            Change(RULE, name, ORIGINAL_KEPT, 0, 0.0, box_in_mm(*boxes[case]), "review", text)
            for name, text in found.items()
        )
        for case, found in texts.items()
        if found
    }


def _table(
    sizes: Mapping[str, Mapping[str, ComparedSize]], names: Sequence[str], measure: Callable[[ComparedSize], float]
) -> FloatArray:
    """(case, structure) measure of each structure; NaN where it is absent, cut or not measured."""
    table = np.full((len(sizes), len(names)), np.nan)
    for row, found in enumerate(sizes.values()):
        for column, name in enumerate(names):
            if name in found and not found[name].is_cut and measure(found[name]) > 0:
                table[row, column] = measure(found[name])
    return table


def _outliers(table: FloatArray, min_ratio: float, min_sd: float) -> tuple[FloatArray, Mask]:
    """Ratio of each measure to the other cases beside the rest of its heart, and which of them are unusual."""
    ratios, is_unusual = np.full(table.shape, np.nan), np.zeros(table.shape, dtype=bool)
    columns = np.flatnonzero((~np.isnan(table)).sum(axis=0) >= MIN_CASES)
    if not len(columns):
        return ratios, is_unusual
    logs = np.log(table[:, columns])
    logs -= np.nanmedian(logs, axis=0)
    known = ~np.isnan(logs).all(axis=1)
    logs[known] -= np.nanmedian(logs[known], axis=1, keepdims=True)
    logs -= np.nanmedian(logs, axis=0)
    sd = np.maximum(MAD_TO_SD * np.nanmedian(np.abs(logs), axis=0), min_sd)
    ratios[:, columns] = np.exp(logs)
    far = np.abs(np.nan_to_num(logs))
    is_unusual[:, columns] = (far >= OUTLIER_Z * sd) & (far >= np.log(min_ratio))
    return ratios, is_unusual
