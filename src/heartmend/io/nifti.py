"""NIfTI-1 and NIfTI-2 single files: read with every byte of the header kept, written with the same bytes again.

nibabel reads the header's meaning. The bytes are kept beside it, extensions too, because a header that is rebuilt
loses what it was not asked for: codes, units, intents, slopes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import HeaderDataError

from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid
from heartmend.io import gzipped
from heartmend.io.atomic import atomic_write
from heartmend.io.nifti_affine import affine_from_header
from heartmend.io.reading import (
    EXPORT_AGAIN,
    MAX_PADDING_BYTES,
    check_memory,
    check_shape,
    describe_format,
    readable_file,
)

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
    warnings: tuple[str, ...] = ()
    """What is odd about the header, but can be lived with."""

    @property
    def is_scaled(self) -> bool:
        """Whether a value is something else than what is stored."""
        return (self.slope, self.intercept) != (1.0, 0.0)


def read_header(path: Path) -> NiftiHeader:
    """The header of a NIfTI file; BadInputError when it is none."""
    with readable_file(path), _unpacking(path), gzipped.open_stream(path) as stream:
        return _read_header(stream, path)


def read_nifti(path: Path) -> tuple[NiftiHeader, npt.NDArray[np.generic]]:
    """The header, and the stored values in the file's shape and dtype, not yet scaled by slope and intercept.

    No more memory is taken than the file can fill. BadInputError for a file that is cut off, damaged, or holds more
    than its header says.
    """
    with readable_file(path), _unpacking(path), gzipped.open_stream(path) as stream:
        header = _read_header(stream, path)
        expected = math.prod(header.shape) * header.dtype.itemsize
        if expected > path.stat().st_size * gzipped.MAX_COMPRESSION_RATIO:
            raise BadInputError(f"{path}: too short for its shape {header.shape}; it is cut off or broken: {EXPORT_AGAIN}")
        check_memory(path, expected)
        data = bytearray(expected)
        filled = _fill(stream, memoryview(data))
        if filled < expected:
            raise BadInputError(
                f"{path}: holds {filled} of the {expected} bytes that its shape {header.shape} needs; it is cut off: "
                f"{EXPORT_AGAIN}"
            )
        # Read to the end: only there does gzip tell whether what came was sound.
        if len(stream.read(MAX_PADDING_BYTES + 1)) > MAX_PADDING_BYTES:
            raise BadInputError(
                f"{path}: holds more than the {expected} bytes of its shape {header.shape} and type {header.dtype}; "
                f"its header is wrong: {EXPORT_AGAIN}"
            )
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
        seen = describe_format(start + stream.read(252))
        raise BadInputError(f"{path}: not NIfTI, it {seen}; export it as NIfTI, or give it the ending of what it is")
    raw = start + stream.read(size - 4)
    if len(raw) < size:
        raise BadInputError(f"{path}: holds {len(raw)} of the {size} bytes of a header; it is cut off: {EXPORT_AGAIN}")
    try:
        parsed = kind[size].from_fileobj(io.BytesIO(raw), check=False)
        magic = bytes(parsed["magic"].tobytes())
        offset = int(parsed["vox_offset"])
        dtype = parsed.get_data_dtype()
        shape = tuple(int(n) for n in parsed.get_data_shape())
        with np.errstate(all="ignore"):
            place = affine_from_header(parsed)
        slope, intercept = parsed.get_slope_inter()
    except BadInputError as error:
        raise BadInputError(f"{path}: {error}") from error
    except (HeaderDataError, ValueError, KeyError, OverflowError, TypeError, FloatingPointError) as error:
        raise BadInputError(f"{path}: broken NIfTI header: {error}; {EXPORT_AGAIN}") from error
    if not magic.startswith((b"n+1", b"n+2")):
        said = "one of a .hdr and .img pair" if magic.startswith((b"ni1", b"ni2")) else "without NIfTI's mark"
        raise BadInputError(f"{path}: not a single-file NIfTI, but {said}; join .hdr and .img into one .nii.gz")
    if not size <= offset <= MAX_HEADER_BYTES:
        raise BadInputError(f"{path}: broken NIfTI header: its voxels begin at byte {offset}; {EXPORT_AGAIN}")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise BadInputError(f"{path}: holds values of type {dtype}; export it with whole or real numbers")
    check_shape(path, shape)
    raw += stream.read(offset - size)
    return NiftiHeader(
        raw=raw,
        shape=shape,
        dtype=dtype,
        affine=place.affine,
        slope=1.0 if slope is None else float(slope),
        intercept=0.0 if intercept is None else float(intercept),
        warnings=place.warnings,
    )


@contextmanager
def _unpacking(path: Path) -> Iterator[None]:
    """What gzip raises for a stream that is cut off or no gzip, as our own error with the file's name."""
    try:
        yield
    except gzipped.ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise BadInputError(f"{path}: cannot be unpacked, it is cut off or broken ({error}): {EXPORT_AGAIN}") from error


def write_volume(values: npt.NDArray[np.generic], grid: Grid, path: Path) -> None:
    """Write values (x, y, z) on a grid as a NIfTI of our own making, whole or not at all."""
    image = nib.Nifti1Image(values, grid.affine)
    image.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        image.to_filename(temporary)
