"""One volume file with one value per voxel."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from heartmend.errors import BadInputError
from heartmend.geometry.masks import count_ids
from heartmend.io.forms.base import Ids, StoredMap, StoredValues
from heartmend.io.forms.segment_extents import with_extents
from heartmend.io.itk import read_segment_fields
from heartmend.io.label_tables import header_table
from heartmend.io.volume import read_volume_header, write_stored
from heartmend.io.volume_header import VolumeHeader, read_voxels
from heartmend.types import MAX_VALUE
from heartmend.wording import plural

WHOLE_TOLERANCE = 1e-3
"""A value this close to a whole number is read as it: a slope in single precision gives 2.9999998 for a 3."""
_REMEDY = "if it is a CT give the label map, else give these voxels their label"


class ValueMap(StoredMap):
    """One volume file with one value per voxel."""

    def __init__(self, path: Path) -> None:
        """Read the header.

        Args:
            path: a volume file.

        Raises:
            BadInputError: if it cannot be read.
        """
        self.path = path
        self.header, self.grid = read_volume_header(path)
        self.table, self.warnings = header_table(self.header), self.header.warnings

    def read(self, order: Sequence[int] = ()) -> StoredValues:
        """Read the values, with slope and intercept applied; see the base class."""
        return StoredValues(as_ids(self._real(self._stored()), str(self.path)))

    def check_storable(self, values: Collection[int]) -> None:
        """Check that the data type and the slope can store values; see the base class."""
        encode_values(self.header, np.fromiter(values, np.int64, len(values)))

    def write(self, out: Path, values: Ids, changing: Collection[int] = ()) -> None:
        """Write other values; a voxel that keeps its value keeps its stored number; see the base class."""
        header = self.header
        present = np.flatnonzero(count_ids(values))
        codes = encode_values(header, present)
        if header.is_scaled or header.dtype.kind == "f":
            stored = codes[np.searchsorted(present, values)]
            original = self._stored()
            same = as_ids(self._real(original), str(self.path)) == values
            stored[same] = original[same]
        else:
            stored = values.astype(header.dtype)
        segments = read_segment_fields(header)
        if segments:
            masks = ((s.number, np.equal(values, s.label_value)) for s in segments)
            header = replace(header, head=with_extents(header.head, masks))
        write_stored(out, header, stored)

    def _stored(self) -> npt.NDArray[np.generic]:
        return read_voxels(self.header).reshape(self.grid.shape, order="F")

    def _real(self, stored: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        if not self.header.is_scaled:
            return stored
        return np.asarray(stored, dtype=np.float64) * self.header.slope + self.header.intercept


def as_ids(values: npt.NDArray[np.generic], source: str) -> Ids:
    """Convert values to ids, after a check that they are whole, not negative, and at most `MAX_VALUE`.

    Args:
        values: numbers of any type. They are not changed.
        source: the file or the array, for messages.

    Returns:
        uint8 or uint16, of the same shape.

    Raises:
        BadInputError: if a value is no id.
    """
    if values.dtype == np.uint8:
        return values.view(np.uint8)
    for dtype in (np.uint8, np.uint16):
        with np.errstate(invalid="ignore"):
            ids: Ids = values.astype(dtype)
        if (ids == values).all():
            return ids
    # Report the error, or round.
    if values.dtype.kind == "f":
        real = np.asarray(values)
        if not np.isfinite(real).all():
            count = int((~np.isfinite(real)).sum())
            raise BadInputError(
                f"{source}: has NaN or infinity in {plural(count, 'voxel')}; set each to 0 or to its label"
            )
        rounded = np.rint(real)
        if (np.abs(real - rounded) > WHOLE_TOLERANCE).any():
            worst = float(real.flat[np.argmax(np.abs(real - rounded))])
            raise BadInputError(
                f"{source}: not a label map: has values that are not whole, such as {worst:g}; give the map of ids, "
                "not a CT, a probability map or an interpolated map"
            )
        values = rounded
    if values.min() < 0:
        raise BadInputError(f"{source}: has negative ids, down to {int(values.min())}; {_REMEDY}")
    if values.max() > MAX_VALUE:
        raise BadInputError(f"{source}: has ids up to {int(values.max())}, above {MAX_VALUE}; {_REMEDY}")
    return values.astype(np.uint16)


def encode_values(header: VolumeHeader, values: npt.NDArray[np.int64]) -> npt.NDArray[np.generic]:
    """Compute the stored numbers of values, which `as_ids` reads as the same values again.

    Args:
        header: data type, slope and intercept.
        values: (n,) whole numbers.

    Returns:
        (n,) in the data type of the header.

    Raises:
        BadInputError: if the data type and the slope cannot store a value.
    """
    real = values.astype(np.float64)
    exact = (real - header.intercept) / header.slope
    with np.errstate(invalid="ignore", over="ignore"):
        codes = (exact if header.dtype.kind == "f" else np.rint(exact)).astype(header.dtype)
    again = codes.astype(np.float64) * header.slope + header.intercept
    failing = values[~(np.abs(again - real) <= WHOLE_TOLERANCE)]
    if len(failing):
        listed = ", ".join(map(str, failing[:5].tolist())) + (", ..." if len(failing) > 5 else "")
        raise BadInputError(
            f"{header.path}: its type {header.dtype} and slope {header.slope:g} cannot store the values {listed} "
            "of the repaired map; save it with a type of whole numbers and without a slope"
        )
    return codes
