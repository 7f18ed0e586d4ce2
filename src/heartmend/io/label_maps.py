"""Label maps: read and checked against an anatomy, and written back exactly as the file that they came in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid
from heartmend.io.nifti import NiftiHeader
from heartmend.io.volume import Header, read_stored, read_volume, read_volume_header, write_stored
from heartmend.types import BACKGROUND, Labels, Mask

UnknownLabels = Literal["error", "keep"]
"""What to do about ids that the anatomy does not have."""

# A map with ids above this is no label map; it also bounds the look-up table.
MAX_ID = 65535
_CT = "if it is a CT give the label map, else give these voxels their label"


@dataclass(frozen=True, eq=False)
class LabelVolume:
    """A label map in the anatomy's ids (x, y, z), on its grid."""

    labels: Labels
    grid: Grid
    path: Path
    unknown: Mask | None = None
    """With unknown_labels="keep": the voxels that hold ids unknown to the anatomy. They are background in `labels`."""
    warnings: tuple[str, ...] = ()
    """What is odd about the file, but can be lived with."""


def read_labels(
    path: str | Path,
    anatomy: Anatomy,
    unknown_labels: UnknownLabels = "error",
    file_ids: Mapping[int, int] | None = None,
) -> LabelVolume:
    """Read a label map and check it.

    file_ids: the file's id -> the anatomy's id, for a data set that numbers the structures in its own way.
    Raises BadInputError for values that are not whole, negative or absurd ids, and ids that the anatomy does not
    have, unless unknown_labels="keep": then their voxels are marked in `unknown` and `write_labels_like` leaves them alone; and
    for a map without any structure of the anatomy.
    """
    volume, header = read_volume(Path(path))
    ids = _whole(volume.values, volume.path)
    table = _table(anatomy, file_ids)
    counts = count_ids(ids)
    present = np.flatnonzero(counts)
    unknown_ids = [int(i) for i in present if i not in table]
    if unknown_ids and unknown_labels == "error":
        found = ", ".join(f"{i} ({counts[i]} voxels)" for i in unknown_ids[:10]) + (", ..." if len(unknown_ids) > 10 else "")
        known = ", ".join(f"{file_id} {anatomy.by_id(i).name}" for file_id, i in table.items() if i != BACKGROUND)
        raise BadInputError(
            f"{path}: ids that anatomy {anatomy.name} does not have: {found}; it has {known}. "
            "Give an anatomy file that names them, or keep them untouched with --other keep"
        )
    lookup = np.zeros(len(counts), dtype=np.uint8)
    for file_id, id in table.items():
        if file_id < len(lookup):
            lookup[file_id] = id
    if not lookup[present].any():
        held = "it is empty" if not unknown_ids else f"it holds {len(unknown_ids)} other ids"
        names = ", ".join(anatomy.names)
        raise BadInputError(f"{path}: has no voxel of {names}: {held}; give the map with the labels, or take it away")
    unknown = np.isin(ids, unknown_ids) if unknown_ids else None
    labels = ids if _is_identity(lookup, present) and ids.dtype == np.uint8 else lookup[ids]
    warnings = header.warnings if isinstance(header, NiftiHeader) else ()
    return LabelVolume(np.asarray(labels, dtype=np.uint8), volume.grid, volume.path, unknown, warnings)


