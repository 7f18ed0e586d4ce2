"""Header of a volume file of any format, and the reading and writing of its voxels.

The bytes around the voxels are stored and written again unchanged, because a header that is rebuilt loses codes, units,
fields and slopes.
"""

from __future__ import annotations

import bz2
import io
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from heartmend.errors import BadInputError
from heartmend.io import gzipped
from heartmend.io.atomic import atomic_write
from heartmend.io.reading import EXPORT_AGAIN, MAX_PADDING_BYTES, check_memory, readable_file

Encoding = Literal["raw", "gzip", "zlib", "bzip2", "text", "hex"]
"""Encoding of the voxels. In "zlib" (MetaImage) the header also contains the compressed size."""

_ZLIB_OR_GZIP = 47
_GZIP, _ZLIB = 31, 15
_COMPRESSED_SIZE = re.compile(rb"^([ \t]*CompressedDataSize[ \t]*[=:][ \t]*)\d+", re.MULTILINE)
# Longest text of a value, with its blank: more bytes are no voxels.
_MAX_TEXT_BYTES = 32
_CHUNK_BYTES = 1 << 20
_MAX_PART_BYTES = 1 << 24
# More than any file has behind its voxels.
_MAX_BEYOND_BYTES = 1 << 21


@dataclass(frozen=True, eq=False)
class VolumeHeader:
    """Header of a volume file.

    Attributes:
        path: the file.
        shape: numbers of voxels along the axes, as stored: the first is the fastest.
        dtype: type of the stored values, in the file's byte order.
        affine: (4, 4) voxel indices to mm, RAS+.
        head: the bytes of the file up to its voxels, uncompressed; all of it where the voxels are in another file.
        encoding: encoding of the voxels.
        tail: the bytes after the voxels.
        data_name: name of the file beside it that contains the voxels; empty: the file itself.
        data_head: the bytes of that file up to the voxels.
        may_be_gzipped: whether the files as a whole can be compressed.
        slope: a value is slope * stored + intercept.
        intercept: see `slope`.
        layer_axis: axis of the layers of a segmentation of 3D Slicer; None where the volume has one value per voxel.
        names: value -> name of each segment of 3D Slicer; empty where the file has none.
        warnings: contradictions in the header that do not prevent its use.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    affine: npt.NDArray[np.float64]
    head: bytes
    encoding: Encoding = "raw"
    tail: bytes = b""
    data_name: str = ""
    data_head: bytes = b""
    may_be_gzipped: bool = False
    slope: float = 1.0
    intercept: float = 0.0
    layer_axis: int | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def is_scaled(self) -> bool:
        """Whether values differ from the stored ones."""
        return (self.slope, self.intercept) != (1.0, 0.0)

    @property
    def data_path(self) -> Path:
        """The file that contains the voxels."""
        return self.path.with_name(self.data_name) if self.data_name else self.path


def read_voxels(header: VolumeHeader) -> npt.NDArray[np.generic]:
    """Read the stored values of a volume. Memory is allocated only as far as the file can fill it.

    Args:
        header: the header.

    Returns:
        The values in the header's shape and dtype, without slope and intercept.

    Raises:
        BadInputError: if the file is truncated, damaged, or longer than its header describes.
    """
    path = header.data_path
    expected = math.prod(header.shape) * header.dtype.itemsize
    with readable_file(path), decompression_errors(path), _open(header, path) as stream:
        if header.encoding != "bzip2" and expected > path.stat().st_size * gzipped.MAX_COMPRESSION_RATIO:
            raise BadInputError(
                f"{path}: too short for its shape {header.shape}; it is truncated or damaged: {EXPORT_AGAIN}"
            )
        check_memory(path, expected)
        _read_exactly(stream, len(header.data_head if header.data_name else header.head))
        if header.encoding in ("text", "hex"):
            return _as_text(header, stream, expected)
        data = bytearray(expected)
        filled, beyond = _fill(stream, memoryview(data), header.encoding)
    if filled < expected:
        raise BadInputError(
            f"{path}: has {filled} of the {expected} bytes of its shape {header.shape}; it is truncated: {EXPORT_AGAIN}"
        )
    if beyond > MAX_PADDING_BYTES + len(header.tail):
        raise BadInputError(
            f"{path}: has more than the {expected} bytes of its shape {header.shape} and type {header.dtype}; "
            f"its header is wrong: {EXPORT_AGAIN}"
        )
    return np.frombuffer(data, dtype=header.dtype).reshape(header.shape, order="F")


def write_voxels(path: Path, header: VolumeHeader, stored: npt.NDArray[np.generic]) -> None:
    """Write values atomically with the unchanged bytes of a header.

    Of a compressed MetaImage file the field with the compressed size is adapted.

    Args:
        path: the file to write. Where the header names a file for the voxels, that is written beside it, first.
        header: the header.
        stored: values in the header's shape, before slope and intercept.

    Raises:
        OutputError: if the system cannot write it.
    """
    flat = np.asarray(stored, dtype=header.dtype).reshape(header.shape).ravel(order="F")
    voxels = _encoded(flat, header.encoding)
    head = header.head
    if header.encoding == "zlib":
        head = _COMPRESSED_SIZE.sub(lambda match: match[1] + str(len(voxels)).encode(), head)
    if not header.data_name:
        _write(path, header, (head, voxels, header.tail))
        return
    _write(path.with_name(header.data_name), header, (header.data_head, voxels, header.tail))
    _write(path, header, (head,))


@contextmanager
def decompression_errors(path: Path) -> Iterator[None]:
    """Convert the errors of a stream that is truncated or damaged to BadInputError.

    Args:
        path: the file, for the message.

    Yields:
        None.

    Raises:
        BadInputError: in the place of an error of gzip.
    """
    try:
        yield
    except gzipped.GZIP_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise BadInputError(
            f"{path}: cannot be decompressed ({error}); it is truncated or damaged: {EXPORT_AGAIN}"
        ) from error


def _open(header: VolumeHeader, path: Path) -> IO[bytes]:
    return gzipped.open_stream(path) if header.may_be_gzipped else open(path, "rb")


def _write(path: Path, header: VolumeHeader, chunks: tuple[bytes | memoryview, ...]) -> None:
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        if header.may_be_gzipped and path.name.lower().endswith((".gz", ".mgz")):
            gzipped.write_stream(file, *chunks)
        else:
            file.writelines(chunks)


def _read_exactly(stream: IO[bytes], count: int) -> None:
    while count and (part := stream.read(min(count, _CHUNK_BYTES))):
        count -= len(part)


def _fill(stream: IO[bytes], buffer: memoryview, encoding: Encoding) -> tuple[int, int]:
    """Fill a buffer with the decoded voxels; returns the bytes that were filled, and those beyond it, to a limit."""
    filled = beyond = 0
    if encoding == "raw":
        while filled < len(buffer) and (count := stream.readinto(buffer[filled:])):  # type: ignore[attr-defined]
            filled += count
        # Read to the end, because the checksum of gzip is there.
        while beyond <= _MAX_BEYOND_BYTES and (rest := stream.read(_CHUNK_BYTES)):
            beyond += len(rest)
        return filled, beyond
    for part in _decoded(stream, encoding):
        used = min(len(part), len(buffer) - filled)
        buffer[filled : filled + used] = part[:used]
        filled, beyond = filled + used, beyond + len(part) - used
        if beyond > MAX_PADDING_BYTES:
            break
    return filled, beyond


def _decoded(stream: IO[bytes], encoding: Encoding) -> Iterator[bytes]:
    """Decompress a stream in parts; what follows its end is yielded as it is."""
    inflate: Any = bz2.BZ2Decompressor() if encoding == "bzip2" else zlib.decompressobj(_ZLIB_OR_GZIP)
    while not inflate.eof:
        chunk = stream.read(_CHUNK_BYTES)
        part = inflate.decompress(chunk, _MAX_PART_BYTES)
        yield part
        # What the limit of the part left over.
        while not inflate.eof and (rest := getattr(inflate, "unconsumed_tail", b"") or len(part) == _MAX_PART_BYTES):
            part = inflate.decompress(rest if isinstance(rest, bytes) else b"", _MAX_PART_BYTES)
            yield part
        if not chunk and not inflate.eof:
            raise EOFError("the compressed voxels are truncated")
    yield inflate.unused_data
    yield stream.read(MAX_PADDING_BYTES + 1)


def _as_text(header: VolumeHeader, stream: IO[bytes], expected: int) -> npt.NDArray[np.generic]:
    count = math.prod(header.shape)
    text = stream.read(max(count * _MAX_TEXT_BYTES, expected * 4) + 1)
    try:
        if header.encoding == "hex":
            values = np.frombuffer(bytes.fromhex(text.decode("ascii")), dtype=header.dtype)
        else:
            values = np.array(text.split(), dtype=np.float64).astype(header.dtype)
    except (ValueError, OverflowError) as error:
        raise BadInputError(
            f"{header.data_path}: its voxels are not {header.encoding} numbers; {EXPORT_AGAIN}"
        ) from error
    if values.size != count:
        raise BadInputError(
            f"{header.data_path}: has {values.size} of the {count} values of its shape {header.shape}; it is "
            f"truncated, or its header is wrong: {EXPORT_AGAIN}"
        )
    return values.reshape(header.shape, order="F")


def _encoded(flat: npt.NDArray[np.generic], encoding: Encoding) -> bytes | memoryview:
    voxels = flat.view(np.uint8).data
    match encoding:
        case "raw":
            return voxels
        case "gzip":
            buffer = io.BytesIO()
            gzipped.write_stream(buffer, voxels)
            return buffer.getvalue()
        case "zlib":
            return zlib.compress(voxels, level=2)
        case "bzip2":
            return bz2.compress(voxels)
        case "hex":
            return bytes(voxels).hex().encode()
        case "text":
            return b"\n".join(f"{value:g}".encode() for value in flat.tolist()) + b"\n"
