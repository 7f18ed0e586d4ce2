"""NIfTI-1 and NIfTI-2 single files: read with every byte of the header kept, written with the same bytes again.

nibabel reads the header's meaning. The bytes are kept beside it, extensions too, because a header that is rebuilt
loses what it was not asked for: codes, units, intents, slopes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import HeaderDataError

from heartmend.data import gzipped
from heartmend.errors import BadInputError
from heartmend.files import atomic_write
from heartmend.space import Grid

# Larger than any scan (2,000 slices of 2,048 x 2,048); what claims more is a broken header.
MAX_VOXELS = 2**33
MAX_HEADER_BYTES = 2**26


@dataclass(frozen=True)
class NiftiHeader:
    """The head of a NIfTI file: its bytes up to the voxels, and what they mean."""

    raw: bytes
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    """On disk, in the file's byte order."""
    affine: npt.NDArray[np.float64]
    slope: float
    intercept: float

    @property
    def is_scaled(self) -> bool:
        """Whether a value is something else than what is stored."""
        return (self.slope, self.intercept) != (1.0, 0.0)


def read_header(path: Path) -> NiftiHeader:
    """The header of a NIfTI file; BadInputError when it is none."""
    with _errors_named(path), gzipped.open_stream(path) as stream:
        return _read_header(stream, path)


def read_nifti(path: Path) -> tuple[NiftiHeader, npt.NDArray[np.generic]]:
    """The header, and the stored values in the file's shape and dtype, not yet scaled by slope and intercept."""
    with _errors_named(path), gzipped.open_stream(path) as stream:
        header = _read_header(stream, path)
        expected = int(np.prod(header.shape, dtype=object)) * header.dtype.itemsize
        if expected > path.stat().st_size * gzipped.LARGEST_RATIO:
            raise BadInputError(f"{path}: too short for its shape {header.shape}; the file is cut off or broken")
        data = bytearray(expected)
        filled = _fill(stream, memoryview(data))
        if filled < expected:
            raise BadInputError(
                f"{path}: holds {filled} of the {expected} bytes that its shape {header.shape} needs; it is cut off"
            )
        # Read to the end: only there does gzip tell whether what came was sound.
        while stream.read(1 << 20):
            pass
    return header, np.frombuffer(data, dtype=header.dtype).reshape(header.shape, order="F")


def write_nifti(path: Path, header: NiftiHeader, stored: npt.NDArray[np.generic]) -> None:
    """Write stored values (in the header's shape and dtype) under the very bytes of a header, atomically."""
    flat = np.asarray(stored, dtype=header.dtype).ravel(order="F")
    body = flat.view(np.uint8).data
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        if path.name.lower().endswith(".gz"):
            gzipped.write_stream(file, header.raw, body)
        else:
            file.writelines((header.raw, body))


def _fill(stream: IO[bytes], buffer: memoryview) -> int:
    filled = 0
    while filled < len(buffer) and (count := stream.readinto(buffer[filled:])):  # type: ignore[attr-defined]
        filled += count
    return filled


def _read_header(stream: IO[bytes], path: Path) -> NiftiHeader:
    start = stream.read(4)
    kind = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
    size = next((n for n in kind if start in (n.to_bytes(4, "little"), n.to_bytes(4, "big"))), None)
    if size is None:
        raise BadInputError(f"{path}: not NIfTI: it begins with {start!r}, not with a header's length of 348 or 540")
    raw = start + stream.read(size - 4)
    if len(raw) < size:
        raise BadInputError(f"{path}: holds {len(raw)} of the {size} bytes of a header; it is cut off")
    try:
        parsed = kind[size].from_fileobj(io.BytesIO(raw), check=False)
        magic = bytes(parsed["magic"].tobytes())
        offset = int(parsed["vox_offset"])
        dtype = parsed.get_data_dtype()
        shape = tuple(int(n) for n in parsed.get_data_shape())
        affine = np.asarray(parsed.get_best_affine(), dtype=np.float64)
        slope, intercept = parsed.get_slope_inter()
    except (HeaderDataError, ValueError, KeyError, OverflowError, TypeError) as error:
        raise BadInputError(f"{path}: broken NIfTI header: {error}") from error
    if not magic.startswith((b"n+1", b"n+2")):
        raise BadInputError(f"{path}: not a single-file NIfTI (magic {magic!r}); join .hdr and .img into one .nii.gz")
    if not size <= offset <= MAX_HEADER_BYTES:
        raise BadInputError(f"{path}: broken NIfTI header: its voxels begin at byte {offset}")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise BadInputError(f"{path}: holds values of type {dtype}; whole or real numbers are needed")
    if not shape or min(shape) < 1 or np.prod(shape, dtype=object) > MAX_VOXELS:
        raise BadInputError(f"{path}: a shape of {shape} cannot be read")
    raw += stream.read(offset - size)
    return NiftiHeader(
        raw=raw,
        shape=shape,
        dtype=dtype,
        affine=affine,
        slope=1.0 if slope is None else float(slope),
        intercept=0.0 if intercept is None else float(intercept),
    )


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    """What reading a file can raise, as our own error with the file's name."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise BadInputError(f"{path}: {error.strerror}") from error
    except gzipped.ERRORS as error:
        raise BadInputError(f"{path}: cannot be unpacked, it is cut off or broken: {error}") from error


def write_volume(values: npt.NDArray[np.generic], grid: Grid, path: Path) -> None:
    """Write values (x, y, z) on a grid as a NIfTI of our own making, whole or not at all."""
    image = nib.Nifti1Image(values, grid.affine)
    image.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        image.to_filename(temporary)
