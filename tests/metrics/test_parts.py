"""Evaluation of the coronary trees and segments, with shares derived by hand."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from heartmend.anatomy.load import load_anatomy
from heartmend.coronaries.segments import Segment
from heartmend.geometry.grid import Grid
from heartmend.metrics.case import Row
from heartmend.metrics.evaluation import EvaluationSettings
from heartmend.metrics.metric_catalogue import catalogue
from heartmend.metrics.parts import evaluate_parts
from heartmend.phantom.coronary_tree import SEGMENTS, CoronaryPhantom, draw_tree, sample_tree
from heartmend.phantom.plan import Label
from heartmend.pipelines.evaluate import evaluate_folders

HEART = load_anatomy("heart")
KEYS = ("dice", "cldice", "centreline_ov", "centreline_of", "component_count_error", "components")


@pytest.fixture(scope="module")
def phantom() -> CoronaryPhantom:
    rng = np.random.default_rng(2)
    return draw_tree(sample_tree(rng), (0.9,) * 3, rng)


@pytest.fixture(scope="module")
def heart(phantom: CoronaryPhantom) -> np.ndarray:
    return np.where(phantom.labels == Label.CORONARY, Label.CORONARY, phantom.chambers).astype(np.uint8)


def values(rows: list[Row], structure: str, which: str) -> dict[str, float]:
    (found,) = [row for row in rows if row.structure == structure and row.labels == which]
    return dict(found.values)


def test_an_error_in_one_tree_counts_for_it_alone(phantom: CoronaryPhantom, heart: np.ndarray) -> None:
    """The right tree is missing in b, and an island is beside the left one."""
    right = np.isin(phantom.segments, [SEGMENTS.index(name) + 1 for name in ("RCA", "PDA", "PLA", "RV")])
    b = heart.copy()
    b[right] = 0
    lad = np.argwhere(phantom.segments == SEGMENTS.index("LAD") + 1)
    at = lad[np.argmax(np.linalg.norm(lad - lad.mean(axis=0), axis=1))]
    island = tuple(slice(max(v - 1, 0), v + 2) for v in np.clip(at + np.array([0, 0, 5]), 1, np.array(heart.shape) - 2))
    b[island] = 9
    grid = Grid(heart.shape, phantom.affine)
    rows = evaluate_parts({"a": heart, "b": b, "reference": heart}, grid, HEART, {}, catalogue(keys=KEYS))
    assert {row.structure for row in rows} == {"Coronary left", "Coronary right"}
    assert all(values(rows, f"Coronary {side}", "a")["dice"] == 1 for side in ("left", "right"))
    left, other = values(rows, "Coronary left", "b"), values(rows, "Coronary right", "b")
    n, extra = int(((heart == 9) & ~right).sum()), int(((b == 9) & (heart != 9)).sum())
    lost = int(((heart == 9) & ~right & (b != 9)).sum())
    assert extra > 0 and lost == 0
    assert left["dice"] == pytest.approx(2 * n / (2 * n + extra))
    assert left["component_count_error"] in (0, 1)
    assert other["dice"] == 0 and other["centreline_of"] == 0 and "components" not in other


def test_segments_are_compared_by_their_names(phantom: CoronaryPhantom, heart: np.ndarray) -> None:
    """Half of the voxels of the LAD are named D1 in b: Dice 2 h / (n + h)."""
    names = np.zeros(heart.shape, np.uint8)
    names[phantom.segments == SEGMENTS.index("LAD") + 1] = Segment.LAD
    names[phantom.segments == SEGMENTS.index("RCA") + 1] = Segment.RCA
    wrong = names.copy()
    lad = np.argwhere(names == Segment.LAD)
    moved = lad[np.argsort(lad[:, 2])[: len(lad) // 2]]
    wrong[tuple(moved.T)] = Segment.D1
    grid = Grid(heart.shape, phantom.affine)
    rows = evaluate_parts({"a": heart, "b": heart}, grid, HEART, {"a": names, "b": wrong}, catalogue(keys=KEYS))
    n, h = len(lad), len(lad) - len(moved)
    assert values(rows, "Coronary LAD", "b")["dice"] == pytest.approx(2 * h / (n + h))
    assert values(rows, "Coronary RCA", "b")["dice"] == 1
    assert values(rows, "Coronary D1", "b")["dice"] == 0
    assert {row.structure for row in rows} >= {"Coronary left", "Coronary right", "Coronary LAD", "Coronary RCA"}
    assert "Coronary LCx" not in {row.structure for row in rows}
    # Both maps have the same vessels: by tree nothing differs.
    assert values(rows, "Coronary left", "b")["dice"] == 1


def test_without_chambers_and_names_there_are_no_parts(phantom: CoronaryPhantom) -> None:
    vessels = np.where(phantom.labels == Label.CORONARY, phantom.labels, 0).astype(np.uint8)
    grid = Grid(vessels.shape, phantom.affine)
    assert evaluate_parts({"a": vessels, "b": vessels}, grid, HEART, {}, catalogue(keys=KEYS)) == []
    assert evaluate_parts({"a": vessels, "b": vessels}, grid, load_anatomy("adrenal"), {}, catalogue(keys=KEYS)) == []


def test_folders_of_named_segments(phantom: CoronaryPhantom, tmp_path: Path) -> None:
    ids = {"LM": 1, "LAD": 2, "LCx": 3, "D": 4, "OM": 6, "RCA": 9, "PDA": 10, "PLA": 11, "RV": 14}
    names = np.zeros(phantom.labels.shape, np.uint8)
    for i, name in enumerate(SEGMENTS, start=1):
        names[phantom.segments == i] = ids[name]
    without = np.where(names == 3, 0, names).astype(np.uint8)
    for folder, volume in (("a", names), ("b", without)):
        (tmp_path / folder).mkdir()
        nib.save(nib.Nifti1Image(volume, phantom.affine), tmp_path / folder / "1.nii.gz")
    settings = EvaluationSettings(metrics=KEYS, workers=1, preset_ids="imagecas-x")
    found = evaluate_folders(tmp_path / "a", tmp_path / "b", HEART, settings=settings)
    of = {row["structure"]: row for row in found.table("parts") if row["labels"] == "b"}
    assert of["Coronary LCx"]["dice"] == 0 and of["Coronary LAD"]["dice"] == 1
    assert of["Coronary right"]["dice"] == 1 and 0.8 < of["Coronary left"]["dice"] < 1
    assert [row["structure"] for row in found.table("cases")] == ["Coronary", "Coronary"], "parts count nowhere else"
    summary = {(row["structure"], row["metric"], row["labels"]): row["mean"] for row in found.table("parts_summary")}
    assert summary["Coronary LCx", "dice", "b"] == 0
    silent = evaluate_folders(
        tmp_path / "a", tmp_path / "b", HEART,
        settings=EvaluationSettings(metrics=KEYS, workers=1, preset_ids="imagecas-x", parts=False),
    )  # fmt: skip
    assert silent.parts == () and [table.name for table in silent.tables] == ["cases", "structures", "summary", "tests"]
