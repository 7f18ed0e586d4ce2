"""gzip files, through igzip where it is installed: ten times as fast as zlib, and as small."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from types import ModuleType
from typing import IO

codec: ModuleType
try:
    from isal import igzip
    from isal.igzip_lib import IsalError

    codec, WRITE_LEVEL = igzip, 2
    codec_error: type[Exception] = IsalError  # type: ignore[assignment]  # typed as if it were an instance
except ImportError:  # no wheel for this platform
    codec, WRITE_LEVEL = gzip, 1
    codec_error = zlib.error

GZIP_MAGIC = b"\x1f\x8b"
# Raised by the two libraries for a stream that is truncated or is not gzip.
GZIP_ERRORS: tuple[type[Exception], ...] = (EOFError, OSError, zlib.error, codec_error)
# The limit of deflate: a file that claims more data is wrong or truncated.
MAX_COMPRESSION_RATIO = 1040


def open_stream(path: Path) -> IO[bytes]:
    """Open a file for reading, decompressed if it is gzipped.

    Args:
        path: the file; its first two bytes decide, not its name.

    Returns:
        The stream.
    """
    with open(path, "rb") as file:
        is_gzipped = file.read(2) == GZIP_MAGIC
    if is_gzipped:
        return io.BufferedReader(codec.open(path, "rb"), buffer_size=1 << 20)
    return open(path, "rb")


def write_stream(file: IO[bytes], *chunks: bytes | memoryview) -> None:
    """Write data as one gzip stream without time and name: equal data gives equal bytes.

    Args:
        file: the stream to write to.
        chunks: parts of the data, in order.
    """
    with codec.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=WRITE_LEVEL, mtime=0) as stream:
        for chunk in chunks:
            stream.write(chunk)
