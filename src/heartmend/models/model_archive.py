"""Zip archive of a model file, read within limits: its members, their sizes, and how far they are compressed."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_END, _END_BYTES = b"PK\x05\x06", 22
_ZIP64_LOCATOR, _ZIP64_BYTES = b"PK\x06\x07", 20
_PART_BYTES = 2**20
MAX_DIRECTORY_BYTES = 2**16
MAX_RATIO = 64
"""Largest ratio of compression: files of hearts have up to 15, and a bomb has a thousand."""
UNCHECKED_BYTES = 2**22
"""The ratio of smaller members is not limited."""


class Members:
    """Members of an open archive, whose sizes are checked."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        """Wrap an archive whose directory was checked.

        Args:
            archive: the archive.
        """
        self._archive = archive

    def size(self, name: str) -> int:
        """Return the size of a member.

        Args:
            name: name of the member.

        Returns:
            The size in bytes.
        """
        return self._archive.getinfo(name).file_size

    def read(self, name: str) -> bytearray:
        """Read a whole member.

        Args:
            name: name of the member.

        Returns:
            Its content.

        Raises:
            ValueError, OSError, zipfile.BadZipFile, zlib.error: as `read_rest`.
        """
        with self.open(name) as file:
            return read_rest(file, self.size(name))

    def open(self, name: str) -> IO[bytes]:
        """Open a member to read its start first.

        Args:
            name: name of the member.

        Returns:
            The open member, which the caller closes.
        """
        return self._archive.open(name)


@contextmanager
def open_members(path: Path, limits: Mapping[str, int]) -> Iterator[Members]:
    """Open a zip archive that has exactly some members.

    The sizes that the directory of the archive describes are checked before anything is read.

    Args:
        path: the archive, a regular file.
        limits: the largest size of each member in bytes, by name.

    Yields:
        The members.

    Raises:
        ValueError: if a limit is exceeded, or the members are others or encrypted.
        OSError, zipfile.BadZipFile: if it cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        _check_end(file, size)
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if sorted(member.filename for member in members) != sorted(limits):
                raise ValueError(f"its members are not {', '.join(limits)}")
            for member in members:
                _check_member(member, limits[member.filename], size)
            yield Members(archive)


def read_rest(file: IO[bytes], size: int) -> bytearray:
    """Read the rest of a member, in parts, so that its content is in memory once.

    Args:
        file: the member.
        size: the number of bytes that are expected.

    Returns:
        The content.

    Raises:
        ValueError: if it has another size.
        OSError, zipfile.BadZipFile, zlib.error: if it cannot be read, or its checksum is wrong.
    """
    content, end = bytearray(size), 0
    while part := file.read(_PART_BYTES):
        if end + len(part) > size:
            raise ValueError(f"a member has more than the {size} bytes that its directory describes")
        content[end : end + len(part)] = part
        end += len(part)
    if end < size:
        raise ValueError(f"a member has {end} bytes, its directory describes {size}")
    return content


def _check_end(file: io.BufferedReader, size: int) -> None:
    """Check the size of the directory, which zipfile reads as a whole, an object for each entry."""
    file.seek(max(size - _END_BYTES - _ZIP64_BYTES, 0))
    tail = file.read()
    end = tail[-_END_BYTES:]
    if len(end) < _END_BYTES or end[:4] != _END or end[-2:] != b"\0\0":
        raise ValueError("it is no zip archive, or was cut off")
    if tail[:-_END_BYTES].startswith(_ZIP64_LOCATOR):
        raise ValueError("it is a zip64 archive, which a model never is")
    directory = int.from_bytes(end[12:16], "little")
    if directory > MAX_DIRECTORY_BYTES:
        raise ValueError(f"its directory has {directory} bytes, the limit is {MAX_DIRECTORY_BYTES}")


def _check_member(member: zipfile.ZipInfo, limit: int, archive_bytes: int) -> None:
    name, size, packed = member.filename, member.file_size, member.compress_size
    # Bit 0: encrypted; bit 5: a patch; bit 6: strongly encrypted.
    if member.flag_bits & 0b110_0001:
        raise ValueError(f"{name} is encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is packed by another method than deflate")
    if size > limit:
        raise ValueError(f"{name} has {size} bytes, the limit is {limit}")
    if packed > archive_bytes:
        raise ValueError(f"{name} has {packed} packed bytes, the file has {archive_bytes}")
    if size > UNCHECKED_BYTES and size > MAX_RATIO * packed:
        raise ValueError(f"{name} is packed to 1/{size // max(packed, 1)} of its size, the limit is 1/{MAX_RATIO}")
