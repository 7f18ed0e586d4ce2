"""Order in which the cases of a run are reviewed."""

from __future__ import annotations

from dataclasses import dataclass

from heartmend.repair.change_log import ChangeLog

# A structure that failed the acceptance test outweighs forty changes with the severity `review`, of which a correct
# case can have a dozen. A change of a tenth of the labelled voxels weighs as much as ten of them.
NOT_ACCEPTED_WEIGHT, WARNING_WEIGHT, REVIEW_WEIGHT, CHANGED_FRACTION_WEIGHT = 20.0, 10.0, 0.5, 50.0


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


def priority_of(change_log: ChangeLog, changed_fraction: float) -> ReviewPriority:
    """Compute the review priority of a case.

    Args:
        change_log: change log of the case.
        changed_fraction: changed voxels as a fraction of the labelled voxels.

    Returns:
        The priority.

    Example:
        >>> priority_of(ChangeLog("1"), 0.1).score
        5.0
    """
    return ReviewPriority(
        n_not_accepted=sum(not v.accepted for v in change_log.verdicts),
        n_warning=sum(c.severity == "warning" for c in change_log.changes),
        n_review=sum(c.severity == "review" for c in change_log.changes),
        changed_fraction=round(changed_fraction, 5),
    )
