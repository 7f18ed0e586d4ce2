"""Error that all cases share at each patch of a surface, from the measurements of all cases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from heartmend.repair.shared_errors.edges import Steps, fit_blur_mm, nearest_steps, refine_offsets_mm
from heartmend.repair.shared_errors.measurement import DEPTHS_MM, PatchMeasurements
from heartmend.types import BACKGROUND

MIN_CASES = 5
"""With fewer cases at a patch its error is not estimated."""
MIN_TRUSTED = 3
"""The same for trusted cases."""
MIN_EDGE_SHARE = 0.75
"""Least share of the cases that have an edge at a patch, without outliers."""
MIN_BORDER_SHARE, MIN_BORDER_PATCHES = 0.5, 4
"""A border between two structures has an edge if at least this share of its patches have one, and so many patches."""
MAX_SPREAD_MM = 0.5
"""Largest robust standard deviation of the offsets over the cases: more is no edge of one surface."""
MIN_STEP_SHARE = 0.35
"""Least step of an edge, as a share of the usual step of the structure against the background."""
MIN_THICKNESS = 2.0
"""A structure that is thinner, in standard deviations of the blur from surface to middle, has no edge of its own."""
PLATEAU_MM = (2.5, 4.5)
"""The level of each side is measured at these distances from the surface."""
MIN_PLATEAU_SHARE = 0.5
"""Between two structures in contact the difference of their levels is at least this share of the step."""
OUTLIER = 3.0
"""Offsets farther from the median than this many robust standard deviations do not count."""


@dataclass(frozen=True, eq=False)
class CohortOffsets:
    """Offsets of the true surfaces from those of the label maps, over all cases.

    Attributes:
        cases: (m,) int32, number of the case.
        structures: (m,) uint8, id of the structure.
        patches: (m,) int32, patch of the structure.
        neighbours: (m,) uint8, id on the other side.
        in_contact: (m,) bool, whether the neighbour begins at the surface.
        offsets_mm: (m,) float64, offset outside the surface; NaN where it is not known.
        counts: (m,) int32, number of samples.
        places: (m, 3) float32, their mean place in the template's unit frame.
        by_image: whether the offsets are those of the image's edges, which may belong to another surface.
    """

    cases: npt.NDArray[np.int32]
    structures: npt.NDArray[np.uint8]
    patches: npt.NDArray[np.int32]
    neighbours: npt.NDArray[np.uint8]
    in_contact: npt.NDArray[np.bool_]
    offsets_mm: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int32]
    places: npt.NDArray[np.float32]
    by_image: bool


Evidence = Literal["measured", "unclear", "none"]
"""Whether the error of a patch is known: `unclear` where the cases do not agree, `none` where the image has no edge."""


@dataclass(frozen=True)
class PatchError:
    """Error of a patch that all cases share.

    Attributes:
        structure: id of the structure.
        patch: its patch.
        neighbour: id on the other side, or the background.
        in_contact: whether the neighbour begins at the surface.
        n_cases: number of cases with this patch and neighbour.
        samples: mean number of samples of the surface in these cases.
        place: mean place of these samples in the template's unit frame.
        evidence: whether the error could be measured.
        mean_mm: mean signed error; positive: the label is too wide. 0 where it could not be measured.
        standard_error_mm: standard error of the mean over the cases.
        spread_mm: standard deviation over the cases: what is a case's own.
    """

    structure: int
    patch: int
    neighbour: int
    in_contact: bool
    n_cases: int
    samples: float
    place: tuple[float, float, float]
    evidence: Evidence
    mean_mm: float = 0.0
    standard_error_mm: float = float("inf")
    spread_mm: float = float("nan")

    @property
    def border(self) -> tuple[int, int, bool]:
        """Border that the patch belongs to: structure, neighbour, and whether they are in contact."""
        return self.structure, self.neighbour, self.in_contact

    def agrees_with(self, offset_mm: float) -> bool:
        """Test whether the offset in a case is no outlier.

        Args:
            offset_mm: the offset; NaN where it is not known.

        Returns:
            Whether it is near the mean of all cases.
        """
        return abs(offset_mm + self.mean_mm) <= max(OUTLIER * self.spread_mm, MAX_SPREAD_MM)

    def without_edge(self) -> PatchError:
        """Return the patch as one where the image has no edge.

        Returns:
            The patch without an error.
        """
        key = self.structure, self.patch, self.neighbour, self.in_contact
        return PatchError(*key, self.n_cases, self.samples, self.place, "none")


def locate_edges(cases: Sequence[PatchMeasurements]) -> CohortOffsets:
    """Locate the edge of the image at each patch of all cases.

    Args:
        cases: the measurements of each case.

    Returns:
        The offsets of the edges.
    """
    intensities, thickness = _stacked(cases, "intensities"), _stacked(cases, "thickness_mm")
    structures, neighbours = _stacked(cases, "structures"), _stacked(cases, "neighbours")
    in_contact = _stacked(cases, "in_contact")
    touches = in_contact & (neighbours != BACKGROUND)
    steps = nearest_steps(intensities, _signs(intensities, structures, touches))
    borders = (structures.astype(np.int64) * 256 + neighbours) * 2 + in_contact
    blur_mm = fit_blur_mm(intensities, steps, borders)
    offsets = refine_offsets_mm(intensities, steps, thickness, blur_mm)
    is_thick = thickness + offsets >= MIN_THICKNESS * blur_mm
    offsets[~(_is_edge(intensities, steps, structures, touches) & is_thick)] = np.nan
    return _offsets(cases, offsets, by_image=True)


def edge_shares(offsets: CohortOffsets, case_ids: Sequence[str]) -> dict[str, float]:
    """Compute at which share of its patches the image of each case has an edge.

    The worse a label map is, the fewer of its surfaces are near an edge.

    Args:
        offsets: the offsets of the edges in all cases.
        case_ids: id of each case, in the order of their numbers.

    Returns:
        The share by case id; without cases that have no patch.
    """
    known = np.isfinite(offsets.offsets_mm)
    rows = {id: offsets.cases == number for number, id in enumerate(case_ids)}
    return {id: round(float(known[own].mean()), 4) for id, own in rows.items() if own.any()}


def trusted_offsets(cases: Sequence[PatchMeasurements]) -> CohortOffsets:
    """Collect the distances of the trusted surfaces of all cases.

    Args:
        cases: the measurements of each case.

    Returns:
        The offsets of the trusted surfaces.
    """
    return _offsets(cases, _stacked(cases, "trusted_mm").astype(np.float64), by_image=False)


def _stacked(cases: Sequence[PatchMeasurements], name: str) -> npt.NDArray[Any]:
    return np.concatenate([getattr(one, name) for one in cases])


def _offsets(
    cases: Sequence[PatchMeasurements], offsets_mm: npt.NDArray[np.float64], *, by_image: bool
) -> CohortOffsets:
    numbers = np.concatenate([np.full(len(one.counts), at, np.int32) for at, one in enumerate(cases)])
    return CohortOffsets(
        numbers, _stacked(cases, "structures"), _stacked(cases, "patches"), _stacked(cases, "neighbours"),
        _stacked(cases, "in_contact"), offsets_mm, _stacked(cases, "counts"), _stacked(cases, "places"), by_image,
    )  # fmt: skip


def _signs(
    intensities: npt.NDArray[np.float32], structures: npt.NDArray[np.uint8], touches: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int8]:
    """Sign of the step of each profile where there is background behind the surface: the usual one of the structure.

    Behind a gap there may be a step of the opposite sign, which is the edge of the neighbour.
    """
    either = nearest_steps(intensities, np.zeros(len(intensities), np.int8))
    signs = np.zeros(len(intensities), np.int8)
    for structure in np.unique(structures):
        free = (structures == structure) & ~touches
        signs[free] = np.sign(np.median(np.sign(either.heights_hu[free]))) if free.any() else 0
    return signs


def _is_edge(
    intensities: npt.NDArray[np.float32], steps: Steps, structures: npt.NDArray[np.uint8],
    touches: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:  # fmt: skip
    """Test whether the step of each profile is high enough, and between the levels of its two sides."""
    heights = np.abs(steps.heights_hu)
    enough = np.zeros(len(heights), bool)
    for structure in np.unique(structures):
        own = structures == structure
        free = own & ~touches & (heights > 0)
        usual = float(np.median(heights[free if free.any() else own]))
        enough[own] = heights[own] >= MIN_STEP_SHARE * usual
    outside = (PLATEAU_MM[0] <= DEPTHS_MM) & (PLATEAU_MM[1] >= DEPTHS_MM)
    difference = intensities[:, outside].mean(axis=1) - intensities[:, outside[::-1]].mean(axis=1)
    agrees = difference * np.sign(steps.heights_hu) >= MIN_PLATEAU_SHARE * heights
    return enough & (agrees | ~touches)


def estimate_patch_errors(offsets: CohortOffsets) -> list[PatchError]:
    """Estimate the error that all cases share at each patch.

    Args:
        offsets: the offsets of the edges in all cases.

    Returns:
        The error of each patch beside each of its neighbours, also of those without evidence.
    """
    keys = np.stack([offsets.structures, offsets.patches, offsets.neighbours, offsets.in_contact], axis=1)
    order = np.lexsort(keys.T[::-1])
    starts = np.flatnonzero((np.diff(keys[order], axis=0) != 0).any(axis=1)) + 1
    groups = np.split(order, starts) if len(order) else []
    errors = [_patch_error(offsets, rows) for rows in groups]
    if not offsets.by_image:
        return errors
    borders = defaultdict(list)
    for error in errors:
        borders[error.border].append(error)
    has_edge = {border for border, found in borders.items() if _has_edge(found)}
    return [error if error.border in has_edge else error.without_edge() for error in errors]


def _has_edge(errors: Sequence[PatchError]) -> bool:
    with_edge = sum(error.evidence == "measured" for error in errors)
    return with_edge >= max(MIN_BORDER_PATCHES, MIN_BORDER_SHARE * len(errors))


def _patch_error(offsets: CohortOffsets, rows: npt.NDArray[np.intp]) -> PatchError:
    first, values = rows[0], offsets.offsets_mm[rows]
    structure, patch, neighbour = (
        int(column[first]) for column in (offsets.structures, offsets.patches, offsets.neighbours)
    )
    n_cases, samples = len(rows), float(offsets.counts[rows].mean())
    x, y, z = (float(mean) for mean in offsets.places[rows].mean(axis=0))
    key = structure, patch, neighbour, bool(offsets.in_contact[first]), n_cases, samples, (x, y, z)
    values = values[np.isfinite(values)]
    if not offsets.by_image:
        if len(values) < MIN_TRUSTED:
            return PatchError(*key, "none")
        deviation = float(values.std(ddof=1))
        return PatchError(*key, "measured", -float(values.mean()), deviation / float(np.sqrt(len(values))), deviation)
    if len(values) < max(MIN_CASES, MIN_EDGE_SHARE * n_cases):
        return PatchError(*key, "none")
    centre = np.median(values)
    spread = 1.4826 * float(np.median(np.abs(values - centre)))
    values = values[np.abs(values - centre) <= OUTLIER * max(spread, 0.1)]
    if spread > MAX_SPREAD_MM or len(values) < max(MIN_CASES, MIN_EDGE_SHARE * n_cases):
        return PatchError(*key, "unclear")
    deviation = float(values.std(ddof=1))
    error_mm = deviation / float(np.sqrt(len(values)))
    return PatchError(*key, "measured", -float(values.mean()), error_mm, deviation)


def confidence_interval_mm(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Compute the 95 % confidence interval of a mean over cases, by Student's t.

    Args:
        values: (n,) one value of each case.

    Returns:
        Lower and upper limit; infinite for fewer than two values.

    Example:
        >>> import numpy as np
        >>> low, high = confidence_interval_mm(np.array([0.0, 1.0, 2.0]))
        >>> round(low, 2), round(high, 2)
        (-1.48, 3.48)
    """
    if len(values) < 2:
        return -float("inf"), float("inf")
    half = float(stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / np.sqrt(len(values)))
    return float(values.mean()) - half, float(values.mean()) + half
