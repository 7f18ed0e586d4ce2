"""What may lie where a file should, and what reading it can raise, as our own error that says what to do."""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from heartmend.errors import BadInputError

EXPORT_AGAIN = "copy or export it again"
# Larger than any scan (2,000 slices of 1,024 x 1,024); what claims more is a broken header.
MAX_VOXELS = 2**31
# Some writers fill up the last block of a file; more than that is data that the header does not know of.
MAX_PADDING_BYTES = 4096
# Largest share of the memory that is free which the values of one file may take.
_MEMORY_SHARE = 0.8
# ReportProgress by their first bytes, or those from byte 128 on; what a file holds is never told, it may be a name.
_KINDS = (
    (0, b"\x93NUMPY", "a NumPy array"), (0, b"PK\x03\x04", "a zip archive"), (0, b"\x89HDF", "HDF5 or MINC"),
    (0, b"\x89PNG", "a PNG picture"), (0, b"\xff\xd8\xff", "a JPEG picture"), (0, b"BZh", "packed by bzip2"),
    (0, b"\xfd7zXZ", "packed by xz"), (0, b"\x28\xb5\x2f\xfd", "packed by zstd"), (0, b"\x80\x04", "a Python pickle"),
    (0, b"\x80\x02", "a Python pickle"), (0, b"NRRD", "NRRD"), (0, b"ObjectType", "MetaImage"),
    (0, b"version https://git-lfs", "a Git LFS pointer (fetch the file itself)"), (0, b"<", "a web page or XML"),
    (128, b"DICM", "DICOM (convert the series to NIfTI)"),
)  # fmt: skip


@contextmanager
def readable_file(path: Path) -> Iterator[None]:
    """Within the block a regular file is read; all that is none, and what reading raises, is a BadInputError.

    A pipe or a device is refused before it is opened: it could be waited for, or read, for ever.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
            raise BadInputError(f"{path}: is {kind}, not a file; put the file itself there, or take it away")
        if status.st_size == 0:
            raise BadInputError(f"{path}: is empty (0 bytes); {EXPORT_AGAIN}")
        yield
    except FileNotFoundError as error:
        what = "is a link to a file that is not there" if path.is_symlink() else "is not there"
        raise BadInputError(f"{path}: {what}; {EXPORT_AGAIN}, or take it away") from error
    except PermissionError as error:
        raise BadInputError(f"{path}: may not be read by you; give yourself the right to (chmod u+r)") from error
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror or error}; {EXPORT_AGAIN}") from error
    except MemoryError as error:
        raise BadInputError(f"{path}: does not fit into memory; crop it, or give fewer --workers") from error


def check_shape(path: Path, shape: Sequence[int]) -> int:
    """How many voxels a shape has; BadInputError when there are none, or more than any scan has."""
    count = math.prod(shape)
    if not shape or min(shape) < 1 or count > MAX_VOXELS:
        raise BadInputError(f"{path}: a shape of {tuple(shape)} cannot be read, 1 to {MAX_VOXELS} voxels can; {EXPORT_AGAIN}")
    return count


def check_memory(path: Path, values_bytes: int) -> None:
    """BadInputError when the values of a file would not fit into the memory that is free."""
    free = psutil.virtual_memory().available
    if values_bytes > _MEMORY_SHARE * free:
        raise BadInputError(
            f"{path}: its header asks for {values_bytes / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free; crop it, "
            "give fewer --workers, or mend the header if it is wrong"
        )


def describe_format(head: bytes) -> str:
    """What the first bytes of a file (256 are enough) look like, in words; never the bytes themselves."""
    for offset, magic, name in _KINDS:
        if head[offset : offset + len(magic)] == magic:
            return f"looks like {name}"
    if not head.strip(b"\0"):
        return "begins with zeros"
    return "is text" if head.isascii() and b"\0" not in head else "is something else"
