"""How well a model holds the hearts that it learned: what it says of each, beside the fused map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from heartmend.compute.workers import each
from heartmend.errors import FitError
from heartmend.io.dataset import Case, Cohort
from heartmend.metrics.overlap import dice
from heartmend.models.code_book import CodeBook
from heartmend.models.heart_model import Fields, HeartModel, fields_on
from heartmend.models.label_decision import decide
from heartmend.run_folder.folder import Run
from heartmend.run_folder.records import fused_labels
from heartmend.types import Labels


def asked(run: Run, cohort: Cohort, case: Case, model: HeartModel) -> tuple[Fields, Labels]:
    """What the model says of a case on the voxels of its ROI, and the fused map there."""
    heart = model.heart(case.id)
    return fields_on(model, heart, heart.frame.source_grid()), fused_labels(run, cohort, case, heart.frame)


def _alone(model: HeartModel, case_id: str) -> HeartModel:
    """The model of one of its hearts: what travels to the process that asks about it."""
    codes = CodeBook([case_id], model.codes.of([case_id]))
    return replace(model, codes=codes, frames={case_id: model.frames[case_id]}, absent={case_id: model.absent[case_id]})


@dataclass(frozen=True, eq=False)
class _Question:
    run_out: Path
    cohort: Cohort
    case: Case
    model: HeartModel


def _dice_of(question: _Question) -> dict[str, float]:
    model, anatomy = question.model, question.model.anatomy
    fields, truth = asked(Run.at(question.run_out), question.cohort, question.case, model)
    guess = decide(fields, anatomy, model.thresholds)
    ids = {name: anatomy.by_name(name).id for name in model.shape.heads}
    return {name: dice(guess == id, truth == id) for name, id in ids.items()}


def dices(
    run: Run, cohort: Cohort, cases: Sequence[Case], model: HeartModel, workers: int = 0
) -> dict[str, dict[str, float]]:
    """Dice of each structure of each case on the voxels of its ROI, the model's labels against the fused map."""
    reader, found = cohort.without_cases(), dict[str, dict[str, float]]()
    questions = [_Question(run.out, reader, case, _alone(model, case.id)) for case in cases]
    for question, row, error in each(_dice_of, questions, workers, nearby=True):
        if error is not None or row is None:
            raise error or FitError(f"case {question.case.id}: the model could not be asked about it")
        found[question.case.id] = row
    return {case.id: found[case.id] for case in cases}
