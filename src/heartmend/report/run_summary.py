"""Summary of a run: its stages, the training log of the fit, and the changes by rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from heartmend.repair.change_log import ChangeLog
from heartmend.repair.changes import ORIGINAL_KEPT, Change
from heartmend.repair.shared_errors.tables import describe_source
from heartmend.run_folder.folder import RunFolder
from heartmend.run_folder.paths import FIT, UNIFY
from heartmend.wording import cases_named, plural


@dataclass(frozen=True)
class FitLog:
    """Training log of the fit by columns.

    Attributes:
        step: step of each row.
        phase: phase of each row, from 1.
        loss: training loss.
        training_dice: Dice on the training points.
        whole_volume_dice: step and Dice on whole volumes, where it was measured.
        peak_memory_mb: peak memory in MB.
        seconds: seconds since the start of the fit; empty where the log contains none.
    """

    step: tuple[float, ...]
    phase: tuple[int, ...]
    loss: tuple[float, ...]
    training_dice: tuple[float, ...]
    whole_volume_dice: tuple[tuple[float, float], ...]
    peak_memory_mb: tuple[float, ...]
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class RuleRow:
    """Changes of one rule in one structure over the cohort.

    Attributes:
        rule: name of the rule.
        structure: name of the structure, or "all".
        action: what the rule did.
        n_cases: cases with such a change.
        n_changes: changes.
        volume_ml: changed volume.
        n_review: changes with the severity `review`.
        n_warning: changes with the severity `warning`.
        reasons: notes of the warnings, with the ids of their cases.
    """

    rule: str
    structure: str
    action: str
    n_cases: int
    n_changes: int
    volume_ml: float
    n_review: int
    n_warning: int
    reasons: tuple[str, ...] = ()


def read_fit_log(run: RunFolder) -> FitLog | None:
    """Read the training log of the fit. Where a step was done twice after an interruption, the later row is used.

    Args:
        run: the run folder.

    Returns:
        The log; None where nothing was fitted.
    """
    # A row that a killed process wrote incompletely has no value in a later column.
    complete = (row for row in run.training_log(FIT) or () if row.get("step") and row.get("peak_memory_mb"))
    by_step = {int(row["step"]): row for row in complete}
    rows = [by_step[step] for step in sorted(by_step)]
    if not rows:
        return None
    whole_volume: list[tuple[float, float]] = []
    for previous, row in pairwise(rows):
        # It is measured at the end of a phase and repeated from the next row on.
        value = row["whole_volume_dice"]
        if value and (not whole_volume or float(value) != whole_volume[-1][1]):
            whole_volume.append((float(previous["step"]), float(value)))
    if (dice := _validation_dice(run, FIT)) and len(rows) > 1:
        whole_volume.append((float(rows[-1]["step"]), float(np.mean(dice))))
    total, seconds = 0.0, list[float]()
    for row in rows:
        if not row.get("seconds"):
            seconds = []
            break
        total += float(row["seconds"])
        seconds.append(total)

    def column(name: str) -> tuple[float, ...]:
        return tuple(float(row[name]) for row in rows)

    return FitLog(
        column("step"), tuple(int(row["phase"]) for row in rows), column("loss"), column("training_dice"),
        tuple(whole_volume), column("peak_memory_mb"), tuple(seconds),
    )  # fmt: skip


def _validation_dice(run: RunFolder, stage: str) -> list[float]:
    """Return the mean Dice of each case on whole volumes after a fit; empty before."""
    return [float(np.mean(list(row.values()))) for row in run.validation(stage).values()]


def stage_summaries(run: RunFolder, log: FitLog | None) -> list[tuple[str, str]]:
    """Describe each stage of a run in one line.

    Args:
        run: the run folder.
        log: training log of the fit; None where nothing was fitted.

    Returns:
        Name and description of each stage.
    """
    settings: Mapping[str, Any] = run.settings()
    prepare, fit, refine, fuse = (settings.get(stage, {}) for stage in ("prepare", "fit", "refine", "fuse"))
    repaired = (
        "; slice staircases, inconsistent slices, speckle, swapped labels, cut vessels and holes repaired"
        if prepare.get("repair_visible_errors")
        else ""
    )
    stages = [
        ("prepare", f"cropped to the ROI, resampled to a cube of {prepare.get('resolution', '?')} cells{repaired}")
    ]
    if log is not None:
        minutes = f" in {log.seconds[-1] / 60:.1f} min" if log.seconds else ""
        shape = fit.get("shape", "shape")
        fitted = f"one {shape} for all cases, {log.step[-1]:.0f} steps in {log.phase[-1]} phases{minutes}"
        stages.append(("fit", fitted))
        label_weight = refine.get("label_weight", "?")
        stages.append(("refine", f"fusion of shape and label on the original grids, label weight {label_weight}"))
    if (shared := run.shared_errors()) is not None:
        verb = "corrected" if shared.is_corrected else "measured"
        stages.append(("correct", f"errors that all cases share {verb} by {describe_source(shared)}"))
    vessels = "repair of thin vessels, " if fuse.get("repair_vessels") else ""
    uses_images = settings.get("request", {}).get("images") is not None and fuse.get("image_edges")
    edges = "boundaries moved to image edges of the CT, " if uses_images else ""
    mode = fuse.get("mode", "?")
    stages.append(("fuse", f"{vessels}fusion into one label map by {mode}, {edges}rules of anatomy, acceptance test"))
    if dice := _validation_dice(run, UNIFY):
        hearts = plural(len(dice), "heart")
        stages.append(("unify", f"one model of {hearts}, Dice {np.mean(dice):.3f} with the repaired label maps"))
    return stages


def rule_rows(change_logs: Iterable[ChangeLog]) -> list[RuleRow]:
    """Count the changes over a cohort by rule, structure and action.

    Args:
        change_logs: change log of each case.

    Returns:
        The rows; the last ones are the structures that failed the acceptance test.
    """
    found: dict[tuple[str, str, str], list[tuple[str, Change]]] = {}
    not_accepted: dict[str, list[tuple[str, str]]] = {}
    for log in change_logs:
        for c in log.changes:
            found.setdefault((c.rule, c.structure or "all", c.action), []).append((log.case_id, c))
        for verdict in log.verdicts:
            if not verdict.accepted:
                not_accepted.setdefault(verdict.structure, []).append((log.case_id, verdict.reason))
    rows = []
    for key, changes in found.items():
        warnings = [(case, c.note) for case, c in changes if c.severity == "warning"]
        rows.append(
            RuleRow(
                *key, len({case for case, _ in changes}), len(changes), sum(c.volume_mm3 for _, c in changes) / 1000,
                sum(c.severity == "review" for _, c in changes), len(warnings), _reasons(warnings),
            )
        )  # fmt: skip
    for name, kept in not_accepted.items():
        n = len(kept)
        rows.append(RuleRow("acceptance", name, ORIGINAL_KEPT, n, n, 0.0, 0, n, _reasons(kept)))
    return rows


def _reasons(found: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Each text once, with the cases that have it."""
    cases: dict[str, list[str]] = {}
    for case, text in found:
        cases.setdefault(text, []).append(case)
    named = ((cases_named(list(dict.fromkeys(ids))), text) for text, ids in cases.items())
    return tuple(f"{ids}: {text}" if text else ids for ids, text in named)
