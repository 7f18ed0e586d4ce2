"""The text head of an NRRD or MetaImage file, looked at before SimpleITK is let near it.

Either format may name another file that holds the voxels, which would open any file of this machine to who made the
head; and MetaImage takes whatever a damaged stream unpacks to for voxels.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from heartmend.errors import BadInputError
from heartmend.io.reading import EXPORT_AGAIN, MAX_PADDING_BYTES, describe_format

_MAX_HEAD_BYTES = 1 << 20
_DETACHED = re.compile(rb"^\s*data\s*file\s*:", re.IGNORECASE | re.MULTILINE)
_META_DATA = re.compile(rb"^[ \t]*ElementDataFile[ \t]*[=:]?[ \t]*([^\r\n]*?)[ \t]*\r?\n", re.IGNORECASE | re.MULTILINE)
_META_FIELD = re.compile(
    rb"^[ \t]*(BinaryData|CompressedData|CompressedDataSize|HeaderSize)[ \t]*[=:][ \t]*(\S*)", re.MULTILINE
)
_ZLIB_OR_GZIP = 47


@dataclass(frozen=True)
class ItkHead:
    """How the voxels are packed, and at which byte of the file they begin."""

    packing: str
    """"raw", "packed" (gzip or zlib), or "unknown_labels" (text, bzip2)."""
    offset: int
    packed_bytes: int | None = None
    """How long the packed voxels are, where the head says so."""


def read_head(path: Path) -> ItkHead:
    """The head of a file whose voxels are in the file itself; BadInputError for any other."""
    with open(path, "rb") as file:
        start = file.read(_MAX_HEAD_BYTES)
    return _nrrd_head(start, path) if path.name.lower().endswith(".nrrd") else _meta_head(start, path)


def check_voxel_data(path: Path, head: ItkHead, expected: int) -> None:
    """BadInputError when the file does not hold just the `expected` bytes of voxels, or their checksum is wrong."""
    if head.packing == "unknown_labels":
        return
    if head.packing == "raw":
        held = path.stat().st_size - head.offset
        padding = held - expected
    else:
        held, padding = _unpacked_bytes(path, head, expected)
    if held < expected:
        raise BadInputError(
            f"{path}: holds {held} of the {expected} bytes that its shape needs; it is cut off: {EXPORT_AGAIN}"
        )
    if padding > MAX_PADDING_BYTES:
        raise BadInputError(f"{path}: holds more than the {expected} bytes of its shape; its header is wrong: {EXPORT_AGAIN}")


def _nrrd_head(start: bytes, path: Path) -> ItkHead:
    end = re.search(rb"\r?\n\r?\n", start)
    if not start.startswith(b"NRRD") or end is None:
        raise BadInputError(f"{path}: not NRRD, it {describe_format(start)}; export it as NRRD, or give it the right ending")
    text = start[: end.end()]
    if _DETACHED.search(text):
        raise BadInputError(f"{path}: names another file for its voxels; save both as one .nrrd file")
    found = re.search(rb"^encoding:[ \t]*(\w+)", text, re.IGNORECASE | re.MULTILINE)
    encoding = found[1].lower() if found else b""
    packing = {b"raw": "raw", b"gz": "packed", b"gzip": "packed"}.get(encoding, "unknown_labels")
    skips = re.search(rb"^(line|byte) ?skip:", text, re.IGNORECASE | re.MULTILINE)
    return ItkHead("unknown_labels" if skips else packing, end.end())


def _meta_head(start: bytes, path: Path) -> ItkHead:
    found = _META_DATA.search(start)
    if found is None:
        raise BadInputError(
            f"{path}: not a MetaImage of one file, it {describe_format(start)}; export it as .mha, or give it the right ending"
        )
    if found[1].upper() != b"LOCAL":
        raise BadInputError(f"{path}: names another file for its voxels; save both as one .mha file")
    # As MetaIO has it: keys to the letter, and what begins with a T, a t or a 1 is true.
    said = {key.lower(): value for key, value in _META_FIELD.findall(start[: found.end()])}
    is_true = {key: value[:1] in (b"T", b"t", b"1") for key, value in said.items()}
    if b"headersize" in said or not is_true.get(b"binarydata"):
        raise BadInputError(f"{path}: its voxels are not binary and right behind its head; export it again as .mha")
    if not is_true.get(b"compresseddata"):
        return ItkHead("raw", found.end())
    # Without the true size MetaIO unpacks what it can, and takes the rest for voxels.
    size = said.get(b"compresseddatasize", b"")
    if not size.isdigit():
        raise BadInputError(f"{path}: does not say how large its packed voxels are (CompressedDataSize); {EXPORT_AGAIN}")
    return ItkHead("packed", found.end(), int(size))


def _unpacked_bytes(path: Path, head: ItkHead, expected: int) -> tuple[int, int]:
    """How many bytes a packed stream holds (no more than just over `expected` are unpacked), and those beyond it."""
    unpack, held = zlib.decompressobj(_ZLIB_OR_GZIP), 0
    try:
        with open(path, "rb") as file:
            file.seek(head.offset)
            while held <= expected + MAX_PADDING_BYTES and not unpack.eof and (chunk := file.read(1 << 20)):
                while chunk and held <= expected + MAX_PADDING_BYTES and not unpack.eof:
                    held += len(unpack.decompress(chunk, 1 << 24))
                    chunk = unpack.unconsumed_tail
            taken = file.tell() - head.offset - len(unpack.unused_data)
            beyond = len(unpack.unused_data) + len(file.read(MAX_PADDING_BYTES + 1))
    except zlib.error as error:
        raise BadInputError(f"{path}: cannot be unpacked, it is cut off or broken ({error}): {EXPORT_AGAIN}") from error
    if not unpack.eof and held <= expected + MAX_PADDING_BYTES:
        raise BadInputError(f"{path}: its packed voxels are cut off: {EXPORT_AGAIN}")
    if head.packed_bytes not in (None, taken):
        raise BadInputError(f"{path}: its packed voxels are {taken} bytes, its head says {head.packed_bytes}: {EXPORT_AGAIN}")
    return held, beyond + held - expected