def write_labels_like(
    labels: Labels,
    template: str | Path,
    out: str | Path,
    file_ids: Mapping[int, int] | None = None,
    unknown: Mask | None = None,
) -> None:
    """Write labels (x, y, z) in the anatomy's ids as a file that differs from `template` in its voxels only.

    Header, shape, affine, codes, units, dtype and packing are the template's. `file_ids` and `unknown` as in
    `read_labels`: where `unknown`, the template's own values stay. The file appears under its name when it is whole.
    """
    template, out = Path(template), Path(out)
    header, grid = read_volume_header(template)
    if labels.dtype != np.uint8:
        raise TypeError(f"labels are uint8 in the anatomy's ids, not {labels.dtype}")
    if labels.shape != grid.shape:
        raise BadInputError(f"{out}: labels of shape {labels.shape} do not fit {template} of shape {grid.shape}")
    if out.exists() and out.samefile(template):
        raise BadInputError(f"{out}: is the input itself, which is never written to")
    lookup = np.arange(256)
    if file_ids is not None:
        lookup[1:] = -1
        for file_id, id in file_ids.items():
            lookup[id] = file_id
    present = np.flatnonzero(count_ids(labels))
    if absent := [int(i) for i in present if lookup[i] < 0]:
        raise BadInputError(f"{out}: {template} has no number for the ids {absent}")
    table = _stored(lookup, present, header, template)
    stored = labels.astype(header.dtype) if (table[present] == present).all() else table[labels]
    if unknown is not None and unknown.any():
        stored = np.where(unknown, read_stored(template)[1], stored)
    write_stored(out, header, stored)


def count_ids(ids: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.int64]:
    """How many voxels each id has, for all ids of the dtype; in parts, because bincount widens what it is given."""
    flat = ids.ravel(order="K")
    counts = np.zeros(np.iinfo(ids.dtype).max + 1, dtype=np.int64)
    for start in range(0, flat.size, 1 << 18):
        part = np.bincount(flat[start : start + (1 << 18)])
        counts[: len(part)] += part
    return counts


def _whole(values: npt.NDArray[np.generic], path: Path) -> npt.NDArray[np.unsignedinteger]:
    """The values as ids: whole, none negative, none absurdly large."""
    if values.dtype == np.uint8:
        return values.view(np.uint8)
    for dtype in (np.uint8, np.uint16):
        with np.errstate(invalid="ignore"):
            ids: npt.NDArray[np.unsignedinteger] = values.astype(dtype)
        if (ids == values).all():
            return ids
    # Not sound as it is: say why, or forgive a slope in single precision, which gives 2.9999998 for a 3.
    if values.dtype.kind == "f":
        real = np.asarray(values)
        if not np.isfinite(real).all():
            count = int((~np.isfinite(real)).sum())
            raise BadInputError(f"{path}: holds NaN or infinity in {count} voxels; set them to 0 or to their label")
        rounded = np.rint(real)
        if (np.abs(real - rounded) > 1e-3).any():
            worst = float(real.flat[np.argmax(np.abs(real - rounded))])
            raise BadInputError(
                f"{path}: not a label map: holds values that are not whole, such as {worst:g}; give the map of ids, "
                "not a CT, a probability or a map that was interpolated"
            )
        values = rounded
    if values.min() < 0:
        raise BadInputError(f"{path}: holds negative ids, down to {int(values.min())}; {_CT}")
    if values.max() > MAX_ID:
        raise BadInputError(f"{path}: holds ids up to {int(values.max())}, above {MAX_ID}; {_CT}")
    return values.astype(np.uint16)


def _table(anatomy: Anatomy, file_ids: Mapping[int, int] | None) -> dict[int, int]:
    own = {i: i for i in anatomy.ids} if file_ids is None else dict(file_ids)
    return {BACKGROUND: BACKGROUND, **own}


def _is_identity(lookup: Labels, present: npt.NDArray[np.intp]) -> bool:
    return bool((lookup[present] == present).all())


def _stored(
    lookup: npt.NDArray[np.int64], present: npt.NDArray[np.intp], header: Header, template: Path
) -> npt.NDArray[np.generic]:
    """For each of the 256 ids what is stored for it: the file's own number, in its dtype, its slope undone."""
    values = lookup.astype(np.float64)
    if isinstance(header, NiftiHeader) and header.is_scaled:
        values = (values - header.intercept) / header.slope
    stored = values if header.dtype.kind == "f" else np.rint(values)
    with np.errstate(invalid="ignore", over="ignore"):
        cast = stored.astype(header.dtype)
    off = np.abs(cast[present].astype(np.float64) - values[present])
    if (off > 1e-3).any():
        raise BadInputError(f"{template}: its type {header.dtype} and slope cannot hold the ids that were mended")
    return cast
