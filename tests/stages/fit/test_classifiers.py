"""Tests of the voxel classifiers in the stages fit and refine."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from heartmend.repair.voxel_classifier.label_corruption import corrupt_mask
from heartmend.repair.voxel_classifier.training import ClassifierSettings
from heartmend.run_folder.folder import RunFolder
from heartmend.stages.contract import DONE_BEFORE, RunPlan
from heartmend.stages.fit.stage import FitSettings, fit
from heartmend.stages.refine import RefineSettings, refine
from support.hearts import prepared
from support.sheets import sheet
from support.stages import named_cases, no_error, run_stage, store

WITH_LAA = "abcdef"
IDS = [*WITH_LAA, "none"]
SETTINGS = FitSettings(voxel_classifier=ClassifierSettings(rounds=1, examples=12_000, passes=12))


def labels_of(seed: int) -> np.ndarray:
    mask = corrupt_mask(sheet(seed), 0.7, np.random.default_rng(seed))
    return np.where(mask, 8, 0).astype(np.uint8)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    (tmp_path / "labels").mkdir()
    with RunFolder.open(tmp_path / "out", tmp_path / "labels") as run:
        store(run, *(prepared(id, labels_of(seed)) for seed, id in enumerate(WITH_LAA)))
        store(run, prepared("none", np.zeros((28, 28, 28), dtype=np.uint8)))
        yield run


def fit_and_refine(run: RunFolder, **classified: int) -> list[int]:
    steps: list[int] = []
    plan = RunPlan(classified=classified)

    def report(task: str, done: int, total: int, note: str) -> None:
        if done and note != DONE_BEFORE:
            steps.append(done)

    run_stage(fit, run, SETTINGS, named_cases(IDS), plan, report)
    assert no_error(run_stage(refine, run, RefineSettings(), named_cases(IDS), plan))
    return steps


def test_classifiers_are_trained_once_and_repair_without_a_template(run: RunFolder) -> None:
    assert fit_and_refine(run, LAA=8)
    assert fit_and_refine(run, LAA=8) == []
    wrong = np.zeros(2)
    for seed, id in enumerate(WITH_LAA):
        truth, label = sheet(seed), labels_of(seed) == 8
        wrong += (label != truth).sum(), (run.distances(id)["LAA"].inside != truth).sum()
    assert wrong[1] < 0.95 * wrong[0]
    assert not run.distances("none")["LAA"].inside.any()


def test_a_structure_that_no_case_has_gets_no_classifier(run: RunFolder) -> None:
    fit_and_refine(run, LAA=8, PV=10)
    assert run.distances("a").keys() == {"LAA"}
