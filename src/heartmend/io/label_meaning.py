"""Meaning of the values of a label map: which structure each value is, and which source states it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from heartmend.anatomy.schema import Anatomy
from heartmend.errors import BadInputError, ConfigError
from heartmend.io.file_names import escape_unprintable
from heartmend.io.id_presets import IdPreset, id_preset, id_presets, known_other_names, plain_name
from heartmend.types import BACKGROUND, MAX_VALUE

# Names that programs give by themselves: "Segment_1" of 3D Slicer, "Label 1" of ITK-SNAP, "L1" of TotalSegmentator.
_AUTOMATIC = re.compile(r"(segment|label|class|structure|mask|l|roi)?[ _-]*\d*", re.IGNORECASE)
_IGNORE = "ignore"
"""The label of nnU-Net for voxels that nobody annotated."""
_MAX_LISTED = 5


@dataclass(frozen=True)
class LabelTable:
    """Names of values, as one source states them.

    Attributes:
        source: the source, such as the path of a dataset.json.
        names: value -> name.
        decides: whether it takes precedence over other sources that contradict it.
        keeps_others: whether values with a name that is no structure stay unchanged; otherwise they are unknown labels,
            except for the names of organs that are known from public data sets.
    """

    source: str
    names: Mapping[int, str] = field(hash=False)
    decides: bool = False
    keeps_others: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Convert the table for JSON.

        Returns:
            The table.
        """
        return {**vars(self), "names": {str(value): name for value, name in self.names.items()}}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        """Convert back from `to_dict`.

        Args:
            table: the table for JSON.

        Returns:
            The names of values.
        """
        return cls(**{**table, "names": {int(value): str(name) for value, name in table["names"].items()}})


@dataclass(frozen=True)
class LabelMeaning:
    """Structure of each value of a label map.

    Attributes:
        ids: value -> id of the structure, for every value that is one; several values may be the same structure.
        kept: value -> name of what is no structure of the anatomy; its voxels stay unchanged.
        unknown: value -> name that is neither; an unknown label.
        sources: value -> the source that states it.
    """

    ids: Mapping[int, int]
    kept: Mapping[int, str] = field(default_factory=dict)
    unknown: Mapping[int, str] = field(default_factory=dict)
    sources: Mapping[int, str] = field(default_factory=dict)

    @property
    def has_ids(self) -> bool:
        """Whether every value of a structure is its id, so that a file can be used as it is."""
        return all(value == id for value, id in self.ids.items())

    def values_of(self, id: int) -> list[int]:
        """List the values of a structure, in the order of the source.

        Args:
            id: id of the structure.

        Returns:
            The values.
        """
        return [value for value, other in self.ids.items() if other == id]

    def has_preset(self, id: int, preset: str) -> bool:
        """Check whether the values of a structure are those that a public data set has for it.

        Args:
            id: id of the structure.
            preset: name of the data set in the table of presets.

        Returns:
            True if they are the same values.
        """
        return set(self.values_of(id)) == set(id_preset(preset).structures)

    def source(self, value: int) -> str:
        """Return the source that states a value.

        Args:
            value: value in the label map.

        Returns:
            The source; empty where none states it.
        """
        return self.sources.get(value, "")

    def names(self, anatomy: Anatomy) -> dict[int, str]:
        """List all values with the name of the structure, or another name.

        Args:
            anatomy: the structures.

        Returns:
            Value -> name.
        """
        return {value: self.name(value, anatomy) for value in (*self.ids, *self.kept, *self.unknown)}

    def name(self, value: int, anatomy: Anatomy) -> str:
        """Return the structure of a value, or its other name.

        Args:
            value: value in the label map.
            anatomy: the structures.

        Returns:
            The name; empty where no source states it.
        """
        if value in self.ids:
            return anatomy.by_id(self.ids[value]).name
        return self.kept.get(value) or self.unknown.get(value, "")


def is_automatic_name(name: str) -> bool:
    """Test whether a program gives a name by itself, so that it states nothing.

    Args:
        name: the name.

    Returns:
        Whether it is such a name.

    Example:
        >>> is_automatic_name("Segment_1"), is_automatic_name("LA")
        (True, False)
    """
    return _AUTOMATIC.fullmatch(name.strip()) is not None


