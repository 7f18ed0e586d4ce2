"""Repair of the segments of one heart in memory with a trained model, for programs such as 3D Slicer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.errors import BadInputError, ConfigError
from heartmend.io.label_meaning import LabelTable
from heartmend.models.heart_model import HeartModel
from heartmend.models.model_file import load_heart_model
from heartmend.pipelines.repair_labels import repair_labels
from heartmend.repair.change_log import ChangeLog
from heartmend.run_folder.folder import model_file
from heartmend.types import BACKGROUND, MAX_VALUE, Mask
from heartmend.wording import plural


@dataclass(frozen=True, eq=False)
class RepairedSegments:
    """Repaired segments.

    Attributes:
        masks: name of a segment -> (x, y, z) bool; also of those that were not changed.
        changed: (x, y, z) bool, the voxels that belong to another segment than before, or to none.
        changed_voxels: name of a segment -> number of its voxels that were added or removed, for those that changed.
        others: names of the segments that are no structure of the model's anatomy; they are not changed.
        changes: what was changed, and which repaired structures were accepted.
    """

    masks: Mapping[str, Mask]
    changed: Mask
    changed_voxels: Mapping[str, int]
    others: tuple[str, ...]
    changes: ChangeLog

    @property
    def summary(self) -> str:
        """What was changed, in a few lines for a reader."""
        lines = [f"{name}: {plural(count, 'voxel')} changed" for name, count in self.changed_voxels.items()]
        lines += [
            f"{v.structure}: the repair was not accepted: {v.reason}" for v in self.changes.verdicts if not v.accepted
        ]
        if self.others:
            lines.append(f"not changed, because the model does not have them: {', '.join(self.others)}")
        return "\n".join(lines) or "nothing was changed"


def repair_segments(
    segments: Mapping[str, npt.ArrayLike],
    affine: npt.ArrayLike,
    model: HeartModel | str | PathLike[str],
    *,
    image: npt.ArrayLike | None = None,
    seed: int = 0,
) -> RepairedSegments:
    """Repair the segments of one heart with a trained model.

    A segment is a structure by its name or an alias, such as "left atrium". Several segments may be one structure; a
    voxel that is added to it belongs to the nearest of them. Where segments overlap, the anatomy's order of priority
    decides what is repaired. A segment with any other name is not changed, and no structure grows into it.

    Args:
        segments: name -> (x, y, z) mask; nothing but zero is outside. They are not changed.
        affine: (4, 4), voxel index to RAS+ mm.
        model: the model, its file, or the folder of a run that made one.
        image: (x, y, z) CT in HU on the same voxels; None: segments alone.
        seed: seed of the sampled points.

    Returns:
        The repaired segments, and what was changed.

    Raises:
        BadInputError: if no segment is a structure of the model, or the arrays do not fit together.
        FitError: if the segments have none of the structures of the model's template.
    """
    if not isinstance(model, HeartModel):
        model = load_heart_model(model_file(Path(model)))
    masks = {name: np.asarray(mask) != 0 for name, mask in segments.items()}
    if len(shapes := {mask.shape for mask in masks.values()}) != 1 or len(masks) > MAX_VALUE:
        raise BadInputError(f"{len(masks)} segments of the shapes {sorted(shapes)}; give segments on the same voxels")
    order = _by_priority(tuple(masks), model.anatomy)
    others = tuple(name for name, rank in order.items() if rank is None)
    if len(others) == len(masks):
        raise BadInputError(
            f"none of the segments {', '.join(masks)} is a structure of the model, which has "
            f"{', '.join(model.anatomy.names)}; rename them"
        )
    values, names = np.zeros(shapes.pop(), dtype=np.uint16), dict[int, str]()
    for value, name in enumerate(order, start=1):
        names[value] = name
        values[masks[name] & (values == BACKGROUND)] = value
    # The names of the others are not in the table, so that their voxels are kept.
    table = LabelTable("the segments", {v: n for v, n in names.items() if n not in others}, decides=True)
    found = repair_labels(values, affine, model, image=image, unknown_labels="keep", seed=seed, ids=table)
    repaired = dict(masks)
    for value, name in names.items():
        if name not in others:
            # An overlap that the order of priority hides stays.
            hidden = masks[name] & (values != value) & (found.labels == values)
            repaired[name] = (found.labels == value) | hidden
    counts = {name: int(np.count_nonzero(repaired[name] != masks[name])) for name in masks}
    changed_voxels = {name: count for name, count in counts.items() if count}
    return RepairedSegments(repaired, found.labels != values, changed_voxels, others, found.changes)


def _by_priority(names: tuple[str, ...], anatomy: Anatomy) -> dict[str, int | None]:
    """Rank of each segment, None for one that is no structure; in this order, the others last."""
    ranks: dict[str, int | None] = {}
    for name in names:
        try:
            ranks[name] = anatomy.priority.index(anatomy.by_name(name).name)
        except ConfigError:
            ranks[name] = None
    return dict(sorted(ranks.items(), key=lambda item: len(anatomy.priority) if item[1] is None else item[1]))
