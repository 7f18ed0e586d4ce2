"""Label maps of cases that have a folder of their own: one map, or one mask for each structure."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid
from heartmend.io.atomic import atomic_folder
from heartmend.io.forms.base import Ids, StoredMap, StoredValues, flatten
from heartmend.io.forms.case_folder import CaseFolder, mask_name
from heartmend.io.forms.value_map import ValueMap
from heartmend.io.label_meaning import LabelTable
from heartmend.io.volume import read_volume_header


class MapInFolder(StoredMap):
    """One label map in the folder of its case. The output is a folder with the map at the same place."""

    def __init__(self, folder: Path, inner: StoredMap) -> None:
        """Wrap the label map.

        Args:
            folder: the folder of the case.
            inner: its label map.
        """
        self.path, self.grid, self.table, self.warnings = folder, inner.grid, inner.table, inner.warnings
        self.has_masks = inner.has_masks
        self._inner = inner

    def read(self, order: Sequence[int] = ()) -> StoredValues:
        """Read the map; see the base class."""
        return self._inner.read(order)

    def check_storable(self, values: Collection[int]) -> None:
        """Check the map; see the base class."""
        self._inner.check_storable(values)

    def write(self, out: Path, values: Ids, changing: Collection[int]) -> None:
        """Write the map; see the base class."""
        with atomic_folder(out) as temporary:
            self._inner.write(temporary / self._inner.path.relative_to(self.path), values, changing)


class MaskFolder(StoredMap):
    """One mask for each structure, as TotalSegmentator writes them. A mask is identified by its number from 1, by name.

    A mask has one value beside 0, which it keeps. The masks of other organs are copied.
    """

    has_masks = True

    def __init__(self, folder: CaseFolder) -> None:
        """Read the names of the masks.

        Args:
            folder: the files.

        Raises:
            BadInputError: if the first mask cannot be read.
        """
        self.path = folder.path
        self._files = dict(enumerate(folder.labels, start=1))
        names = {number: mask_name(path, folder.path) for number, path in self._files.items()}
        self.table = LabelTable("the names of the masks", names, keeps_others=True)

    @cached_property
    def grid(self) -> Grid:  # type: ignore[override]
        """Where the voxels of the masks are."""
        return read_volume_header(self._files[1])[1]

    def read(self, order: Sequence[int] = ()) -> StoredValues:
        """Read masks; see the base class."""
        return flatten([(number, self._read_mask(number)[0]) for number in order], self.grid.shape)

    def check_storable(self, values: Collection[int]) -> None:
        """Check that each mask can be written; see the base class."""
        for value in values:
            header, _ = read_volume_header(self._files[value])
            ValueMap(header.path).check_storable([0, 1])

    def write(self, out: Path, values: Ids, changing: Collection[int]) -> None:
        """Write masks, each in its own file; see the base class."""
        with atomic_folder(out) as temporary:
            for number, path in self._files.items():
                target = temporary / path.relative_to(self.path)
                if number in changing:
                    mask, inside = self._read_mask(number)
                    changed = np.equal(values, number)
                    if not np.array_equal(mask, changed):
                        ValueMap(path).write(target, np.where(changed, inside, 0).astype(np.uint16), ())
                        continue
                # The header shows that it is a volume: a link in its place must not copy any other file.
                header, _ = read_volume_header(path)
                target.parent.mkdir(parents=True, exist_ok=True)
                for source in {header.path, header.data_path}:
                    shutil.copyfile(source, target.with_name(source.name))

    def _read_mask(self, number: int) -> tuple[npt.NDArray[np.bool_], int]:
        """A mask, and the value of its voxels."""
        path = self._files[number]
        stored = ValueMap(path)
        if not stored.grid.is_close(self.grid):
            raise BadInputError(
                f"{path}: is not on the grid of {self._files[1].name}; give all masks of a case on one grid"
            )
        values = stored.read().values
        inside = [int(value) for value in np.unique(values) if value]
        if len(inside) > 1:
            listed = ", ".join(map(str, inside[:5]))
            raise BadInputError(f"{path}: not a mask: it has the values {listed}; give 0 and one other value")
        return np.not_equal(values, 0), inside[0] if inside else 1
