"""From ten signed distances to one label map: the first structure in the order that is sure enough has the voxel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.types import UNKNOWN, Labels

Fields = Mapping[str, npt.NDArray[np.float32]]
"""Signed distances in mm by structure, positive inside."""
Thresholds = Mapping[str, float]
"""How probable each structure must be to have a voxel; one that is not named needs a half."""

SURE_MM = 0.25
"""A voxel that lies so deep in a shape of distances has the log odds 1."""
_TRIED_MM = np.arange(-8, 9) * (SURE_MM / 8)


def probability(depth_mm: npt.ArrayLike) -> npt.NDArray[np.floating]:
    """How probable it is to be inside, so many mm deep."""
    return 1 / (1 + np.exp(-np.clip(np.asarray(depth_mm) / SURE_MM, -80, 80)))


def margin_mm(threshold: float) -> float:
    """The depth in mm at which a structure is just so probable. threshold: between 0 and 1."""
    return float(SURE_MM * np.log(threshold / (1 - threshold)))


def decide(fields: Fields, anatomy: Anatomy, thresholds: Thresholds) -> Labels:
    """One label map: in the order of the anatomy's priority the first structure with P >= its threshold, else 0."""
    labels = np.zeros(next(iter(fields.values())).shape, dtype=np.uint8)
    for name in reversed(anatomy.priority):
        if name in fields:
            labels[fields[name] >= margin_mm(thresholds.get(name, 0.5))] = anatomy.by_name(name).id
    return labels


def choose_thresholds(
    cases: Sequence[tuple[Fields, Labels]], anatomy: Anatomy, names: Sequence[str]
) -> dict[str, float]:
    """The threshold of each structure with the best Dice over the cases, given those before it in the order.

    cases: for each case its fields and the labels that they should give; 255 where nothing is known.
    """
    free = [truth != UNKNOWN for _, truth in cases]
    chosen = dict[str, float]()
    for name in (n for n in anatomy.priority if n in names):
        id = anatomy.by_name(name).id
        both, said, wanted = np.zeros(len(_TRIED_MM)), np.zeros(len(_TRIED_MM)), 0
        for (fields, truth), open_ in zip(cases, free, strict=True):
            depth, is_it = fields[name][open_], truth[open_] == id
            wanted += int((truth == id).sum())
            # How many of the tried margins a voxel reaches, and from that how many voxels reach each margin.
            reached = np.searchsorted(_TRIED_MM, depth, side="right")
            for total, counted in ((both, reached[is_it]), (said, reached)):
                total += np.bincount(counted, minlength=len(_TRIED_MM) + 1)[::-1].cumsum()[::-1][1:]
        dice = 2 * both / np.maximum(said + wanted, 1)
        # Of equals the one nearest to a half.
        best = min(np.flatnonzero(dice >= dice.max() - 1e-9), key=lambda i: abs(_TRIED_MM[i]))
        chosen[name] = round(float(probability(_TRIED_MM[best])), 4)
        for (fields, _), open_ in zip(cases, free, strict=True):
            open_ &= fields[name] < margin_mm(chosen[name])
    return chosen
