"""Text headers of NRRD and MetaImage files: how the voxels are stored, which SimpleITK does not report.

Both formats can name another file for the voxels, with which a crafted header could read any file of this machine. Only
a file of voxels in the same folder is accepted, which is no link.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from heartmend.errors import BadInputError
from heartmend.io.file_names import escape_unprintable, volume_ending
from heartmend.io.reading import EXPORT_AGAIN, describe_format
from heartmend.io.regular import is_regular
from heartmend.io.volume_header import Encoding

_MAX_HEAD_BYTES = 1 << 20
_DETACHED = re.compile(rb"^\s*data\s*file\s*:", re.IGNORECASE | re.MULTILINE)
_META_DATA = re.compile(rb"^[ \t]*ElementDataFile[ \t]*[=:]?[ \t]*([^\r\n]*?)[ \t]*\r?\n", re.IGNORECASE | re.MULTILINE)
_META_FIELD = re.compile(
    rb"^[ \t]*(BinaryData|BinaryDataByteOrderMSB|ElementByteOrderMSB|CompressedData|CompressedDataSize|HeaderSize"
    rb"|DistanceUnits)[ \t]*[=:][ \t]*(\S*)",
    re.MULTILINE,
)
_NRRD_FIELD = re.compile(r"([^:=]+?):(?!=)[ \t]*(.*)")
_NRRD_ENCODINGS: dict[str, Encoding] = {
    "raw": "raw", "gz": "gzip", "gzip": "gzip", "bz2": "bzip2", "bzip2": "bzip2",
    "txt": "text", "text": "text", "ascii": "text", "hex": "hex",
}  # fmt: skip
_UNITS_MM = {
    "mm": 1.0, "millimeter": 1.0, "millimeters": 1.0, "millimetre": 1.0, "millimetres": 1.0,
    "um": 1e-3, "µm": 1e-3, "μm": 1e-3, "micron": 1e-3, "microns": 1e-3, "micrometer": 1e-3, "micrometers": 1e-3,
    "micrometre": 1e-3, "micrometres": 1e-3, "cm": 10.0, "centimeter": 10.0, "centimeters": 10.0, "centimetre": 10.0,
    "centimetres": 10.0, "m": 1e3, "meter": 1e3, "meters": 1e3, "metre": 1e3, "metres": 1e3,
}  # fmt: skip
_NO_UNIT = frozenset({"", "?", "??", "???", "none"})
# Endings of files that contain voxels alone.
_DATA_ENDINGS = (".raw", ".zraw", ".raw.gz", ".raw.bz2", ".gz", ".bz2", ".img", ".dat", ".bin", ".txt", ".hex")


@dataclass(frozen=True)
class ItkHead:
    """Storage of the voxels in an NRRD or MetaImage file.

    Attributes:
        head: the bytes up to the voxels.
        encoding: encoding of the voxels.
        byte_order: "<" or ">".
        data_name: name of the file beside it with the voxels; empty: the file itself.
        compressed_bytes: length of the compressed voxels, where the header contains it.
        layer_axis: axis of an NRRD file that is none of space; None without one.
        unit: the unit of length, where it is not mm.
        unit_mm: its length in mm.
    """

    head: bytes
    encoding: Encoding
    byte_order: Literal["<", ">"]
    data_name: str = ""
    compressed_bytes: int | None = None
    layer_axis: int | None = None
    unit: str = ""
    unit_mm: float = 1.0


def read_head(path: Path) -> ItkHead:
    """Read how a file stores its voxels.

    Args:
        path: an NRRD or MetaImage file.

    Returns:
        The storage of the voxels.

    Raises:
        BadInputError: if the file has another format, or its voxels are stored in a way that is not supported, such as
            in a file elsewhere.
    """
    with open(path, "rb") as file:
        start = file.read(_MAX_HEAD_BYTES)
    return _nrrd_head(start, path) if path.name.lower().endswith((".nrrd", ".nhdr")) else _meta_head(start, path)


def _nrrd_head(start: bytes, path: Path) -> ItkHead:
    is_detached = path.name.lower().endswith(".nhdr")
    end = re.search(rb"\r?\n\r?\n|\Z", start) if is_detached else re.search(rb"\r?\n\r?\n", start)
    if not start.startswith(b"NRRD") or end is None:
        raise BadInputError(f"{path}: not NRRD: it {describe_format(start)}; export it as NRRD, or correct its ending")
    text = start[: end.end()]
    if not is_detached and _DETACHED.search(text):
        raise BadInputError(f"{path}: names another file for its voxels; save both as one .nrrd file")
    fields = _nrrd_fields(text)
    if any(fields.get(skip, "0") not in ("0", "") for skip in ("line skip", "lineskip", "byte skip", "byteskip")):
        raise BadInputError(f"{path}: skips bytes before its voxels (line skip, byte skip); save it again as .nrrd")
    encoding = _NRRD_ENCODINGS.get(fields.get("encoding", "").lower())
    if encoding is None:
        raise BadInputError(f"{path}: has an unknown encoding of its voxels; save it again as .nrrd")
    name = _data_name(fields.get("data file", fields.get("datafile", "")), path) if is_detached else ""
    kinds = fields.get("kinds", "").lower().split()
    directions = re.findall(r"none|\([^)]*\)", fields.get("space directions", "").lower())
    others = [n for n, kind in enumerate(kinds) if kind in ("list", "vector", "none", "point", "complex")]
    others = others or [n for n, direction in enumerate(directions) if direction == "none"]
    unit, unit_mm = _nrrd_unit(fields, path)
    return ItkHead(
        text if is_detached or name else start[: end.end()], encoding,
        ">" if fields.get("endian", "little").lower() == "big" else "<", name,
        layer_axis=others[0] if len(others) == 1 else None, unit=unit, unit_mm=unit_mm,
    )  # fmt: skip


def _nrrd_fields(text: bytes) -> dict[str, str]:
    """The fields of an NRRD header by name, in lower case; without key/value pairs and comments."""
    lines = text.decode("utf-8", "replace").splitlines()[1:]
    matches = (_NRRD_FIELD.fullmatch(line) for line in lines if not line.startswith("#"))
    return {match[1].strip().lower(): match[2].strip() for match in matches if match}


def _nrrd_unit(fields: dict[str, str], path: Path) -> tuple[str, float]:
    stated = fields.get("space units") or fields.get("units") or ""
    units = {unit.strip() for unit in re.findall(r'"([^"]*)"', stated)} if '"' in stated else set(stated.split())
    units = {unit for unit in units if unit.lower() not in _NO_UNIT}
    if not units:
        return "", 1.0
    lengths = {_UNITS_MM.get(unit.lower()) for unit in units}
    length = lengths.pop()
    if lengths or length is None:
        listed = escape_unprintable(" and ".join(sorted(units))[:60])
        raise BadInputError(
            f"{path}: its unit of length is {listed} (space units), which is not mm, µm, cm or m; correct the header"
        )
    return ("" if length == 1 else units.pop()), length


def _meta_head(start: bytes, path: Path) -> ItkHead:
    is_detached = path.name.lower().endswith(".mhd")
    found = _META_DATA.search(start if not is_detached else start + b"\n")
    if found is None:
        raise BadInputError(
            f"{path}: not {'' if is_detached else 'a one-file '}MetaImage: it {describe_format(start)}; export it as "
            ".mha, or correct its ending"
        )
    is_local = found[1].upper() == b"LOCAL"
    if not is_local and not is_detached:
        raise BadInputError(f"{path}: names another file for its voxels; save both as one .mha file")
    if is_local and is_detached:
        raise BadInputError(f"{path}: contains its voxels; give it the ending .mha")
    name = "" if is_local else _data_name(found[1].decode("utf-8", "replace"), path)
    # As in MetaIO: keys are case-sensitive, and a value that starts with T, t or 1 is true.
    fields = {key.lower(): value for key, value in _META_FIELD.findall(start[: found.end()])}
    is_true = {key: value[:1] in (b"T", b"t", b"1") for key, value in fields.items()}
    if fields.get(b"headersize", b"0") != b"0" or not is_true.get(b"binarydata"):
        raise BadInputError(f"{path}: its voxels are not binary, or do not follow its header; export it again as .mha")
    unit = fields.get(b"distanceunits", b"").decode("utf-8", "replace")
    unit_mm = 1.0 if unit in _NO_UNIT else _UNITS_MM.get(unit.lower())
    if unit_mm is None:
        raise BadInputError(
            f"{path}: its unit of length is {escape_unprintable(unit[:20])} (DistanceUnits), which is not mm, µm, cm "
            "or m; correct the header"
        )
    is_big = is_true.get(b"binarydatabyteordermsb") or is_true.get(b"elementbyteordermsb")
    head = start[: min(found.end(), len(start))]
    size: int | None = None
    if is_true.get(b"compresseddata"):
        # Without the true size MetaIO decompresses what it can, and leaves the rest undefined.
        stated = fields.get(b"compresseddatasize", b"")
        if not stated.isdigit():
            raise BadInputError(
                f"{path}: the size of its compressed voxels is missing (CompressedDataSize); {EXPORT_AGAIN}"
            )
        size = int(stated)
    return ItkHead(
        start if is_detached else head, "raw" if size is None else "zlib", ">" if is_big else "<", name, size,
        unit="" if unit_mm == 1 else unit, unit_mm=unit_mm,
    )  # fmt: skip


def _data_name(stated: str, path: Path) -> str:
    """The name of the file with the voxels, if it is one in the same folder."""
    shown = escape_unprintable(stated[:60])
    name = stated.removeprefix("./")
    if (
        not name
        or name.upper().startswith("LIST")
        or "%" in name
        or (" " in name and not (path.parent / name).exists())
    ):
        raise BadInputError(f"{path}: its voxels are in several files; save it as one file")
    if name in (".", "..") or PurePosixPath(name).name != name or "\\" in name or "\0" in name:
        raise BadInputError(f"{path}: its voxels are in another folder ({shown}); move them beside it")
    if volume_ending(Path(name)) is not None or not name.lower().endswith(_DATA_ENDINGS):
        raise BadInputError(
            f"{path}: {shown} is no file of voxels alone ({', '.join(_DATA_ENDINGS[:3])}); save it again"
        )
    beside = path.with_name(name)
    if not is_regular(beside):
        problem = "is missing" if not beside.exists() and not beside.is_symlink() else "is a link or no file"
        raise BadInputError(f"{path}: the file of its voxels {shown} {problem}; put it beside it")
    return name
