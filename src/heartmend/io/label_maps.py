"""Label maps: reading, and checking with an anatomy."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid
from heartmend.geometry.masks import count_ids
from heartmend.io.file_names import escape_unprintable
from heartmend.io.forms.base import StoredMap, StoredValues
from heartmend.io.forms.open import open_label_map
from heartmend.io.forms.value_map import ValueMap, as_ids
from heartmend.io.label_meaning import (
    LabelMeaning,
    LabelTable,
    fitting_presets,
    own_meaning,
    recognised_meaning,
    resolve_meaning,
)
from heartmend.types import BACKGROUND, Labels, Mask
from heartmend.wording import plural

UnknownLabels = Literal["error", "keep"]
"""Handling of ids that the anatomy does not have: an error, or their voxels stay unchanged."""

_MAX_REMEMBERED = 256
# Whether the values of a file are those of a public data set is known after all of them were read. It is remembered,
# because a file is written after it was read, by the same process.
_recognised: OrderedDict[tuple[object, ...], LabelMeaning] = OrderedDict()


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
        meaning: which structure each value of the file is; None for an array without a file.
        value_counts: value of the file -> its number of voxels, without the background.
        series_path: of a DICOM file the folder in which its series was looked for.
        has_values: whether its values are stored as such; otherwise it has a mask for each structure, and a value is
            the number of a mask.
    """

    labels: Labels
    grid: Grid
    path: Path
    unknown: Mask | None = None
    warnings: tuple[str, ...] = ()
    meaning: LabelMeaning | None = None
    value_counts: Mapping[int, int] = field(default_factory=dict)
    series_path: Path | None = None
    has_values: bool = True

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[np.generic]:
        """Convert to an array of the labels, so that NumPy functions accept the volume."""
        return np.array(self.labels, dtype=dtype, copy=copy)

    def on_grid(self, grid: Grid) -> LabelVolume:
        """Return the label map on a grid with the same voxels, whose axes may have another order or direction.

        Args:
            grid: the grid.

        Returns:
            The label map; the same object if it is on this grid.

        Raises:
            BadInputError: if the grid has other voxels.
        """
        if self.grid.is_close(grid):
            return self
        orientation = self.grid.orientation_to(grid)
        if orientation is None:
            raise BadInputError(
                f"{self.path}: is not on the grid of the label map that it belongs to ({self.grid.shape} voxels of "
                f"{_mm(self.grid)} mm, {grid.shape} of {_mm(grid)} mm are needed); resample it to that label map"
            )
        unknown = None if self.unknown is None else orientation.apply(self.unknown)
        return replace(self, labels=np.ascontiguousarray(orientation.apply(self.labels)), grid=grid, unknown=unknown)


