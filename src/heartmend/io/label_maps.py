"""Label maps: reading and checking with an anatomy, and writing with the header of another file."""

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
"""Handling of ids that the anatomy does not have: an error, or their voxels stay unchanged."""

MAX_ID = 65535
"""A file with larger values is no label map; it also limits the look-up table."""
_REMEDY = "if it is a CT give the label map, else give these voxels their label"


@dataclass(frozen=True, eq=False)
class LabelVolume:
    """A label map on its grid.

    Attributes:
        labels: (x, y, z) uint8, ids of the anatomy, in the file's own voxel order.
        grid: where the voxels are.
        path: the file.
        unknown: (x, y, z) bool, the voxels with ids that the anatomy does not have, which are background in `labels`;
            None where there are none.
        warnings: contradictions in the header that do not prevent its use.
    """

    labels: Labels
    grid: Grid
    path: Path
    unknown: Mask | None = None
    warnings: tuple[str, ...] = ()


def read_labels(
    path: str | Path,
    anatomy: Anatomy,
    unknown_labels: UnknownLabels = "error",
    file_ids: Mapping[int, int] | None = None,
) -> LabelVolume:
    """Read a label map and check it with an anatomy.

    Args:
        path: a NIfTI, NRRD or MetaImage file.
        anatomy: the structures.
        unknown_labels: "keep": voxels with ids that the anatomy does not have are marked in `LabelVolume.unknown`, and
            `write_labels_like` does not change them. "error": they are an error.
        file_ids: the file's id -> the anatomy's id, for a data set with its own numbering; None for the same ids.

    Returns:
        The label map in the ids of the anatomy.

    Raises:
        BadInputError: if the file cannot be read; for values that are not whole, negative, or above 65535; for unknown
            ids; and for a map without any structure of the anatomy.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from heartmend.anatomy.load import load_anatomy
        >>> from heartmend.io.nifti import write_volume
        >>> path = Path(tempfile.mkdtemp()) / "1.nii.gz"
        >>> write_volume(np.full((4, 4, 4), 3, dtype=np.uint8), Grid((4, 4, 4), np.eye(4)), path)
        >>> read_labels(path, load_anatomy("heart")).labels.shape
        (4, 4, 4)
    """
    volume, header = read_volume(Path(path))
    ids = _as_ids(volume.values, volume.path)
    table = _table(anatomy, file_ids)
    counts = count_ids(ids)
    present = np.flatnonzero(counts)
    unknown_ids = [int(i) for i in present if i not in table]
    if unknown_ids and unknown_labels == "error":
        found = ", ".join(f"{i} ({counts[i]} voxels)" for i in unknown_ids[:10]) + (
            ", ..." if len(unknown_ids) > 10 else ""
        )
        known = ", ".join(f"{file_id} {anatomy.by_id(i).name}" for file_id, i in table.items() if i != BACKGROUND)
        raise BadInputError(
            f"{path}: ids that anatomy {anatomy.name} does not have: {found}; it has {known}. "
            "Give an anatomy file that contains them, or keep their voxels unchanged with --unknown-labels keep"
        )
    lookup = np.zeros(len(counts), dtype=np.uint8)
    for file_id, id in table.items():
        if file_id < len(lookup):
            lookup[file_id] = id
    if not lookup[present].any():
        content = "it is empty" if not unknown_ids else f"it contains {len(unknown_ids)} other ids"
        names = ", ".join(anatomy.names)
        raise BadInputError(
            f"{path}: has no voxel of {names}: {content}; give the map with the labels, or remove the file"
        )
    unknown = np.isin(ids, unknown_ids) if unknown_ids else None
    labels = ids if _is_identity(lookup, present) and ids.dtype == np.uint8 else lookup[ids]
    warnings = header.warnings if isinstance(header, NiftiHeader) else ()
    return LabelVolume(np.asarray(labels, dtype=np.uint8), volume.grid, volume.path, unknown, warnings)


