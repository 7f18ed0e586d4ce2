"""MGH and MGZ files of FreeSurfer. nibabel parses the header; its bytes and those after the voxels are kept."""

from __future__ import annotations

import io
import math
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from heartmend.errors import BadInputError
from heartmend.io import gzipped
from heartmend.io.reading import EXPORT_AGAIN, check_shape, describe_format, readable_file
from heartmend.io.volume_header import VolumeHeader, decompression_errors

_HEADER_BYTES = 284
_MAX_TAIL_BYTES = 1 << 20
_DTYPES = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2"}
_CHUNK_BYTES = 1 << 20


def read_mgh_header(path: Path) -> VolumeHeader:
    """Read the header of an MGH or MGZ file.

    Args:
        path: the file.

    Returns:
        The header.

    Raises:
        BadInputError: if the file is damaged or of another format.
    """
    with readable_file(path), decompression_errors(path), gzipped.open_stream(path) as stream:
        head = stream.read(_HEADER_BYTES)
        if len(head) < _HEADER_BYTES or head[:4] != b"\0\0\0\1":
            raise BadInputError(f"{path}: not MGH: it {describe_format(head)}; {EXPORT_AGAIN}, or correct its ending")
        try:
            parsed = nib.freesurfer.mghformat.MGHHeader.from_fileobj(io.BytesIO(head), check=False)
            dtype = np.dtype(_DTYPES[int(parsed["type"])])
            # The fourth axis is that of frames.
            shape = tuple(int(n) for n in parsed["dims"])
            with np.errstate(all="ignore"):
                affine = np.asarray(parsed.get_affine(), dtype=np.float64)
        except KeyError as error:
            raise BadInputError(
                f"{path}: has values of a type that MGH does not have ({error}); {EXPORT_AGAIN}"
            ) from error
        except (HeaderDataError, ValueError, OverflowError, TypeError, FloatingPointError) as error:
            raise BadInputError(f"{path}: invalid MGH header: {error}; {EXPORT_AGAIN}") from error
        voxels = check_shape(path, shape) * dtype.itemsize
        if voxels > path.stat().st_size * gzipped.MAX_COMPRESSION_RATIO:
            raise BadInputError(f"{path}: too short for its shape {shape}; it is truncated or damaged: {EXPORT_AGAIN}")
        while voxels and (part := stream.read(min(voxels, _CHUNK_BYTES))):
            voxels -= len(part)
        # Scan parameters and tags.
        tail = stream.read(_MAX_TAIL_BYTES + 1)
    if len(tail) > _MAX_TAIL_BYTES:
        raise BadInputError(
            f"{path}: has more than the {math.prod(shape) * dtype.itemsize} bytes of its shape {shape}; its header is "
            f"wrong: {EXPORT_AGAIN}"
        )
    return VolumeHeader(path, shape, dtype, affine, head, tail=tail, may_be_gzipped=True)
