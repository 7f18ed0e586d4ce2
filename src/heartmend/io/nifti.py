"""NIfTI-1 and NIfTI-2 single files.

nibabel parses the header. Its bytes, with all extensions, are stored as well and written again unchanged: a header that
is rebuilt loses codes, units, intents and slopes.
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
    """Header of a NIfTI file.

    Attributes:
        raw: its bytes up to the voxels.
        shape: numbers of voxels along the axes.
        dtype: type of the stored values, in the file's byte order.
        affine: (4, 4) voxel indices to mm, RAS+.
        slope: a value is slope * stored + intercept.
        intercept: see `slope`.
        warnings: contradictions in the header that do not prevent its use.
    """

    raw: bytes
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    affine: npt.NDArray[np.float64]
    slope: float
    intercept: float
    warnings: tuple[str, ...] = ()

    @property
    def is_scaled(self) -> bool:
        """Whether values differ from the stored ones."""
        return (self.slope, self.intercept) != (1.0, 0.0)


def read_header(path: Path) -> NiftiHeader:
    """Read the header of a NIfTI file.

    Args:
        path: the file.

    Returns:
        The header.

    Raises:
        BadInputError: if the file is damaged or of another format.
    """
    with readable_file(path), _decompression_errors(path), gzipped.open_stream(path) as stream:
        return _read_header(stream, path)


def read_nifti(path: Path) -> tuple[NiftiHeader, npt.NDArray[np.generic]]:
    """Read the header and the stored values of a NIfTI file.

    Memory is allocated only as far as the file can fill it.

    Args:
        path: the file.

    Returns:
        The header, and the values in the file's shape and dtype, without slope and intercept.

    Raises:
        BadInputError: if the file is truncated, damaged, or longer than its header describes.
    """
    with readable_file(path), _decompression_errors(path), gzipped.open_stream(path) as stream:
        header = _read_header(stream, path)
        expected = math.prod(header.shape) * header.dtype.itemsize
        if expected > path.stat().st_size * gzipped.MAX_COMPRESSION_RATIO:
            raise BadInputError(
                f"{path}: too short for its shape {header.shape}; it is truncated or damaged: {EXPORT_AGAIN}"
            )
        check_memory(path, expected)
        data = bytearray(expected)
        filled = _fill(stream, memoryview(data))
        if filled < expected:
            raise BadInputError(
                f"{path}: has {filled} of the {expected} bytes of its shape {header.shape}; it is truncated: "
                f"{EXPORT_AGAIN}"
            )
        # Read to the end, because the checksum of gzip is there.
        if len(stream.read(MAX_PADDING_BYTES + 1)) > MAX_PADDING_BYTES:
            raise BadInputError(
                f"{path}: has more than the {expected} bytes of its shape {header.shape} and type {header.dtype}; "
                f"its header is wrong: {EXPORT_AGAIN}"
            )
    return header, np.frombuffer(data, dtype=header.dtype).reshape(header.shape, order="F")


def write_nifti(path: Path, header: NiftiHeader, stored: npt.NDArray[np.generic]) -> None:
    """Write values atomically with the unchanged bytes of a header.

    Args:
        path: the file to write; compressed if it ends with .gz.
        header: the header.
        stored: values in the header's shape, before slope and intercept.

    Raises:
        OutputError: if the system cannot write it.
    """
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
        found = describe_format(start + stream.read(252))
        raise BadInputError(f"{path}: not NIfTI: it {found}; export it as NIfTI, or correct its ending")
    raw = start + stream.read(size - 4)
    if len(raw) < size:
        raise BadInputError(f"{path}: has {len(raw)} of the {size} bytes of a header; it is truncated: {EXPORT_AGAIN}")
    try:
        parsed = kind[size].from_fileobj(io.BytesIO(raw), check=False)
        magic = bytes(parsed["magic"].tobytes())
        offset = int(parsed["vox_offset"])
        dtype = parsed.get_data_dtype()
        shape = tuple(int(n) for n in parsed.get_data_shape())
        with np.errstate(all="ignore"):
            position = affine_from_header(parsed)
        slope, intercept = parsed.get_slope_inter()
    except BadInputError as error:
        raise BadInputError(f"{path}: {error}") from error
    except (HeaderDataError, ValueError, KeyError, OverflowError, TypeError, FloatingPointError) as error:
        raise BadInputError(f"{path}: invalid NIfTI header: {error}; {EXPORT_AGAIN}") from error
    if not magic.startswith((b"n+1", b"n+2")):
        found = "one of a .hdr and .img pair" if magic.startswith((b"ni1", b"ni2")) else "a file without NIfTI's magic"
        raise BadInputError(f"{path}: not a single-file NIfTI, but {found}; join .hdr and .img into one .nii.gz")
    if not size <= offset <= MAX_HEADER_BYTES:
        raise BadInputError(f"{path}: invalid NIfTI header: its voxels start at byte {offset}; {EXPORT_AGAIN}")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise BadInputError(f"{path}: has values of type {dtype}; export it with whole or real numbers")
    check_shape(path, shape)
    raw += stream.read(offset - size)
    return NiftiHeader(
        raw=raw,
        shape=shape,
        dtype=dtype,
        affine=position.affine,
        slope=1.0 if slope is None else float(slope),
        intercept=0.0 if intercept is None else float(intercept),
        warnings=position.warnings,
    )


@contextmanager
def _decompression_errors(path: Path) -> Iterator[None]:
    """Convert the errors of gzip for a truncated or damaged stream to BadInputError."""
    try:
        yield
    except gzipped.GZIP_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise BadInputError(
            f"{path}: cannot be decompressed ({error}); it is truncated or damaged: {EXPORT_AGAIN}"
        ) from error


def write_volume(values: npt.NDArray[np.generic], grid: Grid, path: Path) -> None:
    """Write a volume atomically as a new NIfTI file.

    Args:
        values: (x, y, z), in a dtype of NIfTI.
        grid: where the voxels are.
        path: the file (.nii or .nii.gz).

    Raises:
        OutputError: if the system cannot write it.
    """
    image = nib.Nifti1Image(values, grid.affine)
    image.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        image.to_filename(temporary)
