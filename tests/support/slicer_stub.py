"""Stub of the parts of the API of 3D Slicer that the extension uses, with NumPy arrays behind the nodes.

Signatures as in slicer.util and the MRML classes of 3D Slicer 5.8: a wrong name or argument is an error here too.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


class Matrix:
    def __init__(self) -> None:
        self.array = np.eye(4)


class Volume:
    def __init__(self, array: np.ndarray, affine: np.ndarray) -> None:
        """Args: array (k, j, i); affine from i, j, k to RAS."""
        self.array, self.affine = array, affine

    def GetIJKToRASMatrix(self, matrix: Matrix) -> None:
        matrix.array = self.affine.copy()


class Segment:
    def __init__(self, name: str, colour: tuple[float, float, float]) -> None:
        self.name, self.colour, self.array = name, colour, None

    def GetName(self) -> str:
        return self.name

    def GetColor(self) -> tuple[float, float, float]:
        return self.colour


class Segmentation:
    def __init__(self) -> None:
        self.segments: dict[str, Segment] = {}

    def GetSegmentIDs(self) -> tuple[str, ...]:
        return tuple(self.segments)

    def GetSegment(self, id: str) -> Segment:
        return self.segments[id]

    def GetSegmentIdBySegmentName(self, name: str) -> str:
        return next((id for id, segment in self.segments.items() if segment.name == name), "")

    def AddEmptySegment(self, id: str = "", name: str = "", colour: tuple[float, float, float] = (0, 0, 0)) -> str:
        id = id or f"Segment_{len(self.segments) + 1}"
        self.segments[id] = Segment(name, colour)
        return id


class Display:
    visible = True

    def SetVisibility(self, visible: bool) -> None:
        self.visible = visible


class SegmentationNode:
    def __init__(self, name: str) -> None:
        self.name, self.segmentation, self.display = name, Segmentation(), None
        self.references: dict[str, Volume] = {}

    @staticmethod
    def GetReferenceImageGeometryReferenceRole() -> str:
        return "referenceImageGeometryRef"

    def GetName(self) -> str:
        return self.name

    def GetSegmentation(self) -> Segmentation:
        return self.segmentation

    def GetNodeReference(self, role: str) -> Volume | None:
        return self.references.get(role)

    def SetReferenceImageGeometryParameterFromVolumeNode(self, volume: Volume) -> None:
        self.references[self.GetReferenceImageGeometryReferenceRole()] = volume

    def CreateDefaultDisplayNodes(self) -> None:
        self.display = Display()

    def GetDisplayNode(self) -> Display | None:
        return self.display


class Scene:
    def __init__(self) -> None:
        self.nodes: list[SegmentationNode] = []

    def AddNewNodeByClass(self, kind: str, name: str = "") -> SegmentationNode:
        assert kind == "vtkMRMLSegmentationNode"
        self.nodes.append(SegmentationNode(name))
        return self.nodes[-1]

    def RemoveNode(self, node: SegmentationNode) -> None:
        self.nodes.remove(node)


class Widget:
    """Any Qt widget: every attribute can be set, every method can be called."""

    Files, Dirs = 1, 2

    def __init__(self, *arguments: Any) -> None:
        self.arguments, self.clicked, self.added = arguments, None, []

    def connect(self, signal: str, function: Any) -> None:
        assert signal == "clicked()"
        self.clicked = function

    def addRow(self, *parts: Any) -> None:
        self.added.append(parts)

    addWidget = addLayout = addStretch = setMRMLScene = addRow


class Stub:
    """The modules `slicer`, `vtk`, `qt` and `ctk`, and what was asked of the user and of pip."""

    def __init__(self) -> None:
        self.scene, self.settings = Scene(), dict[str, str]()
        self.installed, self.questions, self.answer, self.errors = list[str](), list[str](), True, list[Exception]()
        self.slicer = ModuleType("slicer")
        base = {name: type(name, (), {"__init__": lambda self, parent=None: None}) for name in (
            "ScriptedLoadableModule", "ScriptedLoadableModuleLogic")}  # fmt: skip

        class ScriptedLoadableModuleWidget:
            def __init__(self, parent: Any = None) -> None:
                self.layout = Widget()

            def setup(self) -> None: ...

        self.module = ModuleType("slicer.ScriptedLoadableModule")
        vars(self.module).update(base, ScriptedLoadableModuleWidget=ScriptedLoadableModuleWidget)
        util = SimpleNamespace(
            arrayFromVolume=lambda volume: volume.array,
            arrayFromVTKMatrix=lambda matrix: matrix.array,
            arrayFromSegmentBinaryLabelmap=self._read,
            updateSegmentBinaryLabelmapFromArray=self._write,
            confirmOkCancelDisplay=self._ask,
            pip_install=self.installed.append,
            tryWithErrorDisplay=self._display,
        )
        vars(self.slicer).update(
            mrmlScene=self.scene, util=util, vtkMRMLSegmentationNode=SegmentationNode, qMRMLNodeComboBox=Widget,
            app=SimpleNamespace(userSettings=lambda: SimpleNamespace(value=self.settings.get)),
            ScriptedLoadableModule=self.module,
        )  # fmt: skip
        self.modules = {
            "slicer": self.slicer, "slicer.ScriptedLoadableModule": self.module,
            "vtk": _module("vtk", vtkMatrix4x4=Matrix), "ctk": _module("ctk", ctkPathLineEdit=Widget),
            "qt": _module("qt", QFormLayout=Widget, QCheckBox=Widget, QPushButton=Widget, QLabel=Widget),
        }  # fmt: skip

    def segmentation(
        self, masks: dict[str, np.ndarray], affine: np.ndarray, image: np.ndarray | None = None
    ) -> SegmentationNode:
        """Make a segmentation node of masks (i, j, k), on the voxels of a volume."""
        node = self.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Heart")
        node.CreateDefaultDisplayNodes()
        shape = next(iter(masks.values())).shape
        volume = Volume((np.zeros(shape) if image is None else image).T, affine)
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        for number, (name, mask) in enumerate(masks.items()):
            id = node.GetSegmentation().AddEmptySegment("", name, (number / 10, 0.5, 0.5))
            node.GetSegmentation().GetSegment(id).array = mask.T.astype(np.uint8)
        return node

    def _read(self, node: SegmentationNode, id: str, volume: Volume) -> np.ndarray:
        array = node.GetSegmentation().GetSegment(id).array
        return np.zeros(volume.array.shape, np.uint8) if array is None else array

    def _write(self, array: np.ndarray, node: SegmentationNode, id: str, volume: Volume) -> None:
        assert array.shape == volume.array.shape and array.dtype == np.uint8 and array.flags.c_contiguous
        node.GetSegmentation().GetSegment(id).array = array

    def _ask(self, text: str) -> bool:
        self.questions.append(text)
        return self.answer

    @contextmanager
    def _display(self, message: str, waitCursor: bool = False) -> Any:
        try:
            yield
        except Exception as error:
            self.errors.append(error)


def _module(name: str, **names: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(names)
    return module


def load_with_stub(stub: Stub, path: str, monkeypatch: Any) -> ModuleType:
    """Import a module of the extension with the stub in place of 3D Slicer."""
    from importlib.util import module_from_spec, spec_from_file_location

    for name, module in stub.modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    spec = spec_from_file_location("HeartmendRepair", path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
