"""What is looked at: the cases of a finished run as they came and as they were mended, with their audits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from heartmend.anatomy import Anatomy
from heartmend.data import Case, Cohort, LabelVolume, Run, Volume, discover_cohort, file_fingerprint, fingerprint
from heartmend.data import read_labels as read_label_file
from heartmend.errors import RunError
from heartmend.rules import Audit, audit_from_json
from heartmend.space import Grid

VERB = "review"


@dataclass(frozen=True)
class Subject:
    """A run and those of its cases that were mended; `left_out` says of the others why."""

    run: Run
    cohort: Cohort
    left_out: dict[str, str]

    @classmethod
    def open(cls, out: str | Path, labels: Path | None = None, images: Path | None = None) -> Self:
        """The run in OUT. `labels` and `images` say where its input lies now, if it was moved.

        Raises RunError when there is no run or no mended case, BadInputError when the input is not there.
        """
        run = Run.at(out)
        marker, asked = _table(run.root / "run.json"), _table(run.root / "cohort.json")
        try:
            anatomy = Anatomy.model_validate_json((run.root / "anatomy.json").read_text(encoding="utf-8"))
        except (OSError, ValidationError) as error:
            raise RunError(f"{run.root / 'anatomy.json'}: cannot be read as an anatomy: {error}") from error
        given = _table(run.root / "config.json").get("request", {}).get("images")
        source = images or (Path(given) if given else None)
        cohort = discover_cohort(
            labels or Path(marker["labels_dir"]), source, anatomy=anatomy, other=asked.get("other", "error")
        )
        refused = run.root / "refused.json"
        left_out = {id: str(why) for id, why in (_table(refused) if refused.is_file() else {}).items()}
        mended = []
        for case in cohort:
            whole = run.result_path(case.labels_path).is_file() and run.case_path("fuse", case.id, ".json").is_file()
            if whole and case.id not in left_out:
                mended.append(case)
            else:
                left_out.setdefault(case.id, "not mended")
        if not mended:
            raise RunError(f"{run.out}: holds no mended case; finish it with `heartmend run`")
        return cls(run, replace(cohort, cases=tuple(mended)), left_out)

    @property
    def anatomy(self) -> Anatomy:
        """The anatomy that the run was made with."""
        return self.cohort.anatomy

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cohort)

    def before(self, case: Case) -> LabelVolume:
        """The label map as it came."""
        return self.cohort.read_labels(case)

    def after(self, case: Case) -> LabelVolume:
        """The mended label map."""
        return read_label_file(self.mended_path(case), self.anatomy, self.cohort.other, self.cohort.file_ids)

    def image(self, case: Case, grid: Grid) -> Volume | None:
        """The CT on the grid of the label maps; None when there is none."""
        return self.cohort.read_image(case, grid)

    def audit(self, case: Case) -> Audit:
        """What was changed, and why."""
        path = self.run.case_path("fuse", case.id, ".json")
        try:
            return audit_from_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path}: cannot be read as an audit ({error}); mend the case again") from error

    def mended_path(self, case: Case) -> Path:
        """The file of the mended label map."""
        return self.run.result_path(case.labels_path)

    def stamp(self, case: Case) -> str:
        """A short text that changes when either label map does: a decision holds for what was seen, not for more."""
        return fingerprint(file_fingerprint(case.labels_path), file_fingerprint(self.mended_path(case)))


def _table(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}); is the run whole?") from error
    if not isinstance(table, dict):
        raise RunError(f"{path}: is no table; is the run whole?")
    return table
