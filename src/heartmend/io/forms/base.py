"""Interface of a stored label map."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from heartmend.geometry.grid import Grid
from heartmend.io.label_meaning import LabelTable

Ids = npt.NDArray[np.unsignedinteger]
"""uint8 or uint16 values of a label map."""


@dataclass(frozen=True, eq=False)
class StoredValues:
    """Values of a label map.

    Attributes:
        values: (x, y, z) uint8 or uint16, in the numbering of the file.
        overlaps: two values that share voxels, the one that the voxels got first -> number of these voxels.
    """

    values: Ids
    overlaps: Mapping[tuple[int, int], int] = field(default_factory=dict)


class StoredMap(ABC):
    """Label map of a case as it is stored: the only place that depends on the form.

    Attributes:
        path: the file or the folder.
        grid: where its voxels are.
        table: the names that it contains; None where it has none.
        warnings: contradictions in it that do not prevent its use.
        has_masks: whether every structure has a mask of its own, so that masks can overlap. Then `read` returns the
            masks that it is asked for alone, and `write` leaves all others as they are.
    """

    path: Path
    grid: Grid
    table: LabelTable | None = None
    warnings: tuple[str, ...] = ()
    has_masks: bool = False

    @abstractmethod
    def read(self, order: Sequence[int] = ()) -> StoredValues:
        """Read the values.

        Args:
            order: of a map with masks the values to read, the lowest priority first: where masks overlap, a voxel gets
                the last one. Otherwise it has no effect.

        Returns:
            The values.

        Raises:
            BadInputError: if they cannot be read.
        """

    @abstractmethod
    def check_storable(self, values: Collection[int]) -> None:
        """Check that values can be written back, so that the same reader reads them again.

        Args:
            values: values of the repaired map.

        Raises:
            BadInputError: if one cannot.
        """

    @abstractmethod
    def write(self, out: Path, values: Ids, changing: Collection[int]) -> None:
        """Write other values in the same form, atomically, with unchanged headers.

        Args:
            out: the file or the folder to write.
            values: (x, y, z) in the numbering of the file.
            changing: the values that may differ from those of the file; of a map with masks all others are copied.

        Raises:
            BadInputError: if a value cannot be stored.
            OutputError: if the system cannot write it.
        """


def flatten(masks: Sequence[tuple[int, npt.NDArray[np.bool_]]], shape: tuple[int, ...]) -> StoredValues:
    """Make one map of values from masks that can overlap.

    Args:
        masks: values and their masks (x, y, z), the lowest priority first.
        shape: shape of the map.

    Returns:
        The values, and the numbers of voxels in two masks.

    Example:
        >>> both = flatten([(1, np.array([True, True])), (2, np.array([False, True]))], (2,))
        >>> both.values.tolist(), both.overlaps
        ([1, 2], {(2, 1): 1})
    """
    dtype = np.uint8 if max((value for value, _ in masks), default=0) < 256 else np.uint16
    flat: Ids = np.zeros(shape, dtype=dtype)
    overlaps: dict[tuple[int, int], int] = {}
    for value, mask in masks:
        covered = np.bincount(flat[mask].astype(np.int64).ravel())
        for other in np.flatnonzero(covered):
            if other:
                overlaps[value, int(other)] = int(covered[other])
        flat[mask] = value
    return StoredValues(flat, overlaps)
