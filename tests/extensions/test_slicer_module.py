"""The extension of 3D Slicer, with a stub of its API."""

from __future__ import annotations

import builtins
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import heartmend as hm
from heartmend.models.heart_model import evaluate_labels
from heartmend.models.model_file import save_heart_model
from support.models import frame, two_balls
from support.slicer_stub import SegmentationNode, Stub, load_with_stub

EXTENSION = Path(__file__).parents[2] / "extensions" / "slicer"
GRID = frame().grid


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.zip"
    save_heart_model(path, replace(two_balls(spread=0.0), lowest_surface_noise_mm2={"LV": 0.001, "RV": 0.001}))
    return path


@pytest.fixture(scope="module")
def masks() -> dict[str, np.ndarray]:
    other = two_balls(("x",), spread=0.05, seed=9)
    labels = evaluate_labels(other, other.heart("x"), GRID).copy()
    labels[tuple(np.argwhere(labels == 3).mean(axis=0).astype(int))] = 0
    return {"left ventricle": labels == 3, "RV": labels == 5}


@pytest.fixture(scope="module")
def expected(masks: dict[str, np.ndarray], model_path: Path) -> hm.RepairedSegments:
    return hm.repair_segments(masks, GRID.affine, model_path)


@pytest.fixture
def stub() -> Stub:
    return Stub()


@pytest.fixture
def module(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load_with_stub(stub, str(EXTENSION / "HeartmendRepair" / "HeartmendRepair.py"), monkeypatch)


def stored(node: SegmentationNode) -> dict[str, np.ndarray]:
    return {s.name: s.array.T != 0 for s in node.GetSegmentation().segments.values() if s.array is not None}


def equal(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_repair_then_accept(
    stub: Stub, module: ModuleType, masks: dict[str, np.ndarray], model_path: Path, expected: hm.RepairedSegments
) -> None:
    node = stub.segmentation(masks, GRID.affine)
    widget = module.HeartmendRepairWidget()
    widget.setup()
    assert widget.repairButton.enabled and not widget.acceptButton.enabled
    widget.segmentationSelector.currentNode = lambda: node
    widget.modelPath.currentPath, widget.useImage.checked = str(model_path), False
    widget.repairButton.clicked()
    assert stub.errors == []
    # The proposal is a second segmentation; the original one is as it was, but hidden.
    assert equal(stored(node), masks) and not node.GetDisplayNode().visible
    _, proposal = stub.scene.nodes
    assert proposal.GetName() == "Heart repaired"
    shown = stored(proposal)
    changes = shown.pop("Changes")
    assert equal(shown, dict(expected.masks)) and np.array_equal(changes, expected.changed) and changes.any()
    assert proposal.GetSegmentation().GetSegment("Segment_2").GetColor() == (0.1, 0.5, 0.5)
    assert widget.status.text == expected.summary
    assert widget.acceptButton.enabled and not widget.repairButton.enabled
    widget.acceptButton.clicked()
    assert stub.errors == [] and stub.scene.nodes == [node] and node.GetDisplayNode().visible
    assert equal(stored(node), dict(expected.masks))
    assert widget.repairButton.enabled


def test_repair_then_reject(stub: Stub, module: ModuleType, masks: dict[str, np.ndarray], model_path: Path) -> None:
    node = stub.segmentation(masks, GRID.affine)
    logic = module.HeartmendRepairLogic()
    logic.propose(node, str(model_path))
    with pytest.raises(RuntimeError, match="Accept or reject the last repair first"):
        logic.propose(node, str(model_path))
    logic.reject()
    assert stub.scene.nodes == [node] and node.GetDisplayNode().visible and equal(stored(node), masks)
    with pytest.raises(RuntimeError, match="There is no repair to accept"):
        logic.accept()


def test_errors_are_displayed_and_leave_nothing_behind(
    stub: Stub, module: ModuleType, masks: dict[str, np.ndarray], model_path: Path
) -> None:
    node = stub.segmentation({"Tumour": masks["RV"]}, GRID.affine)
    widget = module.HeartmendRepairWidget()
    widget.setup()
    widget.segmentationSelector.currentNode = lambda: node
    widget.modelPath.currentPath, widget.useImage.checked = str(model_path), False
    widget.repairButton.clicked()
    (error,) = stub.errors
    assert "none of the segments Tumour is a structure of the model" in str(error)
    assert stub.scene.nodes == [node] and widget.repairButton.enabled
    logic = module.HeartmendRepairLogic()
    with pytest.raises(ValueError, match="Give a segmentation and a model"):
        logic.propose(None, "")
    twice = stub.segmentation(masks, GRID.affine)
    twice.GetSegmentation().AddEmptySegment("", "RV")
    with pytest.raises(ValueError, match="Two segments have the same name"):
        logic.propose(twice, str(model_path))
    twice.references.clear()
    with pytest.raises(ValueError, match="set the CT as its source volume"):
        logic.propose(twice, str(model_path))


def test_the_package_is_installed_after_a_question(
    stub: Stub, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    logic = module.HeartmendRepairLogic()
    assert logic.install() and stub.installed == [] and stub.questions == []
    real = builtins.__import__

    def without_package(name: str, *rest: Any) -> Any:
        if name == "heartmend":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_package)
    stub.answer = False
    assert not logic.install() and stub.installed == []
    stub.answer = True
    assert logic.install() and stub.installed == ["heartmend"]
    stub.settings["HeartmendRepair/Package"] = "/wheels/heartmend.whl"
    assert logic.install() and stub.installed[-1] == "/wheels/heartmend.whl" and "/wheels" in stub.questions[-1]
    monkeypatch.setattr("sys.version_info", (3, 9, 10))
    with pytest.raises(RuntimeError, match=r"needs Python 3.11; this 3D Slicer has 3.9"):
        logic.install()


def test_the_build_files_name_the_module() -> None:
    assert "add_subdirectory(HeartmendRepair)" in (EXTENSION / "CMakeLists.txt").read_text()
    text = (EXTENSION / "HeartmendRepair" / "CMakeLists.txt").read_text()
    assert "set(MODULE_NAME HeartmendRepair)" in text and "slicerMacroBuildScriptedModule(" in text
