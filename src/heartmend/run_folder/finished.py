"""A run looked at again: its input, its results and its audits, found from what the run folder says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from heartmend.anatomy.schema import Anatomy
from heartmend.errors import RunError
from heartmend.geometry.grid import Grid
from heartmend.io.dataset import Case, Cohort, discover_cohort
from heartmend.io.digests import file_fingerprint, fingerprint
from heartmend.io.label_maps import LabelVolume, read_labels
from heartmend.io.volume import Volume
from heartmend.repair.change_log import ChangeLog, change_log_from_json
from heartmend.run_folder.folder import Run


def cohort_of(run: Run, labels: Path | None = None, images: Path | None = None) -> tuple[Cohort, dict[str, str]]:
    """The input of a run, and the cases that it skipped with the reasons.

    labels, images: where the input lies now, if it was moved. Raises RunError when the run folder cannot be read,
    BadInputError when the input is not there.
    """
    asked = _table(run.root / "cohort.json")
    given = labels or labels_dir_of(run), images or images_dir_of(run)
    cohort = discover_cohort(*given, anatomy=anatomy_of(run), unknown_labels=asked.get("unknown_labels", "error"))
    skipped = run.root / "skipped.json"
    return cohort, {id: str(why) for id, why in (_table(skipped) if skipped.is_file() else {}).items()}


def labels_dir_of(run: Run) -> Path:
    """The folder of label maps that a run was given."""
    marker = run.root / "run.json"
    try:
        return Path(_table(marker)["labels_dir"])
    except (KeyError, TypeError) as error:
        raise RunError(f"{marker}: does not say whose run this is; is the run whole?") from error


def images_dir_of(run: Run) -> Path | None:
    """The folder of CTs that a run was given, if any; RunError when it is not there any more."""
    given = _table(run.root / "config.json").get("request", {}).get("images")
    if given is not None and not Path(given).is_dir():
        raise RunError(f"{given}: the CTs of this run are not there any more; say where they are with --images")
    return None if given is None else Path(given)


def anatomy_of(run: Run) -> Anatomy:
    """The anatomy that a run was made with."""
    path = run.root / "anatomy.json"
    try:
        return Anatomy.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise RunError(f"{path}: cannot be read as an anatomy ({error}); is the run whole?") from error


@dataclass(frozen=True)
class FinishedRun:
    """A run and those of its cases that were mended; `left_out` says of the others why."""

    run: Run
    cohort: Cohort
    left_out: dict[str, str]
    labels_dir: Path
    """The input: a folder of label maps, or an nnU-Net data set folder."""

    @classmethod
    def open(cls, out: str | Path, labels: Path | None = None, images: Path | None = None) -> Self:
        """The run in OUT; `labels` and `images` as for `cohort_of`. RunError when no case is mended."""
        run = Run.at(out)
        cohort, left_out = cohort_of(run, labels, images)
        mended = []
        for case in cohort:
            if case.id in left_out:
                continue
            if run.result_path(case.labels_path).is_file() and run.case_path("fuse", case.id, ".json").is_file():
                mended.append(case)
            else:
                left_out[case.id] = "not mended yet"
        if not mended:
            raise RunError(f"{run.out}: holds no mended case; finish it with `heartmend run`")
        return cls(run, replace(cohort, cases=tuple(mended)), left_out, labels or labels_dir_of(run))

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
        return read_labels(self.mended_path(case), self.anatomy, self.cohort.unknown_labels, self.cohort.file_ids)

    def mended_path(self, case: Case) -> Path:
        """The file of the mended label map."""
        return self.run.result_path(case.labels_path)

    def stamp(self, case: Case) -> str:
        """A short text that changes when either label map does: a decision holds for what was seen, not for more."""
        return fingerprint(file_fingerprint(case.labels_path), file_fingerprint(self.mended_path(case)))

    def image(self, case: Case, grid: Grid) -> Volume | None:
        """The CT on the grid of the label maps; None when there is none."""
        return self.cohort.read_image(case, grid)

    def changes(self, case: Case) -> ChangeLog:
        """What was changed, and why."""
        path = self.run.case_path("fuse", case.id, ".json")
        try:
            return change_log_from_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path}: cannot be read as an audit ({error}); mend the case again") from error


def _table(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}); is the run whole?") from error
    if not isinstance(table, dict):
        raise RunError(f"{path}: is no table; is the run whole?")
    return table
