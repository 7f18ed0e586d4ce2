"""Tables of values and names: in the header of a label map, beside it, in dataset.json, or given by the user."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heartmend.anatomy.schema import Anatomy
from heartmend.anatomy.toml_file import read_toml
from heartmend.anatomy.validation import shorten
from heartmend.errors import BadInputError, ConfigError
from heartmend.io.file_names import escape_unprintable, real_path, volume_ending
from heartmend.io.id_presets import id_preset, known_other_names, plain_name
from heartmend.io.label_meaning import LabelMeaning, LabelTable, preset_table, resolve_meaning
from heartmend.io.reading import readable_file
from heartmend.io.strict_json import parse_json
from heartmend.io.volume_header import VolumeHeader
from heartmend.types import BACKGROUND, MAX_VALUE

GivenIds = Path | Mapping[int, str] | LabelTable
"""Names of the user: a TOML or JSON file, value -> name, or a table that was checked before."""
DATASET_JSON = "dataset.json"
_ENDINGS = (".tsv", ".label", ".txt", ".ctbl")
"""Endings of the tables that are read beside label maps."""
_MAX_TABLE_BYTES, _MAX_JSON_BYTES = 1 << 20, 1 << 23
"""Largest table; a dataset.json can list 80,000 cases."""
_VALUE = re.compile(r"[0-9]{1,9}")
_XML_LABEL = re.compile(
    rb"<Label\s[^>]*?Key\s*=\s*[\"'](\d{1,9})[\"'][^>]*>\s*(?:<!\[CDATA\[(.*?)\]\]>|([^<]*?))\s*</Label>", re.DOTALL
)
# IDX R G B A VIS MSH "LABEL"
_ITKSNAP_LINE = re.compile(r'\s*([0-9]{1,9})\s+\d+\s+\d+\s+\d+\s+[\d.]+\s+[01]\s+[01]\s+"(.*)"\s*')
# Integer name R G B A; blanks in names are written as _.
_CTBL_LINE = re.compile(r"\s*([0-9]{1,9})\s+(\S+)\s+[\d.]+\s+[\d.]+\s+[\d.]+\s+[\d.]+\s*")


@dataclass(frozen=True)
class FolderTables:
    """Tables that apply to the label maps of a folder.

    Attributes:
        first: table of `--ids`, before the names stored in a file.
        by_stem: stem of a label map -> the tables beside it with the same stem.
        shared: tables of the whole folder: beside the maps, dataset.json, and a preset.
        files: the files in the folder that were read as tables.
    """

    first: tuple[LabelTable, ...] = ()
    by_stem: Mapping[str, tuple[LabelTable, ...]] = field(default_factory=dict)
    shared: tuple[LabelTable, ...] = ()
    files: frozenset[str] = frozenset()

    def of(self, path: Path) -> tuple[LabelTable, ...]:
        """Return the tables that apply to a label map, except that in its header, in the order of precedence.

        Args:
            path: the label map.

        Returns:
            The tables.
        """
        return (*self.first, *self.by_stem.get(_stem(path), ()), *self.shared)


def header_table(header: VolumeHeader) -> LabelTable | None:
    """Read the names that are stored in the header of a label map.

    Args:
        header: of a NIfTI file, with a header extension in XML as TotalSegmentator and Connectome Workbench write it;
            or of an NRRD file with the segments of 3D Slicer.

    Returns:
        The table; None where the header has no names.
    """
    if header.names:
        return LabelTable("the segment names of the file", header.names)
    if b"<LabelTable" not in header.head:
        return None
    names = {
        int(key): (quoted or plain).decode("utf-8", "replace").strip()
        for key, quoted, plain in _XML_LABEL.findall(header.head)
    }
    return LabelTable("the label names in the header of the file", names) if names else None


def folder_tables(
    folder: Path,
    stems: frozenset[str],
    anatomy: Anatomy,
    ids: GivenIds | None = None,
    preset: str = "",
) -> FolderTables:
    """Find the tables of values and names for the label maps of a folder.

    Args:
        folder: the folder of the label maps.
        stems: file names of the label maps without their endings.
        anatomy: the structures.
        ids: names of the user.
        preset: name of a preset; empty: none.

    Returns:
        The tables.

    Raises:
        ConfigError: if the user's table or the preset is not valid.
        BadInputError: if a table cannot be read.
    """
    first = () if ids is None else (ids if isinstance(ids, LabelTable) else user_table(ids, anatomy),)
    by_stem, beside, files = dict[str, tuple[LabelTable, ...]](), list[LabelTable](), set[str]()
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.name.lower().endswith(_ENDINGS) or not path.is_file():
            continue
        table = read_side_table(path)
        if table is None:
            continue
        files.add(path.name)
        stem = path.name[: path.name.rindex(".")]
        if stem in stems:
            by_stem[stem] = (*by_stem.get(stem, ()), table)
        else:
            beside.append(table)
    for parent in (folder, real_path(folder).parent):
        path = parent / DATASET_JSON
        if path.is_file() and (table := read_dataset_json(path, first[0].names if first else {})) is not None:
            files.add(path.name)
            if not first:
                check_names(table, anatomy)
            beside.append(table)
    presets = (preset_table(id_preset(preset), f"--preset-ids {preset}"),) if preset else ()
    return FolderTables(first, by_stem, (*beside, *presets), frozenset(files))


def user_table(ids: Path | Mapping[int, str], anatomy: Anatomy) -> LabelTable:
    """Read the table of the user.

    Args:
        ids: value -> name of a structure, or the path of a TOML or JSON file with such a table. A name may also be that
            of a known other organ, or `ignore`: such voxels stay unchanged.
        anatomy: the structures.

    Returns:
        The table.

    Raises:
        ConfigError: if it cannot be read, or has a value or a name that is not valid.
    """
    source = "the given ids" if isinstance(ids, Mapping) else f"--ids {ids}"
    table: Mapping[Any, Any] = ids if isinstance(ids, Mapping) else _user_file(Path(ids))
    names: dict[int, str] = {}
    for key, name in table.items():
        is_value = _VALUE.fullmatch(str(key)) is not None and int(key) <= MAX_VALUE
        if not isinstance(name, str) or not is_value:
            entry = f"{shorten(repr(key), 40)} = {shorten(repr(name), 80)}"
            raise ConfigError(f"{source}: {entry}: give a value from 0 to {MAX_VALUE} and a name")
        names[int(key)] = name
        is_other = plain_name(name) in known_other_names() | {"ignore"}
        if int(key) == BACKGROUND and plain_name(name) != "background":
            raise ConfigError(f"{source}: value 0 is always the background, not {name!r}; remove it")
        if int(key) != BACKGROUND and not is_other:
            try:
                anatomy.by_name(name)
            except ConfigError as error:
                raise ConfigError(f"{source}: value {key}: {error}") from error
    if not any(value != BACKGROUND for value in names):
        raise ConfigError(f'{source}: names no value; give lines such as 205 = "Myocardium"')
    return LabelTable(source, names, decides=True)


def given_meaning(ids: GivenIds | None, preset: str, anatomy: Anatomy) -> LabelMeaning | None:
    """Decide which structure each value of an array is, from the names of the user alone.

    Args:
        ids: names of the user; None: without.
        preset: name of a preset; empty: none.
        anatomy: the structures.

    Returns:
        The meaning; None if nothing is given.

    Raises:
        ConfigError: if the table or the preset is not valid.
    """
    tables = [] if ids is None else [ids if isinstance(ids, LabelTable) else user_table(ids, anatomy)]
    if preset:
        tables.append(preset_table(id_preset(preset), f"--preset-ids {preset}"))
    return resolve_meaning(tables, anatomy, Path("labels"))


def read_side_table(path: Path) -> LabelTable | None:
    """Read a table beside label maps: BIDS (.tsv), ITK-SNAP (.txt, .label) or 3D Slicer (.ctbl, .txt).

    Args:
        path: the file.

    Returns:
        The table; None if the file is something else, such as notes.

    Raises:
        BadInputError: if it cannot be read.
    """
    if not path.stat().st_size:
        return None
    with readable_file(path):
        if path.stat().st_size > _MAX_TABLE_BYTES:
            return None
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    readers: dict[str, list[Callable[[str], dict[int, str]]]] = {
        ".tsv": [_bids_names], ".label": [_itksnap_names], ".ctbl": [_ctbl_names],
        ".txt": [_itksnap_names, _ctbl_names],
    }  # fmt: skip
    for reader in readers[path.suffix.lower()]:
        if names := reader(text):
            return LabelTable(path.name, names)
    return None


def read_dataset_json(path: Path, known: Collection[int] = ()) -> LabelTable | None:
    """Read the table "labels" of a dataset.json of nnU-Net v2, nnU-Net v1 or the Medical Segmentation Decathlon.

    Args:
        path: the file.
        known: values that are named elsewhere, such as in the table of the user.

    Returns:
        The table; None if the file has none. A region (a label that is a list of ids) is left out: a voxel has the id
        of one of its parts.

    Raises:
        BadInputError: if it cannot be read, has a label that is not valid, or a region with an id that has no name of
            its own.
    """
    labels = read_json_table(path).get("labels")
    return LabelTable(str(path), _dataset_names(labels, path, known)) if isinstance(labels, dict) else None


def read_file_ending(path: Path) -> str | None:
    """Read the ending of the label maps from the dataset.json of an nnU-Net v2 data set.

    Args:
        path: the dataset.json.

    Returns:
        Its `file_ending`, such as .nii.gz; None if it has none.

    Raises:
        BadInputError: if it cannot be read, has no labels, or an ending that is not a text.
    """
    table = read_json_table(path)
    if not isinstance(table.get("labels"), dict):
        raise BadInputError(f'{path}: not a data set of nnU-Net: it has no table "labels" of names and ids')
    ending = table.get("file_ending")
    if not isinstance(ending, str | None):
        raise BadInputError(f"{path}: file_ending is not a text; write it as .nii.gz in quotes")
    return ending


def read_json_table(path: Path) -> dict[str, Any]:
    """Read a JSON file that contains a table.

    Args:
        path: the file.

    Returns:
        The table.

    Raises:
        BadInputError: if it cannot be read, or gives a key twice.
    """
    try:
        with readable_file(path), open(path, "rb") as file:
            data = file.read(_MAX_JSON_BYTES + 1)
        if len(data) > _MAX_JSON_BYTES:
            raise ValueError(f"it is larger than {_MAX_JSON_BYTES >> 20} MiB")
        table = parse_json(data)
    except ValueError as error:
        reason = shorten(str(error), 200)
        raise BadInputError(f"{path}: cannot be read as JSON: {reason}; correct it, or remove it") from error
    return table if isinstance(table, dict) else {}


def check_names(table: LabelTable, anatomy: Anatomy) -> None:
    """Check that a table of a data set names at least one structure.

    Args:
        table: names of the values.
        anatomy: the structures.

    Raises:
        BadInputError: if it names none.
    """
    meaning = resolve_meaning([table], anatomy, Path(table.source))
    if meaning is None or not meaning.ids:
        names = escape_unprintable(", ".join(table.names.values()))
        raise BadInputError(
            f"{table.source}: none of its labels ({names}) is a structure of anatomy {anatomy.name} "
            f"({', '.join(anatomy.names)}); give an anatomy file with these names, or --ids FILE"
        )


def _dataset_names(labels: Mapping[str, Any], path: Path, known: Collection[int]) -> dict[int, str]:
    # nnU-Net v1 and the Decathlon have "1": "LA", nnU-Net v2 has "LA": 1.
    is_old = bool(labels) and all(_VALUE.fullmatch(key) and isinstance(name, str) for key, name in labels.items())
    names: dict[int, str] = {}
    regions: dict[str, list[int]] = {}
    for key, other in labels.items():
        name, number = (other, int(key)) if is_old else (key, other)
        if isinstance(number, list):
            parts = [_checked_id(part, name, path) for part in number]
            if len(parts) != 1:
                regions[name] = parts
                continue
            number = parts[0]
        number = _checked_id(number, name, path)
        if number in names or (number == BACKGROUND and plain_name(name) not in ("background", "bg", "clearlabel")):
            first = names.get(number, "background")
            raise BadInputError(
                f"{path}: label {name!r} has the id {number} of another label ({first!r}); give its own"
            )
        names[number] = name
    for name, parts in regions.items():
        if unnamed := sorted(set(parts) - names.keys() - set(known)):
            raise BadInputError(
                f"{path}: label {name!r} is a region of ids {parts}, of which {unnamed} have no label of their own, so "
                "what these voxels are is not stated; name each of them in dataset.json or with --ids FILE"
            )
    return names


def _checked_id(number: Any, name: str, path: Path) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= MAX_VALUE:
        raise BadInputError(f"{path}: label {name!r} has {number!r} as its id; give 0 to {MAX_VALUE}")
    return number


def _user_file(path: Path) -> Mapping[str, Any]:
    try:
        if path.suffix.lower() == ".json":
            return read_json_table(path)
        return read_toml(path, "values and names")
    except FileNotFoundError as error:
        raise ConfigError(f"--ids {path}: is missing; give a TOML or JSON file with a table") from error
    except (BadInputError, ConfigError) as error:
        raise ConfigError(f"--ids {error}") from error


def _bids_names(text: str) -> dict[int, str]:
    # BIDS has no quotes in its tables.
    lines = [line.split("\t") for line in text.splitlines()]
    columns = [column.strip() for column in lines[0]] if lines else []
    if not {"index", "name"} <= set(columns):
        return {}
    index, name = columns.index("index"), columns.index("name")
    rows = [line for line in lines[1:] if len(line) > max(index, name)]
    return {
        int(row[index]): row[name].strip() for row in rows if _VALUE.fullmatch(row[index].strip()) and row[name].strip()
    }


def _itksnap_names(text: str) -> dict[int, str]:
    return _matched(text, _ITKSNAP_LINE)


def _ctbl_names(text: str) -> dict[int, str]:
    return {value: name.replace("_", " ") for value, name in _matched(text, _CTBL_LINE).items()}


def _matched(text: str, pattern: re.Pattern[str]) -> dict[int, str]:
    """Value -> name of a table in which every line has a form; empty for any other text."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found = [pattern.fullmatch(line) for line in lines]
    return {int(match[1]): match[2] for match in found if match} if all(found) else {}


def _stem(path: Path) -> str:
    return path.name[: -len(volume_ending(path) or "")]
