"""Order in which the cases and structures of a run are reviewed, and the error that is expected to be left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import exp
from statistics import median

from heartmend.repair.changes import Change

# A structure that failed the acceptance test outweighs forty changes with the severity `review`, of which a correct
# case can have a dozen. A change of a tenth of the labelled voxels weighs as much as ten of them.
NOT_ACCEPTED_WEIGHT, WARNING_WEIGHT, REVIEW_WEIGHT, CHANGED_FRACTION_WEIGHT = 20.0, 10.0, 0.5, 50.0
ERROR_SCALE, AREA_POWER, CHANGED_POWER, VOLUME_POWER = 0.1, 0.56, 0.34, 1.26
"""The expected Dice error is ERROR_SCALE (area / volume)^AREA_POWER (changed + CHANGED_FLOOR)^CHANGED_POWER
exp(VOLUME_POWER deviation). The powers are those with which the shares of the error agree best with the true ones
within each of the label sets of `benchmarks/fit_trust.py test`; the scale has no influence on the order."""
CHANGED_FLOOR = 0.003
"""Dice error between before and after that is below what voxels resolve."""


@dataclass(frozen=True)
class ReviewPriority:
    """Reasons to review a case early.

    Attributes:
        n_not_accepted: structures whose repaired mask failed the acceptance test.
        n_warning: changes with the severity `warning`.
        n_review: changes with the severity `review`.
        changed_fraction: changed voxels as a fraction of the labelled voxels.
    """

    n_not_accepted: int
    n_warning: int
    n_review: int
    changed_fraction: float

    @property
    def score(self) -> float:
        """Weighted sum of the reasons; cases with a high score are reviewed first."""
        counts = NOT_ACCEPTED_WEIGHT * self.n_not_accepted + WARNING_WEIGHT * self.n_warning
        return round(counts + REVIEW_WEIGHT * self.n_review + CHANGED_FRACTION_WEIGHT * self.changed_fraction, 2)


def priority_of(changes: Iterable[Change], n_not_accepted: int, changed_fraction: float) -> ReviewPriority:
    """Compute the review priority of a case.

    Args:
        changes: changes of the case.
        n_not_accepted: structures whose repaired mask failed the acceptance test.
        changed_fraction: changed voxels as a fraction of the labelled voxels.

    Returns:
        The priority.

    Example:
        >>> priority_of([], 0, 0.1).score
        5.0
    """
    severities = [c.severity for c in changes]
    return ReviewPriority(
        n_not_accepted=n_not_accepted,
        n_warning=severities.count("warning"),
        n_review=severities.count("review"),
        changed_fraction=round(changed_fraction, 5),
    )


def expected_error(volume_mm3: float, area_mm2: float, changed_error: float) -> float:
    """Estimate the Dice error that a repaired structure has still, up to a factor that all structures share.

    Thin structures and those that the repair had to change most have the largest ones: `benchmarks/review_budget.py`
    measures how much of the true error the order finds.

    Args:
        volume_mm3: volume of the repaired structure.
        area_mm2: area of its surface.
        changed_error: 1 - Dice between the original and the repaired structure.

    Returns:
        The expected 1 - Dice; 1 where nothing of the structure remains.

    Example:
        >>> round(expected_error(100_000.0, 12_000.0, 0.03), 4), expected_error(0.0, 0.0, 1.0)
        (0.0096, 1.0)
    """
    if not volume_mm3:
        return 1.0
    thin = (area_mm2 / volume_mm3) ** AREA_POWER
    return min(ERROR_SCALE * thin * (changed_error + CHANGED_FLOOR) ** CHANGED_POWER, 1.0)


def expected_errors(cases: Mapping[str, Mapping[str, tuple[float, float]]]) -> dict[str, dict[str, float]]:
    """Raise the expected errors of structures whose volumes are unusual beside those of the other cases.

    The volume of a structure is taken as a share of that of all structures of its case. The deviation of v from the
    median m is |v - m| / (v + m), the Dice error of two nested masks of these volumes.

    Args:
        cases: case id -> name of a structure -> its expected error (`expected_error`) and its volume, in any unit.

    Returns:
        Case id -> name of a structure -> its expected error.

    Example:
        >>> heart = {"LV": (0.02, 100.0), "RV": (0.02, 100.0)}
        >>> errors = expected_errors({"1": heart, "2": heart, "3": {"LV": (0.02, 20.0), "RV": (0.02, 100.0)}})
        >>> errors["1"]["LV"], round(errors["3"]["LV"], 3)
        (0.02, 0.038)
    """
    shares: dict[str, dict[str, float]] = {}
    for case, structures in cases.items():
        total = sum(volume for _, volume in structures.values()) or 1.0
        shares[case] = {name: volume / total for name, (_, volume) in structures.items()}
    names = dict.fromkeys(name for found in shares.values() for name in found)
    medians = {name: median(found[name] for found in shares.values() if name in found) for name in names}
    result: dict[str, dict[str, float]] = {}
    for case, structures in cases.items():
        result[case] = {}
        for name, (own, _) in structures.items():
            share, usual = shares[case][name], medians[name]
            deviation = abs(share - usual) / (share + usual) if share + usual else 0.0
            result[case][name] = min(own * exp(VOLUME_POWER * deviation), 1.0)
    return result
