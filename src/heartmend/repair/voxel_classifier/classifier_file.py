"""Voxel classifiers of several structures, and their file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from heartmend.errors import RunError
from heartmend.geometry.distance import CLIP_MM, signed_distance_mm
from heartmend.io.atomic import write_safetensors
from heartmend.repair.voxel_classifier.classifier import VoxelClassifier, new_network
from heartmend.repair.voxel_classifier.features import IntensityScale
from heartmend.repair.voxel_classifier.isotropic import Spacing, isotropic_image, isotropic_mask, resample_spacing
from heartmend.types import DistanceField, Mask

LABELS, IMAGES = "labels", "images"
"""Kinds of classifiers in a file."""


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
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a dict)
        step_mm, by_kind = float(tensors.pop("step_mm")), dict[str, dict[str, VoxelClassifier]]()
        for kind, name in dict.fromkeys(tuple(key.split("/")[:2]) for key in tensors):
            prefix = f"{kind}/{name}/"
            own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            threshold, scale = float(own.pop("threshold")), own.pop("intensity", None)
            net = new_network(scale is not None)
            net.load_state_dict(own)
            intensity = None if scale is None else IntensityScale(*scale.tolist())
            by_kind.setdefault(kind, {})[name] = VoxelClassifier(net.eval(), threshold, intensity)
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise RunError(f"{path}: cannot be read ({error}); remove the file to train the classifiers again") from error
    return VoxelClassifiers(step_mm, by_kind.get(LABELS, {}), by_kind.get(IMAGES, {}))