def read_labels(
    path: str | Path,
    anatomy: Anatomy,
    unknown_labels: UnknownLabels = "error",
    tables: Sequence[LabelTable] = (),
    series: Path | None = None,
) -> LabelVolume:
    """Read a label map and check it with an anatomy.

    Which structure a value is, follows from the names in the header of the file and from `tables`; without any, from
    the values where they are those of a public data set (`heartmend.io.id_presets`); else they are ids of the anatomy.

    Args:
        path: a volume file, or the folder of a case (`heartmend.io.forms`).
        anatomy: the structures.
        unknown_labels: "keep": voxels with ids that the anatomy does not have are marked in `LabelVolume.unknown`, and
            `write_labels_like` does not change them. "error": they are an error.
        tables: names of values from other sources than the file itself, the first in order of precedence first.
        series: of a DICOM file the folder with its series of images, where that is not in the folder of the case.

    Returns:
        The label map in the ids of the anatomy.

    Raises:
        BadInputError: if the file cannot be read; for values that are not whole, negative, or above 65535; for unknown
            ids; for two sources of names that contradict each other; and for a map without any structure of the
            anatomy.

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
    stored = open_label_map(Path(path), series)
    meaning = _stated_meaning(stored.table, anatomy, tables, stored.path)
    found = _read_masks(stored, meaning, anatomy, unknown_labels) if stored.has_masks else stored.read()
    counts = count_ids(found.values)
    if meaning is None:
        meaning = _meaning_of_values(counts, anatomy, stored.path)
    labels, unknown = _convert(found.values, counts, anatomy, unknown_labels, meaning, str(path))
    value_counts = {int(value): int(counts[value]) for value in np.flatnonzero(counts) if value != BACKGROUND}
    warnings = (
        *stored.warnings,
        *_kept_warnings(meaning, value_counts),
        *_preset_warnings(meaning, value_counts, anatomy),
        *_overlap_warnings(found.overlaps, meaning, anatomy),
    )
    has_values = not stored.has_masks
    return LabelVolume(labels, stored.grid, stored.path, unknown, warnings, meaning, value_counts, series, has_values)


def read_meaning(
    path: Path, anatomy: Anatomy, tables: Sequence[LabelTable] = (), series: Path | None = None
) -> LabelMeaning:
    """Decide which structure each value of a file is, as `read_labels`; its voxels are read only where this is needed.

    Args:
        path: the label map.
        anatomy: the structures.
        tables: as of `read_labels`.
        series: as of `read_labels`.

    Returns:
        The meaning.

    Raises:
        BadInputError: if the file cannot be read, or two sources contradict each other.
    """
    stored = open_label_map(path, series)
    meaning = _stated_meaning(stored.table, anatomy, tables, path) or _recognised.get(_stamp(path, anatomy))
    return meaning or _meaning_of_values(count_ids(stored.read().values), anatomy, path)


def check_labels(
    values: npt.NDArray[np.generic],
    anatomy: Anatomy,
    unknown_labels: UnknownLabels = "error",
    source: str = "labels",
    meaning: LabelMeaning | None = None,
) -> tuple[Labels, Mask | None]:
    """Check the values of a label map with an anatomy, and convert them to its ids.

    Args:
        values: (x, y, z), whole numbers of any type. They are not changed.
        anatomy: the structures.
        unknown_labels: as of `read_labels`.
        source: the file or the array, for messages.
        meaning: which structure each value is; None: ids of the anatomy, of optional structures too.

    Returns:
        (x, y, z) uint8, ids of the anatomy, which may be `values` itself; and (x, y, z) bool, the voxels with ids that
        the anatomy does not have, or None where there are none.

    Raises:
        BadInputError: as of `read_labels`.
    """
    ids = as_ids(values, source)
    meaning = meaning or own_meaning(anatomy, with_optional=True)
    return _convert(ids, count_ids(ids), anatomy, unknown_labels, meaning, source)


def _convert(
    ids: npt.NDArray[np.unsignedinteger],
    counts: npt.NDArray[np.int64],
    anatomy: Anatomy,
    unknown_labels: UnknownLabels,
    meaning: LabelMeaning,
    source: str,
) -> tuple[Labels, Mask | None]:
    """The values as ids of the anatomy, and the voxels that stay unchanged."""
    table = {BACKGROUND: BACKGROUND, **meaning.ids}
    present = np.flatnonzero(counts)
    unknown_ids = [int(i) for i in present if i not in table]
    errors = [i for i in unknown_ids if i not in meaning.kept]
    if errors and unknown_labels == "error":
        found = ", ".join(_described(i, counts, meaning) for i in errors[:10]) + (", ..." if len(errors) > 10 else "")
        known = ", ".join(f"{value} {anatomy.by_id(i).name}" for value, i in table.items() if i != BACKGROUND)
        presets = fitting_presets([int(i) for i in present if i != BACKGROUND]) if not meaning.unknown else []
        advice = f"; the values fit --preset-ids {' or '.join(presets)}" if presets else ""
        optional = [f"{s.value} = {s.name!r}" for s in anatomy.structures if s.optional and s.value in errors]
        advice += f"; optional structures must be named, such as {', '.join(optional)}" if optional else ""
        raise BadInputError(
            f"{source}: ids that anatomy {anatomy.name} does not have: {found}; it has {known}{advice}. "
            "Give a table of the values with --ids FILE, or an anatomy file that contains them. If the other values "
            "are those ids, --unknown-labels keep leaves the unknown ones unchanged"
        )
    lookup = np.zeros(len(counts), dtype=np.uint8)
    for value, id in table.items():
        if value < len(lookup):
            lookup[value] = id
    if not lookup[present].any():
        content = "it is empty" if not unknown_ids else f"it contains {len(unknown_ids)} other ids"
        names = ", ".join(anatomy.names)
        raise BadInputError(
            f"{source}: has no voxel of {names}: {content}; give the map with the labels, or remove the file"
        )
    unknown = np.isin(ids, unknown_ids) if unknown_ids else None
    labels = ids if _is_identity(lookup, present) and ids.dtype == np.uint8 else lookup[ids]
    return np.asarray(labels, dtype=np.uint8), unknown


def read_ids(path: str | Path, anatomy: Anatomy) -> Labels:
    """Read a label map that Heartmend wrote for itself, in the ids of the anatomy.

    Args:
        path: the file.
        anatomy: the structures.

    Returns:
        (x, y, z) uint8, ids of the anatomy.

    Raises:
        BadInputError: if the file cannot be read, or has other ids.
    """
    values = ValueMap(Path(path)).read().values
    meaning = LabelMeaning({id: id for id in anatomy.ids})
    return _convert(values, count_ids(values), anatomy, "error", meaning, str(path))[0]


def _stated_meaning(
    stored: LabelTable | None, anatomy: Anatomy, tables: Sequence[LabelTable], path: Path
) -> LabelMeaning | None:
    """The meaning by the names in the file and the tables; None without any."""
    if stored is None:
        return resolve_meaning(tables, anatomy, path)
    first = [table for table in tables if table.decides]
    return resolve_meaning([*first, stored, *(t for t in tables if not t.decides)], anatomy, path)


def _read_masks(
    stored: StoredMap, meaning: LabelMeaning | None, anatomy: Anatomy, unknown_labels: UnknownLabels
) -> StoredValues:
    """The masks of the structures as one map; where they overlap, the priority of the anatomy decides."""
    names = {} if stored.table is None else stored.table.names
    ids = {} if meaning is None else {value: id for value, id in meaning.ids.items() if value in names}
    listed = escape_unprintable(", ".join(list(names.values())[:10]) + (", ..." if len(names) > 10 else ""))
    if meaning is None or not ids:
        raise BadInputError(
            f"{stored.path}: none of its masks ({listed}) has the name of a structure of anatomy {anatomy.name} "
            f"({', '.join(anatomy.names)}); rename them, or give an anatomy file with these names as aliases"
        )
    others = [f"{name!r}" for value, name in meaning.unknown.items() if value in names]
    if others and unknown_labels == "error":
        raise BadInputError(
            escape_unprintable(
                f"{stored.path}: has segments that are no structures of anatomy {anatomy.name}: "
                f"{', '.join(others[:10])}; rename them, give an anatomy file that contains them, or leave "
                "them unchanged with --unknown-labels keep"
            )
        )
    rank = {anatomy.by_name(name).id: number for number, name in enumerate(anatomy.priority)}
    return stored.read(sorted(ids, key=lambda value: (rank.get(ids[value], len(rank)), value), reverse=True))


def _overlap_warnings(overlaps: Mapping[tuple[int, int], int], meaning: LabelMeaning, anatomy: Anatomy) -> list[str]:
    """Numbers of voxels in two masks, and which structure they got."""
    pairs = {(meaning.name(a, anatomy), meaning.name(b, anatomy)): n for (a, b), n in overlaps.items()}
    return [
        f"{n} voxels are in the masks of {first} and {second}: they count as {first}, by the priority of the anatomy"
        for (first, second), n in pairs.items()
        if first != second
    ]


def _meaning_of_values(counts: npt.NDArray[np.int64], anatomy: Anatomy, path: Path) -> LabelMeaning:
    """The meaning where nothing names the values: that of a public data set, or the ids of the anatomy."""
    values = [int(i) for i in np.flatnonzero(counts) if i != BACKGROUND]
    own = own_meaning(anatomy)
    found = None if own.ids.keys() >= set(values) else recognised_meaning(values, anatomy, path)
    _recognised[_stamp(path, anatomy)] = found or own
    if len(_recognised) > _MAX_REMEMBERED:
        _recognised.popitem(last=False)
    return found or own


def _stamp(path: Path, anatomy: Anatomy) -> tuple[object, ...]:
    status = path.stat()
    return str(path), status.st_mtime_ns, status.st_size, anatomy.name, anatomy.ids


def _described(value: int, counts: npt.NDArray[np.int64], meaning: LabelMeaning) -> str:
    name = f" {meaning.unknown[value]!r} by {meaning.source(value)}" if value in meaning.unknown else ""
    return escape_unprintable(f"{value}{name} ({plural(counts[value], 'voxel')})")


def _kept_warnings(meaning: LabelMeaning, counts: Mapping[int, int]) -> list[str]:
    """Warnings about a label that nnU-Net ignores, and about a data set that was recognised by its values."""
    texts = [
        f"value {value} is the label {meaning.kept[value]!r} of {meaning.source(value)}: {n} voxels stay unchanged"
        for value, n in counts.items()
        if meaning.kept.get(value, "").casefold() == "ignore"
    ]
    recognised = {s for s in meaning.sources.values() if s.startswith("recognised")}
    return texts + [f"values {source}; give --ids FILE if they are something else" for source in sorted(recognised)]


def _preset_warnings(meaning: LabelMeaning, counts: Mapping[int, int], anatomy: Anatomy) -> list[str]:
    """A warning where nothing names the values, and all of them, also the unknown ones, fit a public data set."""
    if meaning != own_meaning(anatomy) or counts.keys() <= meaning.ids.keys() or not (fit := fitting_presets(counts)):
        return []
    read = ", ".join(f"{value} as {meaning.name(value, anatomy)}" for value in counts if value in meaning.ids)
    return [
        f"its values are read as the ids of the anatomy ({read}), but they fit --preset-ids {' or '.join(fit)} too; "
        "give --preset-ids or --ids FILE to state what they are"
    ]


def _is_identity(lookup: Labels, present: npt.NDArray[np.intp]) -> bool:
    return bool((lookup[present] == present).all())


def _mm(grid: Grid) -> str:
    return " x ".join(f"{mm:g}" for mm in grid.spacing_mm)
