"""Where a NIfTI header puts its voxels: sform, qform and pixdim may each say so, and not always the same."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from heartmend.errors import BadInputError
from heartmend.types import FloatArray

# Two spacings that differ by more give volumes that differ by three times as much.
_SPACING_TOLERANCE = 0.01
_UNIT_CODES = {1: "metres", 3: "micrometres"}


@dataclass(frozen=True, eq=False)
class HeaderAffine:
    """The affine (RAS+, mm) that counts, and what is odd about how the header says it."""

    affine: FloatArray
    warnings: tuple[str, ...] = ()


def affine_from_header(header: nib.Nifti1Header) -> HeaderAffine:
    """The place by the sform, else the qform, else the spacing alone, as NIfTI has it.

    Raises BadInputError for a spacing that is none, and where sform and qform disagree about what a millimetre or an
    axis is: then nothing that is measured could be trusted. Where they differ in the place alone, as after a
    registration, the sform counts and a remark says so.
    """
    zooms = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    # NIfTI takes a qfac of 0 for 1.
    if header["pixdim"][0] == 0:
        header["pixdim"][0] = 1
    warnings = list[str]()
    unit = _UNIT_CODES.get(int(header["xyzt_units"]) % 8)
    if unit is not None:
        warnings.append(f"its unit of length says {unit}; its numbers are taken for mm")
    if header["sform_code"] == 0:
        if not (zooms > 0).all():
            raise BadInputError(f"a voxel spacing of {_by(zooms)} mm; set the true one (pixdim)")
        if header["qform_code"] == 0:
            warnings.append("has neither sform nor qform: its place and its left and right are not known")
        return HeaderAffine(np.asarray(header.get_best_affine(), dtype=np.float64), tuple(warnings))
    sform = np.asarray(header.get_sform(), dtype=np.float64)
    spacing = np.linalg.norm(sform[:3, :3], axis=0)
    if header["qform_code"] == 0:
        if not np.allclose(spacing, zooms, rtol=_SPACING_TOLERANCE):
            warnings.append(f"pixdim says {_by(zooms)} mm, the sform {_by(spacing)} mm; the sform counts")
        return HeaderAffine(sform, tuple(warnings))
    try:
        qform = np.asarray(header.get_qform(), dtype=np.float64)
    except (HeaderDataError, ValueError):
        return HeaderAffine(sform, (*warnings, "its qform is broken; the sform counts"))
    _refuse_contradiction(sform, qform)
    away_mm = _farthest_mm(sform, qform, header.get_data_shape())
    if away_mm > spacing.min() / 2:
        warnings.append(f"sform and qform place it up to {away_mm:.1f} mm apart; the sform counts")
    return HeaderAffine(sform, tuple(warnings))


def _refuse_contradiction(sform: FloatArray, qform: FloatArray) -> None:
    by_s, by_q = (np.linalg.norm(a[:3, :3], axis=0) for a in (sform, qform))
    if not np.isfinite([*by_s, *by_q]).all() or not by_s.all():
        return  # not to be compared; the grid itself refuses it
    if not np.allclose(by_s, by_q, rtol=_SPACING_TOLERANCE):
        raise BadInputError(
            f"sform and qform disagree: voxels of {_by(by_s)} mm by the one, {_by(by_q)} mm by the other; "
            "find out which is right and set both to it"
        )
    axes_s, axes_q = ("".join(map(str, nib.orientations.aff2axcodes(a))) for a in (sform, qform))
    if axes_s != axes_q:
        raise BadInputError(
            f"sform and qform disagree: its axes point to {axes_s} by the one, to {axes_q} by the other; "
            "find out which is right and set both to it"
        )


def _farthest_mm(one: FloatArray, other: FloatArray, shape: tuple[int, ...]) -> float:
    """How far apart two affines put the same corner voxel, at most."""
    ends = [(0, n - 1) for n in (*shape, 1, 1, 1)[:3]]
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
    apart = corners @ (one - other)[:3, :3].T + (one - other)[:3, 3]
    return float(np.linalg.norm(apart, axis=1).max())


def _by(lengths: FloatArray) -> str:
    return " x ".join(f"{v:g}" for v in lengths)
