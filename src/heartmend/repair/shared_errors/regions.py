"""Named regions of the surfaces, and the error of each that all cases share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.errors import RunError
from heartmend.repair.shared_errors.estimate import CohortOffsets, Evidence, PatchError, confidence_interval_mm
from heartmend.repair.shared_errors.surface import SurfacePatches
from heartmend.types import BACKGROUND

BESIDE = "beside"
"""First word of the region where a structure borders on another one, if the anatomy does not name it."""
MIN_SHARE = 0.5
"""A region is measured if the error of at least this share of its surface is known."""


@dataclass(frozen=True)
class RegionError:
    """Error of a named region of a surface that all cases share.

    Attributes:
        structure: name of the structure.
        region: name of the region.
        n_cases: number of cases in which it was measured.
        evidence: whether its error is known.
        mean_mm: mean signed error over the cases; positive: the label is too wide. NaN where it is not known.
        ci95_low_mm: lower limit of the 95 % confidence interval of the mean.
        ci95_high_mm: upper limit.
        case_sd_mm: standard deviation over the cases: what is a case's own.
        left_mm: the mean signed error after the correction; NaN where it was not measured.
    """

    structure: str
    region: str
    n_cases: int
    evidence: Evidence
    mean_mm: float = float("nan")
    ci95_low_mm: float = float("nan")
    ci95_high_mm: float = float("nan")
    case_sd_mm: float = float("nan")
    left_mm: float = float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Convert the region for JSON.

        Returns:
            The table; numbers that are not known are None.
        """
        return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        """Read the region from the table of `to_dict`.

        Args:
            table: the table.

        Returns:
            The region.

        Raises:
            RunError: if the table is damaged.
        """
        values: dict[str, Any] = {k: float("nan") if v is None else v for k, v in table.items()}
        try:
            return cls(**values)
        except TypeError as error:
            raise RunError(f"the record of the shared errors is damaged: {error}") from error


def name_patches(
    errors: Sequence[PatchError], patches: Mapping[str, SurfacePatches], anatomy: Anatomy
) -> dict[tuple[int, int, int], str]:
    """Name the region of each patch beside each of its neighbours.

    Args:
        errors: the patches.
        patches: patches of each structure, by name.
        anatomy: the structures and their named regions.

    Returns:
        (structure, patch, neighbour) -> name of the region.
    """
    names = {s.id: s.name for s in anatomy.structures}
    found = {}
    for key in sorted({(error.structure, error.patch, error.neighbour) for error in errors}):
        structure, patch, neighbour = key
        beside = names.get(neighbour) if neighbour != BACKGROUND else None
        found[key] = _region(anatomy, names[structure], beside, patches, patch)
    return found


def _region(
    anatomy: Anatomy, structure: str, beside: str | None, patches: Mapping[str, SurfacePatches], patch: int
) -> str:
    for region in anatomy.regions:
        if region.structure != structure or region.beside != beside:
            continue
        if region.away_from is None:
            return region.name
        if region.away_from not in patches:
            continue
        own = patches[structure]
        direction = (own.centres.mean(axis=0) - patches[region.away_from].centres.mean(axis=0)) * own.size_mm / 2
        along = (own.centres * own.size_mm / 2) @ direction
        if along[patch] >= np.quantile(along, 1 - region.share):
            return region.name
    return "free surface" if beside is None else f"{BESIDE} {beside}"


def summarise_regions(
    offsets: CohortOffsets, errors: Sequence[PatchError], names: Mapping[tuple[int, int, int], str], anatomy: Anatomy
) -> list[RegionError]:
    """Compute the error of each named region.

    Args:
        offsets: the offsets of all cases.
        errors: the errors of their patches.
        names: name of the region of each patch (`name_patches`).
        anatomy: the structures.

    Returns:
        The regions, in the order of the structures and then by their area.
    """
    area, known, unclear = (
        defaultdict[Any, float](float),
        defaultdict[Any, float](float),
        defaultdict[Any, float](float),
    )
    measured = dict[tuple[int, int, int, bool], PatchError]()
    for error in errors:
        region = error.structure, names[error.structure, error.patch, error.neighbour]
        area[region] += error.n_cases * error.samples
        if error.evidence == "measured":
            known[region] += error.n_cases * error.samples
            measured[error.structure, error.patch, error.neighbour, error.in_contact] = error
        elif error.evidence == "unclear":
            unclear[region] += error.n_cases * error.samples
    means = _case_means(offsets, measured, names)
    order = {id: at for at, id in enumerate(anatomy.ids)}
    found = []
    for id, name in sorted(area, key=lambda key: (order[key[0]], -area[key])):
        structure, values = anatomy.by_id(id).name, means.get((id, name), np.empty(0))
        if known[id, name] < MIN_SHARE * area[id, name] or len(values) < 2:
            evidence: Evidence = "unclear" if unclear[id, name] > 0 or known[id, name] > 0 else "none"
            found.append(RegionError(structure, name, len(values), evidence))
            continue
        low, high = confidence_interval_mm(values)
        deviation = float(values.std(ddof=1))
        found.append(RegionError(structure, name, len(values), "measured", float(values.mean()), low, high, deviation))
    return found


def _case_means(
    offsets: CohortOffsets,
    measured: Mapping[tuple[int, int, int, bool], PatchError],
    names: Mapping[tuple[int, int, int], str],
) -> dict[tuple[int, str], npt.NDArray[np.float64]]:
    """Mean error of each region in each case, over the patches whose error is known."""
    sums = defaultdict[tuple[int, str, int], list[float]](lambda: [0.0, 0.0])
    columns = zip(
        offsets.structures.tolist(), offsets.patches.tolist(), offsets.neighbours.tolist(),
        offsets.in_contact.tolist(), offsets.cases.tolist(), offsets.counts.tolist(), offsets.offsets_mm.tolist(),
        strict=True,
    )  # fmt: skip
    for structure, patch, neighbour, in_contact, case, count, offset in columns:
        error = measured.get((structure, patch, neighbour, in_contact))
        if error is not None and error.agrees_with(offset):
            total = sums[structure, names[structure, patch, neighbour], case]
            total[0] -= count * offset
            total[1] += count
    found = defaultdict[tuple[int, str], list[float]](list)
    for (structure, name, _), (total_mm, count) in sums.items():
        found[structure, name].append(total_mm / count)
    return {key: np.array(values) for key, values in found.items()}
