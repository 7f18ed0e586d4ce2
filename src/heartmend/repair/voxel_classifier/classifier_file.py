"""Voxel classifiers of several structures, and their file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from heartmend.anatomy.validation import shorten
from heartmend.errors import RunError
from heartmend.geometry.distance import CLIP_MM, signed_distance_mm
from heartmend.geometry.grid import SPACING_LIMITS_MM
from heartmend.io.atomic import write_safetensors
from heartmend.io.regular import open_to_read
from heartmend.io.tensor_header import (
    TensorHeader,
    TensorSpec,
    check_finite,
    check_tensors,
    read_array,
    read_tensor_header,
)
from heartmend.repair.voxel_classifier.classifier import VoxelClassifier, new_network
from heartmend.repair.voxel_classifier.features import IntensityScale
from heartmend.repair.voxel_classifier.isotropic import Spacing, isotropic_image, isotropic_mask, resample_spacing
from heartmend.types import DistanceField, Mask

LABELS, IMAGES = "labels", "images"
"""Kinds of classifiers in a file."""
STEP, THRESHOLD, INTENSITY = "step_mm", "threshold", "intensity"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _+-]{0,62}")


@dataclass(frozen=True, eq=False)
class VoxelClassifiers:
    """Voxel classifiers of several structures.

    Attributes:
        step_mm: side of the isotropic voxels on which they work.
        by_labels: classifiers of labels alone, by structure name.
        by_images: classifiers of labels and images, by structure name.
    """

    step_mm: float
    by_labels: Mapping[str, VoxelClassifier]
    by_images: Mapping[str, VoxelClassifier] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """Names of the structures that have a classifier."""
        return {*self.by_labels, *self.by_images}

    def distance_mm(
        self, name: str, label: Mask, spacing_mm: Spacing, image: npt.NDArray[np.generic] | None = None
    ) -> DistanceField:
        """Repair a label and compute its signed distance.

        Args:
            name: name of the structure.
            label: (x, y, z) bool.
            spacing_mm: voxel spacing.
            image: (x, y, z) on the voxels of the label. With an image, a classifier of images is preferred.

        Returns:
            (x, y, z) float32, signed distance in mm on the voxels of the label, positive inside; outside everywhere
            for an empty label.

        Raises:
            KeyError: if the structure has no classifier.
        """
        if not label.any():
            return np.full(label.shape, -CLIP_MM, dtype=np.float32)
        first, second = (self.by_labels, self.by_images) if image is None else (self.by_images, self.by_labels)
        classifier = first[name] if name in first else second[name]
        used = None
        if image is not None and classifier.intensity is not None:
            used = isotropic_image(image, spacing_mm, self.step_mm)
        logits = classifier.logits(isotropic_mask(label, spacing_mm, self.step_mm), used)
        if logits.shape != label.shape:
            logits = resample_spacing(logits, (self.step_mm,) * 3, spacing_mm, label.shape)
        return signed_distance_mm(logits > 0, spacing_mm)


def save_classifiers(path: Path, classifiers: VoxelClassifiers) -> None:
    """Write voxel classifiers to a file, atomically.

    Args:
        path: path of the safetensors file.
        classifiers: the classifiers.

    Raises:
        OutputError: if the file cannot be written.
    """
    arrays = {"step_mm": np.array([classifiers.step_mm], np.float32)}
    for kind, by_name in ((LABELS, classifiers.by_labels), (IMAGES, classifiers.by_images)):
        for name, classifier in by_name.items():
            own = {key: value.numpy() for key, value in classifier.net.state_dict().items()}
            own["threshold"] = np.array([classifier.threshold], np.float32)
            if classifier.intensity is not None:
                own["intensity"] = np.array([classifier.intensity.mean, classifier.intensity.deviation], np.float32)
            arrays |= {f"{kind}/{name}/{key}": value for key, value in own.items()}
    write_safetensors(path, arrays, {})


def load_classifiers(path: Path) -> VoxelClassifiers:
    """Read voxel classifiers from a file.

    Args:
        path: path of the file that `save_classifiers` wrote.

    Returns:
        The classifiers.

    Raises:
        RunError: if the file is missing or damaged.
    """
    try:
        with open_to_read(path) as file:
            header = read_tensor_header(file, os.fstat(file.fileno()).st_size)
            check_tensors(header, _specs(header))
            arrays = {name: read_array(file, header, tensor) for name, tensor in header.tensors.items()}
        for name, array in arrays.items():
            check_finite(name, array)
        return _classifiers(arrays)
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path}: cannot be read ({shorten(str(error), 300)}); remove the file to train the classifiers again"
        ) from error


def _specs(header: TensorHeader) -> dict[str, TensorSpec]:
    """Type and shape of every tensor of the classifiers that a header names."""
    specs: dict[str, TensorSpec] = {STEP: ("F32", (1,))}
    names = [tuple(key.rsplit("/", 1)[0].split("/")) for key in header.tensors if key != STEP]
    for parts in dict.fromkeys(names):
        if len(parts) != 2 or parts[0] not in (LABELS, IMAGES) or not _NAME.fullmatch(parts[1]):
            raise ValueError(f"it contains no classifier of a structure, but {shorten('/'.join(parts), 60)!r}")
        prefix = "/".join(parts)
        reads_images = f"{prefix}/{INTENSITY}" in header.tensors
        with torch.device("meta"):
            net = new_network(reads_images).state_dict()
        specs |= {f"{prefix}/{name}": ("F32", tuple(weight.shape)) for name, weight in net.items()}
        specs[f"{prefix}/{THRESHOLD}"] = ("F32", (1,))
        if reads_images:
            specs[f"{prefix}/{INTENSITY}"] = ("F32", (2,))
    return specs


def _classifiers(arrays: dict[str, np.ndarray]) -> VoxelClassifiers:
    """The classifiers from the arrays of their file, whose types and shapes are right."""
    step_mm, by_kind = float(arrays.pop(STEP)[0]), dict[str, dict[str, VoxelClassifier]]()
    low, high = SPACING_LIMITS_MM
    if not low <= step_mm <= high:
        raise ValueError(f"step_mm is {step_mm:g}; it must be {low:g} to {high:g}")
    for kind, name in dict.fromkeys(tuple(key.split("/")[:2]) for key in arrays):
        prefix = f"{kind}/{name}/"
        own = {
            key.removeprefix(prefix): torch.from_numpy(array) for key, array in arrays.items() if key.startswith(prefix)
        }
        threshold, scale = float(own.pop(THRESHOLD)), own.pop(INTENSITY, None)
        net = new_network(scale is not None)
        net.load_state_dict(own)
        intensity = None if scale is None else IntensityScale(*scale.tolist())
        if intensity is not None and intensity.deviation <= 0:
            raise ValueError(f"{prefix}{INTENSITY} has a deviation of {intensity.deviation:g}; it must be more than 0")
        by_kind.setdefault(kind, {})[name] = VoxelClassifier(net.eval(), threshold, intensity)
    return VoxelClassifiers(step_mm, by_kind.get(LABELS, {}), by_kind.get(IMAGES, {}))
