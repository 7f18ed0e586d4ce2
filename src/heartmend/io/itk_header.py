"""Checks of the text header of NRRD and MetaImage files before SimpleITK reads them.

Both formats can name another file for the voxels, with which a crafted header could read any file of this machine; and
MetaImage accepts the data of a damaged stream as voxels.
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
    """Storage of the voxels in an NRRD or MetaImage file.

    Attributes:
        encoding: "raw", "compressed" (gzip or zlib), or "other" (text, bzip2).
        offset: first byte of the voxels.
        compressed_bytes: length of the compressed voxels, where the header contains it.
    """

    encoding: str
    offset: int
    compressed_bytes: int | None = None


def read_head(path: Path) -> ItkHead:
    """Read how a file stores its voxels.

    Args:
        path: an NRRD or MetaImage file.

    Returns:
        The storage of the voxels.

    Raises:
        BadInputError: if the file has another format, or its voxels are in another file.
    """
    with open(path, "rb") as file:
        start = file.read(_MAX_HEAD_BYTES)
    return _nrrd_head(start, path) if path.name.lower().endswith(".nrrd") else _meta_head(start, path)


def check_voxel_data(path: Path, head: ItkHead, expected: int) -> None:
    """Check that a file contains its voxels completely.

    Args:
        path: the file.
        head: how it stores the voxels.
        expected: number of bytes of the voxels, uncompressed.

    Raises:
        BadInputError: if it contains fewer bytes or more, or if a checksum is wrong.
    """
    if head.encoding == "other":
        return
    if head.encoding == "raw":
        size = path.stat().st_size - head.offset
        padding = size - expected
    else:
        size, padding = _decompressed_size(path, head, expected)
    if size < expected:
        raise BadInputError(f"{path}: has {size} of the {expected} bytes of its shape; it is truncated: {EXPORT_AGAIN}")
    if padding > MAX_PADDING_BYTES:
        raise BadInputError(
            f"{path}: has more than the {expected} bytes of its shape; its header is wrong: {EXPORT_AGAIN}"
        )


def _nrrd_head(start: bytes, path: Path) -> ItkHead:
    end = re.search(rb"\r?\n\r?\n", start)
    if not start.startswith(b"NRRD") or end is None:
        raise BadInputError(f"{path}: not NRRD: it {describe_format(start)}; export it as NRRD, or correct its ending")
    text = start[: end.end()]
    if _DETACHED.search(text):
        raise BadInputError(f"{path}: names another file for its voxels; save both as one .nrrd file")
    found = re.search(rb"^encoding:[ \t]*(\w+)", text, re.IGNORECASE | re.MULTILINE)
    encoding = found[1].lower() if found else b""
    kind = {b"raw": "raw", b"gz": "compressed", b"gzip": "compressed"}.get(encoding, "other")
    skips = re.search(rb"^(line|byte) ?skip:", text, re.IGNORECASE | re.MULTILINE)
    return ItkHead("other" if skips else kind, end.end())


def _meta_head(start: bytes, path: Path) -> ItkHead:
    found = _META_DATA.search(start)
    if found is None:
        raise BadInputError(
            f"{path}: not a one-file MetaImage: it {describe_format(start)}; export it as .mha, or correct its ending"
        )
    if found[1].upper() != b"LOCAL":
        raise BadInputError(f"{path}: names another file for its voxels; save both as one .mha file")
    # As in MetaIO: keys are case-sensitive, and a value that starts with T, t or 1 is true.
    fields = {key.lower(): value for key, value in _META_FIELD.findall(start[: found.end()])}
    is_true = {key: value[:1] in (b"T", b"t", b"1") for key, value in fields.items()}
    if b"headersize" in fields or not is_true.get(b"binarydata"):
        raise BadInputError(f"{path}: its voxels are not binary, or do not follow its header; export it again as .mha")
    if not is_true.get(b"compresseddata"):
        return ItkHead("raw", found.end())
    # Without the true size MetaIO decompresses what it can, and leaves the rest undefined.
    size = fields.get(b"compresseddatasize", b"")
    if not size.isdigit():
        raise BadInputError(
            f"{path}: the size of its compressed voxels is missing (CompressedDataSize); {EXPORT_AGAIN}"
        )
    return ItkHead("compressed", found.end(), int(size))


def _decompressed_size(path: Path, head: ItkHead, expected: int) -> tuple[int, int]:
    """Decompressed size, counted to just over `expected`, and the number of bytes beyond it."""
    stream, size = zlib.decompressobj(_ZLIB_OR_GZIP), 0
    try:
        with open(path, "rb") as file:
            file.seek(head.offset)
            while size <= expected + MAX_PADDING_BYTES and not stream.eof and (chunk := file.read(1 << 20)):
                while chunk and size <= expected + MAX_PADDING_BYTES and not stream.eof:
                    size += len(stream.decompress(chunk, 1 << 24))
                    chunk = stream.unconsumed_tail
            taken = file.tell() - head.offset - len(stream.unused_data)
            beyond = len(stream.unused_data) + len(file.read(MAX_PADDING_BYTES + 1))
    except zlib.error as error:
        raise BadInputError(
            f"{path}: cannot be decompressed ({error}); it is truncated or damaged: {EXPORT_AGAIN}"
        ) from error
    if not stream.eof and size <= expected + MAX_PADDING_BYTES:
        raise BadInputError(f"{path}: its compressed voxels are truncated: {EXPORT_AGAIN}")
    if head.compressed_bytes not in (None, taken):
        raise BadInputError(
            f"{path}: its compressed voxels have {taken} bytes, its header has {head.compressed_bytes}: {EXPORT_AGAIN}"
        )
    return size, beyond + size - expected
