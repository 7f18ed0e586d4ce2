"""Voxel classifiers of a cohort: which ones are trained, and from which cases."""

import numpy as np
import pytest

from heartmend.errors import BadInputError, FitError
from heartmend.repair.voxel_classifier.cohort import ClassifierCase, classifiers_wanted, train_classifiers
from heartmend.repair.voxel_classifier.label_corruption import corrupt_mask
from heartmend.repair.voxel_classifier.training import ClassifierSettings
from support.sheets import sheet

LAA, PV = 8, 10
SETTINGS = ClassifierSettings(rounds=1, examples=1000, passes=1)


def case(seed: int, image: bool = True) -> ClassifierCase:
    mask = sheet(seed)
    label = corrupt_mask(mask, 0.7, np.random.default_rng(seed))
    read = (lambda: np.where(mask, 40, -90).astype(np.int16)) if image else None
    return ClassifierCase(str(seed), np.where(label, LAA, 0).astype(np.uint8), (1.0, 1.0, 1.0), read)


@pytest.mark.parametrize(("images", "expected"), [(0, [False]), (4, [False]), (5, [True, False]), (6, [True])])
def test_images_are_used_if_enough_cases_have_one(images: int, expected: list[bool]) -> None:
    wanted = classifiers_wanted(["LAA"], ["LAA"], cases=6, images=images)
    assert wanted == [("LAA", reads_images) for reads_images in expected]
    assert classifiers_wanted(["LAA"], [], cases=6, images=images) == [("LAA", False)]


def test_classifiers_of_labels_and_of_images_are_trained() -> None:
    cases, wanted = [case(0), case(1), case(2, image=False)], [("LAA", True), ("LAA", False), ("PV", False)]
    steps = []
    found = train_classifiers(
        cases, {"LAA": LAA, "PV": PV}, wanted, SETTINGS, report=lambda step, loss: steps.append(step)
    )
    assert found.step_mm == 1.0
    assert found.by_labels.keys() == found.by_images.keys() == {"LAA"}
    assert found.by_images["LAA"].intensity is not None
    assert steps == sorted(steps)


def test_a_case_with_an_unreadable_image_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    def unreadable() -> np.ndarray:
        raise BadInputError("the file is damaged")

    damaged = ClassifierCase("bad", case(2).labels, (1.0, 1.0, 1.0), unreadable)
    found = train_classifiers([case(0), case(1), damaged], {"LAA": LAA}, [("LAA", True)], SETTINGS)
    assert found.by_images.keys() == {"LAA"}
    assert "case bad: its image is not used" in caplog.text


def test_weights_that_are_not_finite_are_an_error() -> None:
    settings = SETTINGS.model_copy(update={"rate": float("inf")})
    with pytest.raises(FitError, match="LAA: a weight of its voxel classifier is NaN or infinite"):
        train_classifiers([case(0), case(1)], {"LAA": LAA}, [("LAA", False)], settings)
