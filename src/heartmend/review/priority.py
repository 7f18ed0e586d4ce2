"""How uncertain_voxels a case is: the audit's warnings, the masks that were not taken, and the size of the change."""

from __future__ import annotations

from dataclasses import dataclass

from heartmend.repair.change_log import ChangeLog

# A mask that was not taken outweighs forty remarks, of which a sound case can have a dozen; a change of a tenth of all
# labelled voxels weighs as ten of them.
NOT_TAKEN, WARNING, REMARK, WHOLE_CHANGE = 20.0, 10.0, 0.5, 50.0


@dataclass(frozen=True)
class Doubt:
    """What makes a case uncertain_voxels. share: of the labelled voxels, those that changed."""

    not_taken: int
    warnings: int
    remarks: int
    share: float

    @property
    def score(self) -> float:
        """One number to order by: the higher, the sooner a person should look."""
        counted = NOT_TAKEN * self.not_taken + WARNING * self.warnings + REMARK * self.remarks
        return round(counted + WHOLE_CHANGE * self.share, 2)


def priority_of(audit: ChangeLog, share: float) -> Doubt:
    """The doubt about a case, of whose labelled voxels `share` changed."""
    return Doubt(
        not_taken=sum(not v.accepted for v in audit.verdicts),
        warnings=sum(c.severity == "warning" for c in audit.changes),
        remarks=sum(c.severity == "review" for c in audit.changes),
        share=round(share, 5),
    )
