"""Results of the pipelines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from heartmend.io.tables import NO_UNIT, Column, Table
from heartmend.run_folder.folder import RunFolder
from heartmend.wording import plural

COLUMNS = (
    Column("case", str),
    Column("structure", str, title="empty for changes of the map as a whole"),
    Column("accepted", bool, title="whether the repaired structure was accepted; empty where it was not refined"),
    Column("volume_ratio", float, NO_UNIT, "repaired volume over original volume"),
    Column("surface_mm", float, "mm", "95th percentile of the distance between the original and the repaired surface"),
    Column("changes", int, NO_UNIT, "entries of the change log"),
    Column("changed_mm3", float, "mm3", "volume of these changes"),
    Column("severity", str, title="the most severe of them: info, review or warning"),
)


@dataclass(frozen=True)
class Result:
    """The result of a run.

    Attributes:
        output: OUT.
        cases: ids of the cases that are done.
        skipped: the cases that were skipped, with the reasons.
        warnings: what is unusual about the files of cases.
        is_main: False in a process that only helped another, which has the result.
        prior: the heart or the model that was the template in place of a fitted one; empty where there was none.
    """

    output: Path
    cases: tuple[str, ...]
    skipped: dict[str, str]
    warnings: dict[str, list[str]] = field(default_factory=dict)
    is_main: bool = True
    prior: str = ""

    def __repr__(self) -> str:
        return f"Result({str(self.output)!r}: {plural(len(self.cases), 'case')}, {len(self.skipped)} skipped)"

    def table(self) -> Table:
        """Make a table of what was changed: a row for each structure of each repaired case.

        Returns:
            The table; without rows where the run stopped before `fuse`.
        """
        run = RunFolder.at(self.output)
        repaired = set(run.fused_ids())
        return Table(COLUMNS, [row for id in self.cases if id in repaired for row in _rows(run, id)])


@dataclass(frozen=True)
class CropResult:
    """Result of `crop` and of `centrelines`.

    Attributes:
        output: folder with the files.
        cases: ids of the cases that are done.
        skipped: the cases that were skipped, with the reasons.
    """

    output: Path
    cases: tuple[str, ...]
    skipped: dict[str, str]

    @classmethod
    def of(cls, output: Path, outcomes: Mapping[str, Exception | None]) -> CropResult:
        """Create the result from the error of each case.

        Args:
            output: folder with the files.
            outcomes: the error of each case, by its id; None where there was none.

        Returns:
            The result, with the cases in the order of their ids.
        """
        done = tuple(sorted(id for id, error in outcomes.items() if error is None))
        return cls(output, done, {id: str(error) for id, error in outcomes.items() if error is not None})


@dataclass(frozen=True)
class ExportResult:
    """Result of `export`.

    Attributes:
        output: folder of the data set.
        cases: ids of the released cases.
        to_correct: ids of the cases that were written for correction by hand.
        left_out: the other cases, with the reasons.
    """

    output: Path
    cases: tuple[str, ...]
    to_correct: tuple[str, ...]
    left_out: dict[str, str]


@dataclass(frozen=True)
class ImportResult:
    """Result of `import_corrections`.

    Attributes:
        cases: structures that are corrected by hand now, by case id.
        skipped: the files that were skipped, with the reasons.
        decisions: number of decisions that were written from a table.
    """

    cases: dict[str, tuple[str, ...]]
    skipped: dict[str, str]
    decisions: int = 0


@dataclass(frozen=True)
class Phantoms:
    """Cohort of phantom hearts.

    Attributes:
        labels_noisy: folder of the corrupted label maps.
        labels_true: folder of the true label maps.
        images: folder of the synthetic CTs.
        cases: ids of the cases.
    """

    labels_noisy: Path
    labels_true: Path
    images: Path
    cases: tuple[str, ...]


def _rows(run: RunFolder, case_id: str) -> list[dict[str, object]]:
    log = run.changes(case_id)
    verdicts = {verdict.structure: verdict for verdict in log.verdicts}
    names = [*verdicts, *dict.fromkeys(c.structure for c in log.changes if c.structure not in verdicts)]
    order = {"info": 0, "review": 1, "warning": 2}
    rows: list[dict[str, object]] = []
    for name in names:
        verdict, changes = verdicts.get(name), [c for c in log.changes if c.structure == name]
        severities = [*(c.severity for c in changes), *(["warning"] if verdict and not verdict.accepted else ["info"])]
        rows.append(
            {
                "case": case_id, "structure": name, "accepted": None if verdict is None else verdict.accepted,
                "volume_ratio": None if verdict is None else verdict.volume_ratio,
                "surface_mm": None if verdict is None else verdict.surface_mm,
                "changes": len(changes), "changed_mm3": round(sum(c.volume_mm3 for c in changes), 2),
                "severity": max(severities, key=lambda severity: order[severity]),
            }
        )  # fmt: skip
    return rows
