"""How much mending changed in each case, and which cases a person should see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from heartmend.io.dataset import Case
from heartmend.repair.change_log import ChangeLog
from heartmend.repair.changes import Severity
from heartmend.run_folder.finished import FinishedRun


@dataclass(frozen=True)
class CaseChange:
    """What mending changed in a case, in numbers."""

    case: str
    added_ml: float
    removed_ml: float
    renamed_ml: float
    heart_ml: float
    """All structures together, as they came."""
    severity: Severity
    warnings: int
    looks: int
    untaken: tuple[str, ...]
    """Structures that stayed as they came because the mended ones departed too far."""

    @property
    def changed_share(self) -> float:
        """Of the heart's volume."""
        return (self.added_ml + self.removed_ml + self.renamed_ml) / max(self.heart_ml, 1e-6)


def change_of(finished: FinishedRun, case: Case) -> CaseChange:
    """Compare a case's two label maps. Voxels that became or were background are added or removed."""
    was, now = finished.before(case), finished.after(case)
    audit: ChangeLog = finished.changes(case)
    changed = was.labels != now.labels
    a, b = was.labels[changed], now.labels[changed]
    ml = was.grid.voxel_mm3 / 1000
    return CaseChange(
        case.id,
        int(np.count_nonzero(a == 0)) * ml,
        int(np.count_nonzero(b == 0)) * ml,
        int(np.count_nonzero((a != 0) & (b != 0))) * ml,
        int(np.count_nonzero(was.labels)) * ml,
        audit.severity,
        sum(c.severity == "warning" for c in audit.changes),
        sum(c.severity == "review" for c in audit.changes),
        tuple(v.structure for v in audit.verdicts if not v.accepted),
    )


def select_cases(
    changes: Sequence[CaseChange], dice: Mapping[str, float], worst: int = 2, most_changed: int = 2
) -> list[tuple[str, str]]:
    """Case ids with the reason why they are shown, each once: the worst, then the most changed of the others.

    dice: of each mended case, against a reference; with it the worst are those with the lowest, without it those with
    most structures not taken, then most warnings, then most that is worth a look.
    """
    if dice:
        gravest = sorted(changes, key=lambda c: dice.get(c.case, 2.0))
    else:
        gravest = sorted(changes, key=lambda c: (-len(c.untaken), -c.warnings, -c.looks, c.case))
    chosen = {c.case: _why(c, dice) for c in gravest[:worst]}
    rest = sorted((c for c in changes if c.case not in chosen), key=lambda c: (-c.changed_share, c.case))
    for c in rest[:most_changed]:
        chosen[c.case] = f"among the most changed: {100 * c.changed_share:.1f} % of the heart's volume"
    return list(chosen.items())


def _why(c: CaseChange, dice: Mapping[str, float]) -> str:
    if c.case in dice:
        return f"among the lowest Dice against the reference after mending: {dice[c.case]:.3f} on average"
    told = []
    if c.untaken:
        told.append(f"{', '.join(c.untaken)} kept as they came, because mending departed too far")
    told += [f"{n} {word}" for n, word in ((c.warnings, "warnings"), (c.looks, "changes worth a look")) if n]
    return (
        f"among the most uncertain_voxels: {'; '.join(told)}"
        if told
        else "among the most uncertain_voxels, but nothing stands out"
    )
