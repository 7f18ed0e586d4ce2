"""VoxelClassifiers on disk, and on any grid: they look at voxels whose sides are all one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from heartmend.errors import RunError
from heartmend.geometry.distance import CLIP_MM, signed_distance_mm
from heartmend.geometry.resampling import apply_along_axes, linear_weights
from heartmend.io.atomic import write_safetensors
from heartmend.repair.voxel_classifier.classifier import Image, Levels, VoxelClassifier, new_net
from heartmend.types import Mask

SAME = 0.05
"""Voxels whose sides differ from the step by less than this share are taken as they are."""
LABELS, IMAGES = "labels", "images"
"""What a judge looks at, in a file."""
Sides = Sequence[float]


@dataclass(frozen=True, eq=False)
class VoxelClassifiers:
    """VoxelClassifiers of structures, by name, and the step in mm at which they look.

    of: those that look at labels alone; seeing: those that look at images too.
    """

    step_mm: float
    of: Mapping[str, VoxelClassifier]
    seeing: Mapping[str, VoxelClassifier] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """The structures that have a judge."""
        return {*self.of, *self.seeing}

    def field(
        self, name: str, label: Mask, spacing_mm: Sides, image: npt.NDArray[np.generic] | None = None
    ) -> npt.NDArray[np.float32]:
        """The mended structure as signed distances in mm, positive inside, on the label's own voxels; outside
        everywhere where there is no label. image: on these voxels too."""
        if not label.any():
            return np.full(label.shape, -CLIP_MM, dtype=np.float32)
        first, second = (self.of, self.seeing) if image is None else (self.seeing, self.of)
        judge = first[name] if name in first else second[name]
        shown = None if image is None or judge.levels is None else even_image(image, spacing_mm, self.step_mm)
        logits = judge.logits(even(label, spacing_mm, self.step_mm), shown)
        if logits.shape != label.shape:
            logits = _read(logits, (self.step_mm,) * 3, spacing_mm, label.shape)
        return signed_distance_mm(logits > 0, spacing_mm)


def even(mask: Mask, spacing_mm: Sides, step_mm: float) -> Mask:
    """A mask on voxels whose sides are all `step_mm`, from the same corner on; itself where they nearly are."""
    return mask if _is_even(spacing_mm, step_mm) else _evened(mask, spacing_mm, step_mm) > 0.5


def even_image(image: npt.NDArray[np.generic], spacing_mm: Sides, step_mm: float) -> Image:
    """The same for an image."""
    return image.astype(np.float32) if _is_even(spacing_mm, step_mm) else _evened(image, spacing_mm, step_mm)


def _is_even(spacing_mm: Sides, step_mm: float) -> bool:
    return all(abs(side / step_mm - 1) < SAME for side in spacing_mm)


def _evened(values: npt.NDArray[np.generic], spacing_mm: Sides, step_mm: float) -> Image:
    counts = [max(round(n * side / step_mm), 1) for n, side in zip(values.shape, spacing_mm, strict=True)]
    return _read(values.astype(np.float32), spacing_mm, (step_mm,) * 3, counts)


def save_classifiers(path: Path, judges: VoxelClassifiers) -> None:
    """Write them, whole or not at all."""
    arrays = {"step_mm": np.array([judges.step_mm], np.float32)}
    for kind, of in ((LABELS, judges.of), (IMAGES, judges.seeing)):
        for name, judge in of.items():
            own = {key: value.numpy() for key, value in judge.net.state_dict().items()}
            own["threshold"] = np.array([judge.threshold], np.float32)
            if judge.levels is not None:
                own["levels"] = np.array([judge.levels.mean, judge.levels.deviation], np.float32)
            arrays |= {f"{kind}/{name}/{key}": value for key, value in own.items()}
    write_safetensors(path, arrays, {})


def load_classifiers(path: Path) -> VoxelClassifiers:
    """What `save_classifiers` wrote; RunError when the file is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a dict)
        step_mm, of = float(tensors.pop("step_mm")), dict[str, dict[str, VoxelClassifier]]()
        for kind, name in dict.fromkeys(tuple(key.split("/")[:2]) for key in tensors):
            begin = f"{kind}/{name}/"
            own = {key.removeprefix(begin): value for key, value in tensors.items() if key.startswith(begin)}
            threshold, levels = float(own.pop("threshold")), own.pop("levels", None)
            net = new_net(levels is not None)
            net.load_state_dict(own)
            known = None if levels is None else Levels(*levels.tolist())
            of.setdefault(kind, {})[name] = VoxelClassifier(net.eval(), threshold, known)
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise RunError(f"{path}: cannot be read ({error}); remove it to learn again") from error
    return VoxelClassifiers(step_mm, of.get(LABELS, {}), of.get(IMAGES, {}))


def _read(
    values: npt.NDArray[np.float32], sides_mm: Sides, wanted_mm: Sides, shape: Sequence[int]
) -> npt.NDArray[np.float32]:
    """Values read between voxels at the centres of others, of a grid that begins at the same corner."""
    weights = []
    for have, side, want, count in zip(values.shape, sides_mm, wanted_mm, shape, strict=True):
        at = ((np.arange(count) + 0.5) * want / side - 0.5).clip(-0.5, have - 0.5)
        weights.append(linear_weights(at, 0, have, want / side)[0])
    return apply_along_axes(values, weights)