def write_labels_like(
    labels: Labels,
    reference: str | Path,
    out: str | Path,
    file_ids: Mapping[int, int] | None = None,
    unknown: Mask | None = None,
) -> None:
    """Write a label map atomically as a file that differs from another one only in its voxels.

    Header, shape, affine, codes, units, dtype and compression are those of the reference.

    Args:
        labels: (x, y, z) uint8, ids of the anatomy.
        reference: the file whose header is used.
        out: the file to write.
        file_ids: the file's id -> the anatomy's id, as in `read_labels`.
        unknown: (x, y, z) bool, voxels at which the reference's own values are written.

    Raises:
        BadInputError: if the labels do not fit the reference, or `out` is the reference.
        OutputError: if the system cannot write the file.
        TypeError: if the labels are not uint8.
    """
    reference, out = Path(reference), Path(out)
    header, grid = read_volume_header(reference)
    if labels.dtype != np.uint8:
        raise TypeError(f"labels must be uint8 ids of the anatomy, not {labels.dtype}")
    if labels.shape != grid.shape:
        raise BadInputError(f"{out}: labels of shape {labels.shape} do not fit {reference} of shape {grid.shape}")
    if out.exists() and out.samefile(reference):
        raise BadInputError(f"{out}: is the input file, which is never written to")
    lookup = np.arange(256)
    if file_ids is not None:
        lookup[1:] = -1
        for file_id, id in file_ids.items():
            lookup[id] = file_id
    present = np.flatnonzero(count_ids(labels))
    if absent := [int(i) for i in present if lookup[i] < 0]:
        raise BadInputError(f"{out}: {reference} has no number for the ids {absent}")
    table = _stored(lookup, present, header, reference)
    stored = labels.astype(header.dtype) if (table[present] == present).all() else table[labels]
    if unknown is not None and unknown.any():
        stored = np.where(unknown, read_stored(reference)[1], stored)
    write_stored(out, header, stored)


def count_ids(ids: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.int64]:
    """Count the voxels of every id.

    Args:
        ids: uint8 or uint16 ids of any shape.

    Returns:
        (256,) or (65536,) int64, the number of voxels of each id.

    Example:
        >>> import numpy as np
        >>> count_ids(np.array([0, 3, 3], dtype=np.uint8))[:4].tolist()
        [1, 0, 0, 2]
    """
    # In parts, because bincount converts its input to int64.
    flat = ids.ravel(order="K")
    counts = np.zeros(np.iinfo(ids.dtype).max + 1, dtype=np.int64)
    for start in range(0, flat.size, 1 << 18):
        part = np.bincount(flat[start : start + (1 << 18)])
        counts[: len(part)] += part
    return counts


def _as_ids(values: npt.NDArray[np.generic], path: Path) -> npt.NDArray[np.unsignedinteger]:
    """The values as ids, after a check that they are whole, not negative, and at most `MAX_ID`."""
    if values.dtype == np.uint8:
        return values.view(np.uint8)
    for dtype in (np.uint8, np.uint16):
        with np.errstate(invalid="ignore"):
            ids: npt.NDArray[np.unsignedinteger] = values.astype(dtype)
        if (ids == values).all():
            return ids
    # Report the fault, or round: a slope in single precision gives 2.9999998 for a 3.
    if values.dtype.kind == "f":
        real = np.asarray(values)
        if not np.isfinite(real).all():
            count = int((~np.isfinite(real)).sum())
            raise BadInputError(f"{path}: has NaN or infinity in {count} voxels; set them to 0 or to their label")
        rounded = np.rint(real)
        if (np.abs(real - rounded) > 1e-3).any():
            worst = float(real.flat[np.argmax(np.abs(real - rounded))])
            raise BadInputError(
                f"{path}: not a label map: has values that are not whole, such as {worst:g}; give the map of ids, "
                "not a CT, a probability map or an interpolated map"
            )
        values = rounded
    if values.min() < 0:
        raise BadInputError(f"{path}: has negative ids, down to {int(values.min())}; {_REMEDY}")
    if values.max() > MAX_ID:
        raise BadInputError(f"{path}: has ids up to {int(values.max())}, above {MAX_ID}; {_REMEDY}")
    return values.astype(np.uint16)


def _table(anatomy: Anatomy, file_ids: Mapping[int, int] | None) -> dict[int, int]:
    own = {i: i for i in anatomy.ids} if file_ids is None else dict(file_ids)
    return {BACKGROUND: BACKGROUND, **own}


def _is_identity(lookup: Labels, present: npt.NDArray[np.intp]) -> bool:
    return bool((lookup[present] == present).all())


def _stored(
    lookup: npt.NDArray[np.int64], present: npt.NDArray[np.intp], header: Header, reference: Path
) -> npt.NDArray[np.generic]:
    """The stored value of each of the 256 ids: the file's own number, in its dtype, without its slope."""
    values = lookup.astype(np.float64)
    if isinstance(header, NiftiHeader) and header.is_scaled:
        values = (values - header.intercept) / header.slope
    stored = values if header.dtype.kind == "f" else np.rint(values)
    with np.errstate(invalid="ignore", over="ignore"):
        cast = stored.astype(header.dtype)
    error = np.abs(cast[present].astype(np.float64) - values[present])
    if (error > 1e-3).any():
        raise BadInputError(f"{reference}: its type {header.dtype} and slope cannot store the ids of the repaired map")
    return cast
