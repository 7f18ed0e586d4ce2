"""Checks of files before they are read, and errors while they are read, as BadInputError."""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from heartmend.errors import BadInputError

EXPORT_AGAIN = "copy or export it again"
"""Remedy for a damaged file."""
# More than any scan has (2,000 slices of 1,024 x 1,024): a header with more is wrong.
MAX_VOXELS = 2**31
# Some writers fill the last block of a file; more than that is data that the header does not describe.
MAX_PADDING_BYTES = 4096
# Largest share of the free memory for the values of one file.
_MEMORY_SHARE = 0.8
# Formats by their first bytes, or by those from byte 128 on. A message never quotes the content: it can name a patient.
_FORMATS = (
    (0, b"\x93NUMPY", "a NumPy array"), (0, b"PK\x03\x04", "a zip archive"), (0, b"\x89HDF", "HDF5 or MINC"),
    (0, b"\x89PNG", "a PNG picture"), (0, b"\xff\xd8\xff", "a JPEG picture"), (0, b"BZh", "packed by bzip2"),
    (0, b"\xfd7zXZ", "packed by xz"), (0, b"\x28\xb5\x2f\xfd", "packed by zstd"), (0, b"\x80\x04", "a Python pickle"),
    (0, b"\x80\x02", "a Python pickle"), (0, b"NRRD", "NRRD"), (0, b"ObjectType", "MetaImage"),
    (0, b"version https://git-lfs", "a Git LFS pointer (fetch the file itself)"), (0, b"<", "a web page or XML"),
    (128, b"DICM", "DICOM (convert the series to NIfTI)"),
)  # fmt: skip


@contextmanager
def readable_file(path: Path) -> Iterator[None]:
    """Check that a file can be read, and convert the errors of the block to BadInputError.

    A pipe or a device is an error before it is opened: reading it might never end.

    Args:
        path: the file that the block reads.

    Yields:
        None.

    Raises:
        BadInputError: if it is missing, empty, or not a regular file, or if reading it fails.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
            raise BadInputError(f"{path}: is {kind}, not a file; put the file itself there, or remove it")
        if status.st_size == 0:
            raise BadInputError(f"{path}: is empty (0 bytes); {EXPORT_AGAIN}")
        yield
    except FileNotFoundError as error:
        problem = "is a link to a missing file" if path.is_symlink() else "is missing"
        raise BadInputError(f"{path}: {problem}; {EXPORT_AGAIN}, or remove it") from error
    except PermissionError as error:
        raise BadInputError(f"{path}: no permission to read it; change its permissions (chmod u+r)") from error
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror or error}; {EXPORT_AGAIN}") from error
    except MemoryError as error:
        raise BadInputError(f"{path}: does not fit into memory; crop it, or give fewer --workers") from error


def check_shape(path: Path, shape: Sequence[int]) -> int:
    """Check the shape of a volume.

    Args:
        path: the file, for the message.
        shape: numbers of voxels along the axes.

    Returns:
        The number of voxels.

    Raises:
        BadInputError: if there are none, or more than any scan has.

    Example:
        >>> check_shape(Path("1.nii"), (4, 5, 6))
        120
    """
    count = math.prod(shape)
    if not shape or min(shape) < 1 or count > MAX_VOXELS:
        raise BadInputError(
            f"{path}: a shape of {tuple(shape)} cannot be read, the limits are 1 to {MAX_VOXELS} voxels; {EXPORT_AGAIN}"
        )
    return count


def check_memory(path: Path, values_bytes: int) -> None:
    """Check that the values of a file fit into the free memory.

    Args:
        path: the file, for the message.
        values_bytes: size of its values.

    Raises:
        BadInputError: if they do not fit.
    """
    free = psutil.virtual_memory().available
    if values_bytes > _MEMORY_SHARE * free:
        raise BadInputError(
            f"{path}: its header describes {values_bytes / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free; crop it, "
            "give fewer --workers, or correct the header if it is wrong"
        )


def describe_format(head: bytes) -> str:
    """Describe the format of a file by its first bytes, without quoting them.

    Args:
        head: the first bytes, 256 are enough.

    Returns:
        A phrase that completes "it ...".

    Example:
        >>> describe_format(b"NRRD0004"), describe_format(b"hello")
        ('looks like NRRD', 'is text')
    """
    for offset, magic, name in _FORMATS:
        if head[offset : offset + len(magic)] == magic:
            return f"looks like {name}"
    if not head.strip(b"\0"):
        return "starts with zeros"
    return "is text" if head.isascii() and b"\0" not in head else "has an unknown format"
