"""Label maps that a fit finds confused: their codes are replaced, and a record names them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from heartmend.metrics.overlap import dice
from heartmend.repair.placed_shape import labels_of
from heartmend.run_folder.folder import RunFolder
from heartmend.stages.contract import RunPlan
from heartmend.stages.fit.stage import FitSettings, fit
from heartmend.training.schedule import Phase
from support.hearts import HEADS, prepared, small_heart
from support.stages import named_cases, no_error, run_stage, store

SETTINGS = FitSettings(
    phases=(
        Phase(steps=40, code_lr=0.01, shape_lr=0.1, side=16, controls=5, tolerance_mm=3.0),
        Phase(steps=60, code_lr=0.006, shape_lr=0.05, side=32, controls=8),
    ),
    points=600,
)
IDS = ("001", "002", "003", "004")
HEARTS = {id: small_heart(number) for number, id in enumerate(IDS)}


def fitted(folder: Path, labels: dict[str, np.ndarray]) -> RunFolder:
    (folder / "labels").mkdir()
    with RunFolder.open(folder / "out", folder / "labels") as run:
        store(run, *(prepared(id, one) for id, one in labels.items()))
        assert no_error(run_stage(fit, run, SETTINGS, named_cases(IDS), RunPlan(shaped=HEADS)))
    return run


def test_label_maps_whose_names_agree_keep_their_codes(tmp_path: Path) -> None:
    assert fitted(tmp_path, HEARTS).confused_cases() == frozenset()


def test_a_confused_label_map_is_placed_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heartmend.training.image_placement.POINTS", 500)
    truth = HEARTS["003"]
    confused = truth.copy()
    z = np.indices(truth.shape)[2]
    for id, other in ((3, 5), (5, 3)):
        confused[(truth == id) & (z > np.median(z[truth == id]))] = other
    run = fitted(tmp_path, {**HEARTS, "003": confused})
    assert run.confused_cases() == {"003"}
    shape, codes = run.fitted()
    roi = run.roi("003")
    found = labels_of(shape, codes.of(["003"]), roi, HEADS)
    inside = truth[roi.source_box()]
    for name, id in HEADS.items():
        assert dice(confused == id, truth == id) < 0.65
        assert dice(found == id, inside == id) > 0.85, name
        # The Dice of the fit is that of the new code with the label map that it was given.
        expected = dice(found == id, confused[roi.source_box()] == id)
        assert run.validation("fit")["003"][name] == pytest.approx(expected)