def own_meaning(anatomy: Anatomy, with_optional: bool = False) -> LabelMeaning:
    """Return the meaning of a label map with the ids of the anatomy.

    Args:
        anatomy: the structures.
        with_optional: whether it has the optional structures too. In a file that nothing names, their ids are unknown
            labels: a data set that numbers ten structures as the heart may use 11 for something else.

    Returns:
        The meaning.

    Example:
        >>> from heartmend.anatomy.load import load_anatomy
        >>> own_meaning(load_anatomy("heart")).ids[3]
        3
    """
    source = f"ids of anatomy {anatomy.name}"
    ids = {s.value: s.id for s in anatomy.structures if with_optional or not s.optional}
    return LabelMeaning(ids, sources=dict.fromkeys(ids, source))


def resolve_meaning(tables: Sequence[LabelTable], anatomy: Anatomy, path: Path) -> LabelMeaning | None:
    """Decide which structure each value of a file is, from all tables that apply to it.

    Args:
        tables: the tables, the first in order of precedence first. A value that the first does not name can be named by
            a later one.
        anatomy: the structures; names are compared as of `Anatomy.by_name`.
        path: the file, for messages.

    Returns:
        The meaning; None if no table names a value.

    Raises:
        BadInputError: if two tables contradict each other.

    Example:
        >>> from heartmend.anatomy.load import load_anatomy
        >>> table = LabelTable("dataset.json", {0: "background", 1: "left atrium", 2: "liver"})
        >>> meaning = resolve_meaning([table], load_anatomy("heart"), Path("1.nii.gz"))
        >>> meaning.ids, meaning.kept
        ({1: 2}, {2: 'liver'})
    """
    ids, kept, unknown, sources = dict[int, int](), dict[int, str](), dict[int, str](), dict[int, str]()
    stated = dict[int, tuple[int | None, str, LabelTable]]()
    for table in tables:
        for value, name in table.names.items():
            # No voxel can have a value above the largest one.
            if value == BACKGROUND or value > MAX_VALUE or is_automatic_name(name):
                continue
            id = _structure(name, anatomy)
            if value in stated:
                first_id, _, first = stated[value]
                if first_id != id and not first.decides:
                    raise BadInputError(_contradiction(path, first, table, anatomy))
                continue
            stated[value] = id, name, table
            sources[value] = table.source
            if id is not None:
                ids[value] = id
            elif table.keeps_others or plain_name(name) == _IGNORE or plain_name(name) in known_other_names():
                kept[value] = name
            else:
                unknown[value] = name
    return LabelMeaning(ids, kept, unknown, sources) if stated else None


def preset_table(preset: IdPreset, source: str) -> LabelTable:
    """Make the table of a preset.

    Args:
        preset: the preset.
        source: why it applies, such as `--preset-ids mmwhs`.

    Returns:
        The table.
    """
    return LabelTable(source, preset.names, keeps_others=True)


def recognised_meaning(values: Collection[int], anatomy: Anatomy, path: Path) -> LabelMeaning | None:
    """Recognise a public data set by the values of a file.

    Args:
        values: all values of the file, without the background.
        anatomy: the structures.
        path: the file, for messages.

    Returns:
        The meaning; None if no preset fits, or if two presets that fit give a value another meaning.
    """
    meanings = []
    for preset in id_presets():
        if preset.recognises(values):
            source = f"recognised as preset {preset.name}"
            meanings.append(resolve_meaning([preset_table(preset, source)], anatomy, path))
    found = [meaning for meaning in meanings if meaning is not None and meaning.ids]
    if not found or any(m.ids.get(v) != found[0].ids.get(v) for m in found for v in values):
        return None
    return found[0]


def fitting_presets(values: Collection[int]) -> list[str]:
    """List the presets that have all of these values, for advice in messages.

    Args:
        values: all values of a file, without the background.

    Returns:
        Their names.

    Example:
        >>> fitting_presets([1, 13])
        ['totalsegmentator-v2', 'totalsegmentator-v1', 'imagecas-x']
    """
    return [preset.name for preset in id_presets() if preset.contains(values)]


def _structure(name: str, anatomy: Anatomy) -> int | None:
    try:
        return anatomy.by_name(name).id
    except ConfigError:
        return None


def _contradiction(path: Path, first: LabelTable, second: LabelTable, anatomy: Anatomy) -> str:
    differing = [
        f"{value} is {first.names[value]!r} and {second.names[value]!r}"
        for value in first.names
        if value in second.names
        and value != BACKGROUND
        and _structure(first.names[value], anatomy) != _structure(second.names[value], anatomy)
    ]
    listed = ", ".join(differing[:_MAX_LISTED]) + (", ..." if len(differing) > _MAX_LISTED else "")
    return escape_unprintable(
        f"{path}: {first.source} and {second.source} contradict each other: {listed}; correct one of them, or decide "
        "with a table of your own (--ids FILE)"
    )
