"""A cohort scored before and after: a row per case and structure, a summary per structure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heartmend.metrics.crop import Mask, crop_to_union
from heartmend.metrics.overlap import dice
from heartmend.metrics.surface import TOLERANCE_MM, surface_scores
from heartmend.metrics.topology import cldice, pieces

HARM = 0.01


@dataclass(frozen=True)
class Scores:
    """One mask against truth. `pieces_off` is the difference in pieces; `cldice` is None unless asked for."""

    dice: float
    nsd: float
    hd95_mm: float
    pieces_off: float
    cldice: float | None = None


@dataclass(frozen=True)
class Row:
    """One structure of one case, before and after."""

    case: str
    structure: int
    noisy: Scores
    mended: Scores

    @property
    def harmed(self) -> bool:
        """Both the overlap and the surface fell by more than one point."""
        return self.mended.dice < self.noisy.dice - HARM and self.mended.nsd < self.noisy.nsd - HARM


@dataclass(frozen=True)
class Summary:
    """One structure over the cases that have it: means before and after, and what was gained or harmed."""

    structure: int
    noisy: Scores
    mended: Scores
    cases: int
    harmed: tuple[str, ...]

    @property
    def gone(self) -> float:
        """Share of the noisy labels' Dice error that is gone; below 0 the mending did harm on average."""
        return 1 - (1 - self.mended.dice) / max(1 - self.noisy.dice, 1e-9)


def score_mask(
    true: Mask, other: Mask, spacing_mm: Sequence[float], tubular: bool = False, tolerance_mm: float = TOLERANCE_MM
) -> Scores:
    """Score one mask against truth; `tubular` adds the centreline Dice."""
    true, other = crop_to_union(true, other)
    nsd, hd95_mm, _ = surface_scores(other, true, spacing_mm, tolerance_mm)
    off = abs(pieces(other) - pieces(true))
    return Scores(dice(other, true), nsd, hd95_mm, float(off), cldice(other, true) if tubular else None)


def score_case(
    true: NDArray[np.integer],
    noisy: NDArray[np.integer],
    mended: NDArray[np.integer],
    spacing_mm: Sequence[float],
    ids: Iterable[int],
    case: str = "",
    tubular_ids: Iterable[int] = (9,),
    tolerance_mm: float = TOLERANCE_MM,
) -> list[Row]:
    """Score three label maps of one grid, one row for each of `ids` that exists in truth."""
    rows, tubular = [], set(tubular_ids)
    for structure in ids:
        target = true == structure
        if target.any():
            before, after = (
                score_mask(target, labels == structure, spacing_mm, structure in tubular, tolerance_mm)
                for labels in (noisy, mended)
            )
            rows.append(Row(case, structure, before, after))
    return rows


def summarise(rows: Iterable[Row]) -> dict[int, Summary]:
    """Means per structure over the cases, in the order in which structures first come."""
    by_structure: dict[int, list[Row]] = {}
    for row in rows:
        by_structure.setdefault(row.structure, []).append(row)
    return {
        structure: Summary(
            structure,
            mean_scores([row.noisy for row in members]),
            mean_scores([row.mended for row in members]),
            len(members),
            tuple(row.case for row in members if row.harmed),
        )
        for structure, members in by_structure.items()
    }


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Mean of each score; of the centreline Dice over those that have one."""
    centrelines = [score.cldice for score in scores if score.cldice is not None]
    return Scores(
        dice=float(np.mean([score.dice for score in scores])),
        nsd=float(np.mean([score.nsd for score in scores])),
        hd95_mm=float(np.mean([score.hd95_mm for score in scores])),
        pieces_off=float(np.mean([score.pieces_off for score in scores])),
        cldice=float(np.mean(centrelines)) if centrelines else None,
    )
