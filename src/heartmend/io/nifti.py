"""NIfTI-1 and NIfTI-2, as single files and as pairs of .hdr and .img, and Analyze 7.5. nibabel parses the headers."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import HeaderDataError

from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid
from heartmend.io import gzipped
from heartmend.io.atomic import atomic_write
from heartmend.io.nifti_affine import HeaderAffine, affine_from_header
from heartmend.io.reading import EXPORT_AGAIN, check_shape, describe_format, readable_file
from heartmend.io.volume_header import VolumeHeader, decompression_errors

MAX_HEADER_BYTES = 2**26


def read_header(path: Path) -> VolumeHeader:
    """Read the header of a NIfTI file, or of a pair of .hdr and .img.

    Args:
        path: the file; of a pair the .hdr.

    Returns:
        The header.

    Raises:
        BadInputError: if the file is damaged or of another format.
    """
    is_pair = path.name.lower().endswith(".hdr")
    with readable_file(path), decompression_errors(path), gzipped.open_stream(path) as stream:
        header = _read_header(stream, path, is_pair)
    return _with_image_file(header) if is_pair else header


def _read_header(stream: IO[bytes], path: Path, is_pair: bool) -> VolumeHeader:
    start = stream.read(4)
    kind: dict[int, Any] = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
    size = next((n for n in kind if start in (n.to_bytes(4, "little"), n.to_bytes(4, "big"))), None)
    if size is None:
        found = describe_format(start + stream.read(252))
        raise BadInputError(f"{path}: not NIfTI: it {found}; export it as NIfTI, or correct its ending")
    raw = start + stream.read(size - 4)
    if len(raw) < size:
        raise BadInputError(f"{path}: has {len(raw)} of the {size} bytes of a header; it is truncated: {EXPORT_AGAIN}")
    magic = raw[4:12] if size == 540 else raw[344:348]
    is_analyze = is_pair and size == 348 and not magic.startswith((b"n+1", b"ni1"))
    try:
        parser: Any = nib.Spm99AnalyzeHeader if is_analyze else kind[size]
        parsed = parser.from_fileobj(io.BytesIO(raw), check=False)
        offset = int(parsed["vox_offset"])
        dtype = parsed.get_data_dtype()
        shape = tuple(int(n) for n in parsed.get_data_shape())
        with np.errstate(all="ignore"):
            position = _analyze_affine(parsed) if is_analyze else affine_from_header(parsed)
        slope, intercept = parsed.get_slope_inter()
    except BadInputError as error:
        raise BadInputError(f"{path}: {error}") from error
    except (HeaderDataError, ValueError, KeyError, OverflowError, TypeError, FloatingPointError) as error:
        raise BadInputError(f"{path}: invalid NIfTI header: {error}; {EXPORT_AGAIN}") from error
    expected = () if is_analyze else (b"ni1", b"ni2") if is_pair else (b"n+1", b"n+2")
    if expected and not magic.startswith(expected):
        found = {b"ni": "one of a .hdr and .img pair", b"n+": "a single file"}.get(
            magic[:2], "a file without its magic"
        )
        raise BadInputError(
            f"{path}: its ending does not fit its header, which is {found} of NIfTI; join .hdr and .img into one "
            ".nii.gz, or correct its ending"
        )
    if not (0 if is_pair else size) <= offset <= MAX_HEADER_BYTES:
        raise BadInputError(f"{path}: invalid NIfTI header: its voxels start at byte {offset}; {EXPORT_AGAIN}")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise BadInputError(f"{path}: has values of type {dtype}; export it with whole or real numbers")
    check_shape(path, shape)
    raw += stream.read(MAX_HEADER_BYTES if is_pair else offset - size)
    return VolumeHeader(
        path=path,
        shape=shape,
        dtype=dtype,
        affine=position.affine,
        head=raw,
        data_head=bytes(offset) if is_pair else b"",
        may_be_gzipped=True,
        slope=1.0 if slope is None else float(slope),
        intercept=0.0 if intercept is None else float(intercept),
        warnings=position.warnings,
    )


def _with_image_file(header: VolumeHeader) -> VolumeHeader:
    """Add the file of the voxels, and its bytes before them, to the header of a pair."""
    stem = header.path.name[: -len(".hdr")]
    names = {p.name for p in header.path.parent.iterdir() if p.name[: len(stem)] == stem}
    found = sorted(name for name in names if name[len(stem) :].lower() in (".img", ".img.gz"))
    if len(found) != 1:
        problem = (
            f"has more than one file of voxels: {' and '.join(found)}" if found else f"has no {stem}.img beside it"
        )
        raise BadInputError(f"{header.path}: {problem}; put the one that belongs to it there")
    path = header.path.with_name(found[0])
    with readable_file(path), decompression_errors(path), gzipped.open_stream(path) as stream:
        start = stream.read(len(header.data_head))
    return replace(header, data_name=found[0], data_head=start)


def _analyze_affine(header: nib.Spm99AnalyzeHeader) -> HeaderAffine:
    """The affine as nibabel defines it: the first axis points to the left."""
    if not (np.asarray(header["pixdim"][1:4]) > 0).all():
        raise BadInputError("a voxel spacing that is not positive; set the true one (pixdim)")
    warning = "Analyze 7.5 does not state left and right: its first axis is taken to point to the left, as by nibabel"
    return HeaderAffine(np.asarray(header.get_best_affine(), dtype=np.float64), (warning,))


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
