"""Writing of label maps: with the header and the values of the file that they came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from heartmend.anatomy.schema import Anatomy
from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid
from heartmend.geometry.masks import count_ids
from heartmend.io.forms.base import Ids
from heartmend.io.forms.open import open_label_map
from heartmend.io.forms.value_map import as_ids
from heartmend.io.label_maps import LabelVolume
from heartmend.io.label_meaning import LabelMeaning
from heartmend.types import BACKGROUND, UNKNOWN, Labels, Mask


def write_labels_like(
    labels: Labels,
    reference: str | Path,
    out: str | Path,
    meaning: LabelMeaning,
    unknown: Mask | None = None,
    series: Path | None = None,
) -> None:
    """Write a label map atomically as a file that differs from another one only in its voxels.

    Header, shape, affine, codes, units, dtype and compression are those of the reference. Where several of its values
    are one structure, a voxel keeps its value if that is of its structure. A new voxel gets the value of the nearest
    voxel of the structure in the reference, measured within the structure where it is connected.

    Args:
        labels: (x, y, z) uint8, ids of the anatomy.
        reference: the file, or the folder of a case, whose form and headers are used.
        out: the file or the folder to write.
        meaning: which structure each value of the reference is, such as `LabelVolume.meaning`, or `own_meaning` for a
            file with the ids of the anatomy.
        unknown: (x, y, z) bool, voxels at which the reference's own values are written.
        series: as of `read_labels`.

    Raises:
        BadInputError: if the labels do not fit the reference, or `out` is the reference.
        OutputError: if the system cannot write the file.
        TypeError: if the labels are not uint8.
    """
    reference, out = Path(reference), Path(out)
    stored = open_label_map(reference, series)
    if labels.dtype != np.uint8:
        raise TypeError(f"labels must be uint8 ids of the anatomy, not {labels.dtype}")
    if labels.shape != stored.grid.shape:
        raise BadInputError(
            f"{out}: labels of shape {labels.shape} do not fit {reference} of shape {stored.grid.shape}; resample them"
        )
    if out.exists() and out.samefile(reference):
        raise BadInputError(f"{out}: is the input file, which is never written to; give another file")
    lookup = np.full(256, -1)
    lookup[BACKGROUND] = BACKGROUND
    for value, id in reversed(list(meaning.ids.items())):
        lookup[id] = value
    present = np.flatnonzero(count_ids(labels))
    if absent := [int(i) for i in present if lookup[i] < 0]:
        raise BadInputError(f"{out}: {reference} has no value for the ids {absent}; give a meaning that names them")
    values: Any = labels
    if (lookup[present] != present).any():
        values = np.maximum(lookup, 0).astype(np.uint8 if lookup.max() < 256 else np.uint16)[labels]
    if len(set(meaning.ids.values())) < len(meaning.ids):
        original = None if stored.has_masks else stored.read().values
        values = _with_original_values(
            values.astype(np.uint16), labels, lambda of: original if original is not None else stored.read(of).values,
            (meaning, stored.grid),
        )  # fmt: skip
    if unknown is not None and unknown.any() and not stored.has_masks:
        merged = values.astype(np.uint16)
        merged[unknown] = stored.read().values[unknown]
        values = merged
    stored.write(out, values, tuple(meaning.ids))


def check_writable(volume: LabelVolume, series: Path | None = None) -> None:
    """Check that the structures of a label map can be written back into its file, before it is repaired.

    Args:
        volume: the label map, as `read_labels` read it.
        series: as of `read_labels`.

    Raises:
        BadInputError: if a value cannot be stored.
    """
    if volume.meaning is not None:
        open_label_map(volume.path, series).check_storable([v for v in volume.value_counts if v in volume.meaning.ids])


def restore_values(
    labels: Labels, values: npt.NDArray[np.generic], meaning: LabelMeaning, grid: Grid, unknown: Mask | None = None
) -> npt.NDArray[np.generic]:
    """Convert ids back to the values of the array that they were read from, as `write_labels_like` does with a file.

    Args:
        labels: (x, y, z) uint8, ids of the anatomy, such as a repaired map.
        values: (x, y, z), the array as it was given to `check_labels`.
        meaning: which structure each of its values is.
        grid: where the voxels are.
        unknown: (x, y, z) bool, voxels that keep their value.

    Returns:
        (x, y, z) in the data type of `values`.
    """
    lookup = np.zeros(256, dtype=values.dtype)
    for value, id in reversed(list(meaning.ids.items())):
        lookup[id] = value
    result = lookup[labels]
    if len(set(meaning.ids.values())) < len(meaning.ids):
        result = _with_original_values(
            result, labels, lambda _: as_ids(values, "labels"), (meaning, grid), original=values
        )
    return result if unknown is None else np.where(unknown, values, result)


def as_values(labels: Labels, anatomy: Anatomy) -> npt.NDArray[np.unsignedinteger]:
    """Convert ids to the values that the anatomy file gives, for a new file.

    Args:
        labels: (x, y, z) uint8, ids of the anatomy.
        anatomy: the structures.

    Returns:
        (x, y, z) uint8, which may be `labels` itself, or uint16 where a value is above 255.
    """
    if all(value == id for value, id in anatomy.values.items()):
        return labels
    lookup: npt.NDArray[np.unsignedinteger] = np.zeros(256, np.uint8 if max(anatomy.values) < UNKNOWN else np.uint16)
    for value, id in anatomy.values.items():
        lookup[id] = value
    return lookup[labels]


def _with_original_values(
    stored: npt.NDArray[np.generic], labels: Labels, ids_of: Callable[[list[int]], Ids],
    read_with: tuple[LabelMeaning, Grid], original: npt.NDArray[np.generic] | None = None,
) -> npt.NDArray[np.generic]:  # fmt: skip
    """The values, with the original ones, or their ids, for structures that have several values."""
    from skimage.segmentation import watershed

    result, (meaning, grid) = np.array(stored), read_with
    for id in sorted(set(meaning.ids.values())):
        values = meaning.values_of(id)
        mask = labels == id
        if len(values) == 1 or not mask.any():
            continue
        ids = ids_of(values)
        before, source = np.isin(ids, values), ids if original is None else original
        same = mask & before
        result[same] = source[same]
        if not before.any() or not (mask & ~before).any():
            continue
        used = np.nonzero(mask | before)
        box = tuple(slice(int(axis.min()), int(axis.max()) + 1) for axis in used)
        added = mask[box] & ~before[box]
        # First along the structure: of two branches side by side, a new voxel belongs to the one that it continues.
        parts = np.zeros(added.shape, dtype=np.int32)
        for number, value in enumerate(values, start=1):
            parts[same[box] & (ids[box] == value)] = number
        parts = watershed(np.zeros(parts.shape, dtype=np.uint8), parts, connectivity=np.ones((3, 3, 3)), mask=mask[box])
        connected = added & (parts > 0)
        result[box][connected] = np.asarray(values, dtype=result.dtype)[parts[connected] - 1]
        apart = added & (parts == 0)
        if apart.any():
            nearest = distance_transform_edt(
                ~before[box], sampling=grid.spacing_mm, return_distances=False, return_indices=True
            )
            result[box][apart] = source[box][tuple(axis[apart] for axis in nearest)]
    return result
