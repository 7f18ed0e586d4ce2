"""Module of 3D Slicer: repair the current segmentation with a model, show the changes, accept or reject them.

The work is done by `heartmend.repair_segments`; this module converts nodes to arrays and back.
"""

from __future__ import annotations

import sys

import ctk
import numpy as np
import qt
import slicer
import vtk
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)

CHANGES = "Changes"
"""Name of the segment that shows the changed voxels."""
CHANGES_COLOUR = (1.0, 0.0, 1.0)
DEFAULT_PACKAGE = "heartmend"
PACKAGE_SETTING = "HeartmendRepair/Package"
"""What `pip` installs, as a setting of 3D Slicer: a name, an address, or the path of a wheel or of the source."""
MIN_PYTHON = (3, 11)


class HeartmendRepair(ScriptedLoadableModule):
    """Description of the module for the list of modules."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "Heartmend Repair"
        parent.categories = ["Segmentation", "Cardiac"]
        parent.dependencies = ["Segmentations"]
        parent.contributors = ["Heartmend contributors"]
        parent.helpText = (
            "Repairs a segmentation of the heart with a trained model. The segments are recognised by their names, "
            "such as LV or left ventricle. Not a medical device: for research only."
        )
        parent.acknowledgementText = "Shapes: NeAR, Yang et al., MICCAI 2022."


class HeartmendRepairWidget(ScriptedLoadableModuleWidget):
    """Inputs, and the buttons Repair, Accept and Reject."""

    def setup(self):
        """Create the widgets."""
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = HeartmendRepairLogic()
        form = qt.QFormLayout()
        self.layout.addLayout(form)
        self.segmentationSelector = self._nodeSelector("vtkMRMLSegmentationNode", "The segmentation to repair.")
        form.addRow("Segmentation:", self.segmentationSelector)
        self.modelPath = ctk.ctkPathLineEdit()
        self.modelPath.filters = ctk.ctkPathLineEdit.Files | ctk.ctkPathLineEdit.Dirs
        self.modelPath.toolTip = "Model file (model.zip), or the output folder of a run that made one."
        self.modelPath.settingKey = "HeartmendRepair/Model"
        form.addRow("Model:", self.modelPath)
        self.useImage = qt.QCheckBox()
        self.useImage.toolTip = "Move boundaries to the edges of the source volume of the segmentation, a CT in HU."
        form.addRow("Use the CT:", self.useImage)
        self.repairButton = self._button("Repair", self.onRepair)
        self.acceptButton = self._button("Accept", self.onAccept)
        self.rejectButton = self._button("Reject", self.onReject)
        self.status = qt.QLabel()
        self.status.wordWrap = True
        self.layout.addWidget(self.status)
        self.layout.addStretch(1)
        self._update("")

    def onRepair(self):
        """Repair the segmentation and show the proposal."""
        with slicer.util.tryWithErrorDisplay("The repair failed.", waitCursor=True):
            if not self.logic.install():
                return
            summary = self.logic.propose(
                self.segmentationSelector.currentNode(), self.modelPath.currentPath, self.useImage.checked
            )
            self._update(summary)

    def onAccept(self):
        """Take the proposal."""
        with slicer.util.tryWithErrorDisplay("The repair could not be accepted."):
            self.logic.accept()
            self._update("accepted")

    def onReject(self):
        """Remove the proposal."""
        self.logic.reject()
        self._update("rejected; the segmentation is as it was")

    def cleanup(self):
        """Remove a proposal that is still open, when the module is closed."""
        self.logic.reject()

    def _update(self, text):
        self.status.text = text
        self.repairButton.enabled = not self.logic.isOpen
        self.acceptButton.enabled = self.rejectButton.enabled = self.logic.isOpen

    def _button(self, text, clicked):
        button = qt.QPushButton(text)
        button.connect("clicked()", clicked)
        self.layout.addWidget(button)
        return button

    def _nodeSelector(self, kind, toolTip):
        selector = slicer.qMRMLNodeComboBox()
        selector.nodeTypes = [kind]
        selector.addEnabled = selector.removeEnabled = False
        selector.toolTip = toolTip
        selector.setMRMLScene(slicer.mrmlScene)
        return selector


class HeartmendRepairLogic(ScriptedLoadableModuleLogic):
    """Conversion of nodes, and the proposal that is open."""

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        self._original = self._proposal = self._found = None

    @property
    def isOpen(self):
        """Whether a proposal waits to be accepted or rejected."""
        return self._proposal is not None

    def install(self):
        """Install the package with pip where it is missing, after a question; returns whether it is there."""
        try:
            import heartmend  # noqa: F401

            return True
        except ImportError:
            pass
        if sys.version_info < MIN_PYTHON:
            needed, here = (".".join(map(str, version[:2])) for version in (MIN_PYTHON, sys.version_info))
            raise RuntimeError(f"Heartmend needs Python {needed}; this 3D Slicer has {here}: install a newer 3D Slicer")
        package = slicer.app.userSettings().value(PACKAGE_SETTING) or DEFAULT_PACKAGE
        if not slicer.util.confirmOkCancelDisplay(f"The Python package {package} and PyTorch will be installed."):
            return False
        slicer.util.pip_install(package)
        return True

    def propose(self, segmentation, model, useImage=False):
        """Repair a segmentation into a second one, with a segment of the changes.

        Args:
            segmentation: vtkMRMLSegmentationNode; it is not changed.
            model: path of a model file, or the output folder of a run.
            useImage: whether the source volume is used as the CT.

        Returns:
            What was changed, as text.
        """
        import heartmend

        if self.isOpen:
            raise RuntimeError("Accept or reject the last repair first.")
        if segmentation is None or not model:
            raise ValueError("Give a segmentation and a model.")
        volume = self._source(segmentation)
        affine = vtk.vtkMatrix4x4()
        volume.GetIJKToRASMatrix(affine)
        segments = segmentation.GetSegmentation()
        names = {id: segments.GetSegment(id).GetName() for id in segments.GetSegmentIDs()}
        if len(set(names.values())) < len(names):
            raise ValueError(f"Two segments have the same name: {', '.join(names.values())}; rename one of them.")
        # Arrays of 3D Slicer have the axes k, j, i.
        masks = {name: self._mask(segmentation, id, volume).T for id, name in names.items()}
        image = slicer.util.arrayFromVolume(volume).T if useImage else None
        self._found = heartmend.repair_segments(masks, slicer.util.arrayFromVTKMatrix(affine), model, image=image)
        self._original, self._proposal = segmentation, self._show(segmentation, volume)
        return self._found.summary

    def accept(self):
        """Write the repaired segments into the segmentation, and remove the proposal."""
        self._check()
        volume, segments = self._source(self._original), self._original.GetSegmentation()
        for name in self._found.changed_voxels:
            id = segments.GetSegmentIdBySegmentName(name)
            if not id:
                raise RuntimeError(f"The segment {name} is not there any more; reject the repair and repeat it.")
            self._write(self._found.masks[name], self._original, id, volume)
        self.reject()

    def reject(self):
        """Remove the proposal; the segmentation stays as it is."""
        if self._proposal is not None:
            slicer.mrmlScene.RemoveNode(self._proposal)
        if self._original is not None and self._original.GetDisplayNode() is not None:
            self._original.GetDisplayNode().SetVisibility(True)
        self._original = self._proposal = self._found = None

    def _check(self):
        if not self.isOpen:
            raise RuntimeError("There is no repair to accept.")

    def _source(self, segmentation):
        """The volume whose voxels the segmentation is on."""
        role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        volume = segmentation.GetNodeReference(role)
        if volume is None:
            raise ValueError("The segmentation has no source geometry: set the CT as its source volume.")
        return volume

    def _mask(self, segmentation, id, volume):
        return np.asarray(slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, id, volume)) != 0

    def _write(self, mask, segmentation, id, volume):
        array = np.ascontiguousarray(mask.T, dtype=np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(array, segmentation, id, volume)

    def _show(self, segmentation, volume):
        """A new segmentation with the repaired segments and the changes; the original one is hidden."""
        name = f"{segmentation.GetName()} repaired"
        proposal = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        proposal.CreateDefaultDisplayNodes()
        proposal.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        segments = segmentation.GetSegmentation()
        for segment, mask in self._found.masks.items():
            colour = segments.GetSegment(segments.GetSegmentIdBySegmentName(segment)).GetColor()
            id = proposal.GetSegmentation().AddEmptySegment("", segment, colour)
            self._write(mask, proposal, id, volume)
        id = proposal.GetSegmentation().AddEmptySegment("", CHANGES, CHANGES_COLOUR)
        self._write(self._found.changed, proposal, id, volume)
        if segmentation.GetDisplayNode() is not None:
            segmentation.GetDisplayNode().SetVisibility(False)
        return proposal
