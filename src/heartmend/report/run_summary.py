"""What a run folder tells of itself: the settings, the course of the fit, what the rules changed."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from heartmend.repair.change_log import ChangeLog
from heartmend.repair.changes import ORIGINAL_KEPT
from heartmend.run_folder.folder import RunFolder


@dataclass(frozen=True)
class FitLog:
    """fit/log.csv by columns; `seconds` since the fit began, empty where the log is of a version that kept none."""

    step: tuple[float, ...]
    phase: tuple[int, ...]
    loss: tuple[float, ...]
    training_dice: tuple[float, ...]
    whole_volume_dice: tuple[tuple[float, float], ...]
    """Step and Dice, where it was measured."""
    peak_memory_mb: tuple[float, ...]
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class RuleRow:
    """What one rule did to one structure over the cohort."""

    rule: str
    structure: str
    action: str
    cases: int
    changes: int
    volume_ml: float
    look: int
    warn: int


def read_fit_log(run: RunFolder) -> FitLog | None:
    """The log of the fit; None where nothing was fitted. Of steps that were done twice after a stop the later count."""
    path = run.root / "fit" / "log.csv"
    if not path.is_file():
        return None
    with open(path, newline="", encoding="utf-8") as file:
        # A line that a killed process left half has no value in a later column.
        whole_rows = (row for row in csv.DictReader(file) if row.get("step") and row.get("peak_memory_mb"))
        by_step = {int(row["step"]): row for row in whole_rows}
    rows = [by_step[step] for step in sorted(by_step)]
    if not rows:
        return None
    whole: list[tuple[float, float]] = []
    for before, row in pairwise(rows):
        # It is measured at the end of a phase and told from the next line on.
        value = row["whole_volume_dice"]
        if value and (not whole or float(value) != whole[-1][1]):
            whole.append((float(before["step"]), float(value)))
    if (dices := _validation(run, "fit")) and len(rows) > 1:
        whole.append((float(rows[-1]["step"]), float(np.mean(dices))))
    spent, seconds = 0.0, list[float]()
    for row in rows:
        if not row.get("seconds"):
            seconds = []
            break
        spent += float(row["seconds"])
        seconds.append(spent)

    def column(name: str) -> tuple[float, ...]:
        return tuple(float(row[name]) for row in rows)

    return FitLog(
        column("step"), tuple(int(row["phase"]) for row in rows), column("loss"), column("training_dice"),
        tuple(whole), column("peak_memory_mb"), tuple(seconds),
    )  # fmt: skip


def _validation(run: RunFolder, verb: str) -> list[float]:
    """The mean Dice of each case on whole volumes once a fit was done; empty before."""
    path = run.root / verb / "validation.json"
    found: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return [float(np.mean(list(row.values()))) for row in found.values()]


def settings_of(run: RunFolder) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings as resolved, and the versions; empty where the run keeps none."""
    tables = []
    for name in ("config.json", "versions.json"):
        path = run.root / name
        tables.append(json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {})
    return tables[0], tables[1]


def steps_done(run: RunFolder, config: Mapping[str, Any], log: FitLog | None) -> list[tuple[str, str]]:
    """The stages of the run in a sentence each."""
    prepare, fit, refine, fuse = (config.get(verb, {}) for verb in ("prepare", "fit", "refine", "fuse"))
    mended = "; stairs, slices, salt, swaps, cuts and holes mended first" if prepare.get("repair_faults") else ""
    told = [("prepare", f"cut to the heart, {prepare.get('resolution', '?')} cells along each side{mended}")]
    if log is not None:
        minutes = f" in {log.seconds[-1] / 60:.1f} min" if log.seconds else ""
        shape = fit.get("shape", "shape")
        told.append(("fit", f"one {shape} for all cases, {log.step[-1]:.0f} steps in {log.phase[-1]} phases{minutes}"))
        told.append(("refine", f"surfaces on each case's own grid, label weight {refine.get('label_weight', '?')}"))
    tubes = "thin vessels mended as trees, " if fuse.get("repair_vessels") else ""
    seen = config.get("request", {}).get("images") is not None and fuse.get("image_edges")
    edges = "boundaries at the CT's edges, " if seen else ""
    told.append(("fuse", f"{tubes}one label map by {fuse.get('mode', '?')}, {edges}the rules of anatomy, do no harm"))
    if dices := _validation(run, "unify"):
        told.append(
            ("unify", f"one function that holds all {len(dices)} hearts, Dice {np.mean(dices):.3f} on the mended maps")
        )
    return told


def rule_rows(audits: Iterable[ChangeLog]) -> list[RuleRow]:
    """What the rules changed in all cases, by rule, structure and action; masks not taken are the last rows."""
    found: dict[tuple[str, str, str], list[tuple[str, float, str]]] = {}
    untaken: dict[str, int] = {}
    for audit in audits:
        for c in audit.changes:
            found.setdefault((c.rule, c.structure or "all", c.action), []).append(
                (audit.case_id, c.volume_mm3, c.severity)
            )
        for verdict in audit.verdicts:
            if not verdict.accepted:
                untaken[verdict.structure] = untaken.get(verdict.structure, 0) + 1
    rows = [
        RuleRow(
            *key, len({case for case, _, _ in told}), len(told), sum(mm3 for _, mm3, _ in told) / 1000,
            sum(s == "review" for _, _, s in told), sum(s == "warning" for _, _, s in told),
        )
        for key, told in found.items()
    ]  # fmt: skip
    return rows + [RuleRow("acceptance", name, ORIGINAL_KEPT, n, n, 0.0, 0, n) for name, n in untaken.items()]
