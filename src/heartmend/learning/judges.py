"""Judges on disk, and on any grid: they look at voxels whose sides are all one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from heartmend.errors import RunError
from heartmend.files import write_safetensors
from heartmend.learning.surroundings import Judge, new_net
from heartmend.learning.targets import CLIP_MM, signed_distance_mm
from heartmend.space.resample import along_axes, linear_weights
from heartmend.types import Mask

SAME = 0.05
"""Voxels whose sides differ from the step by less than this share are taken as they are."""
Sides = Sequence[float]


@dataclass(frozen=True, eq=False)
class Judges:
    """A judge for each structure, by name, and the step in mm at which they look."""

    step_mm: float
    of: Mapping[str, Judge]

    def field(self, name: str, label: Mask, spacing_mm: Sides) -> npt.NDArray[np.float32]:
        """The mended structure as signed distances in mm, positive inside, on the label's own voxels; outside
        everywhere where there is no label."""
        if not label.any():
            return np.full(label.shape, -CLIP_MM, dtype=np.float32)
        logits = self.of[name].logits(even(label, spacing_mm, self.step_mm))
        if logits.shape != label.shape:
            logits = _read(logits, (self.step_mm,) * 3, spacing_mm, label.shape)
        return signed_distance_mm(logits > 0, spacing_mm)


def even(mask: Mask, spacing_mm: Sides, step_mm: float) -> Mask:
    """A mask on voxels whose sides are all `step_mm`, from the same corner on; itself where they nearly are."""
    if all(abs(side / step_mm - 1) < SAME for side in spacing_mm):
        return mask
    counts = [max(round(n * side / step_mm), 1) for n, side in zip(mask.shape, spacing_mm, strict=True)]
    return _read(mask.astype(np.float32), spacing_mm, (step_mm,) * 3, counts) > 0.5


def save_judges(path: Path, judges: Judges) -> None:
    """Write them, whole or not at all."""
    arrays = {"step_mm": np.array([judges.step_mm], np.float32)}
    for name, judge in judges.of.items():
        arrays |= {f"{name}/{key}": value.numpy() for key, value in judge.net.state_dict().items()}
        arrays[f"{name}/threshold"] = np.array([judge.threshold], np.float32)
    write_safetensors(path, arrays, {})


def load_judges(path: Path) -> Judges:
    """What `save_judges` wrote; RunError when the file is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a dict)
        step_mm, of = float(tensors.pop("step_mm")), {}
        for name in dict.fromkeys(key.partition("/")[0] for key in tensors):
            own = {key.partition("/")[2]: value for key, value in tensors.items() if key.startswith(f"{name}/")}
            threshold, net = float(own.pop("threshold")), new_net()
            net.load_state_dict(own)
            of[name] = Judge(net.eval(), threshold)
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise RunError(f"{path}: cannot be read ({error}); remove it to learn again") from error
    return Judges(step_mm, of)


def _read(
    values: npt.NDArray[np.float32], sides_mm: Sides, wanted_mm: Sides, shape: Sequence[int]
) -> npt.NDArray[np.float32]:
    """Values read between voxels at the centres of others, of a grid that begins at the same corner."""
    weights = []
    for have, side, want, count in zip(values.shape, sides_mm, wanted_mm, shape, strict=True):
        at = ((np.arange(count) + 0.5) * want / side - 0.5).clip(-0.5, have - 0.5)
        weights.append(linear_weights(at, 0, have, want / side)[0])
    return along_axes(values, weights)
