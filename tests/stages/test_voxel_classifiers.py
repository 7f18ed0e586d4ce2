"""What is learned of surroundings in a run folder, and what refine makes of it."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.repair.voxel_classifier.classifier import ClassifierSettings
from heartmend.repair.voxel_classifier.label_corruption import corrupt_mask
from heartmend.run_folder.folder import Run
from heartmend.run_folder.records import load_fields
from heartmend.stages.refine import RefineSettings, refine
from heartmend.stages.voxel_classifiers import classifiers_wanted, train_classifiers
from support.hearts import prepared
from support.sheets import sheet

IDS = ["a", "b", "c", "d", "e", "f", "none"]
SHOWN = IDS[:-1]
SETTINGS = ClassifierSettings(rounds=1, examples=12_000, passes=12)


def labels_of(seed: int) -> np.ndarray:
    mask = corrupt_mask(sheet(seed), 0.7, np.random.default_rng(seed))
    return np.where(mask, 8, 0).astype(np.uint8)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    (tmp_path / "labels").mkdir()
    with Run.open(tmp_path / "out", tmp_path / "labels") as run:
        for seed, id in enumerate(SHOWN):
            prepared(id, labels_of(seed)).save(run)
        prepared("none", np.zeros((28, 28, 28), dtype=np.uint8)).save(run)
        yield run


def test_it_is_learned_once_and_refines_without_a_template(run: Run) -> None:
    told = []
    path = train_classifiers(run, IDS, {"LAA": 8}, SETTINGS, progress=lambda step, loss: told.append(step))
    written = path.stat().st_mtime_ns
    assert train_classifiers(run, IDS, {"LAA": 8}, SETTINGS) == path
    assert path.stat().st_mtime_ns == written
    assert told
    outcomes = list(refine(run, None, IDS, {"LAA": 8}, RefineSettings(), workers=1, around=path))
    assert [error for _, _, error in outcomes] == [None] * 7
    wrong = np.zeros(2)
    for seed, id in enumerate(SHOWN):
        mended = load_fields(run.case_path("refine", id, ".npz"))["LAA"] > 0
        truth, label = sheet(seed), labels_of(seed) == 8
        wrong += (label != truth).sum(), (mended != truth).sum()
    assert wrong[1] < 0.95 * wrong[0]
    absent = load_fields(run.case_path("refine", "none", ".npz"))["LAA"]
    assert (absent < 0).all()


def test_a_structure_that_no_case_shows_is_left_out(run: Run) -> None:
    path = train_classifiers(run, IDS, {"LAA": 8, "PV": 10}, SETTINGS)
    list(refine(run, None, ["a"], {"LAA": 8, "PV": 10}, RefineSettings(), workers=1, around=path))
    assert load_fields(run.case_path("refine", "a", ".npz")).keys() == {"LAA"}


class Images:
    """Stands for a cohort of which some cases have an image."""

    def __init__(self, having: str, anatomy: str = "heart") -> None:
        self.having, self.anatomy = having, load_anatomy(anatomy)

    def __getitem__(self, id: str) -> SimpleNamespace:
        return SimpleNamespace(image_path=Path(id) if id in self.having else None)


@pytest.mark.parametrize(
    ("having", "sees"),
    [("", [False]), ("abcd", [False]), ("abcde", [True, False]), ("abcdef", [True])],
)
def test_images_are_looked_at_where_there_are_enough(having: str, sees: list[bool]) -> None:
    assert classifiers_wanted("abcdef", {"LAA": 8}, Images(having)) == [("LAA", kind) for kind in sees]
    assert classifiers_wanted("abcdef", {"LAA": 8}) == [("LAA", False)]
