"""Affine of a NIfTI header: sform, qform and pixdim can contain it, and can disagree."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from heartmend.errors import BadInputError
from heartmend.geometry.grid import SPACING_LIMITS_MM, shear_degrees
from heartmend.types import FloatArray

# Two spacings that differ by more give volumes that differ by three times as much.
_SPACING_TOLERANCE = 0.01
# Code of the unit of length -> name, and length in mm.
_UNITS = {1: ("metres", 1000.0), 3: ("micrometres", 0.001)}
# Axes that are further from right angles are an error for ITK's reader of NIfTI, as measured with SimpleITK 2.5.
ITK_SHEAR_DEGREES = 0.005


@dataclass(frozen=True, eq=False)
class HeaderAffine:
    """Affine that a NIfTI header stands for.

    Attributes:
        affine: (4, 4) voxel indices to mm, RAS+.
        warnings: contradictions in the header that do not prevent its use.
    """

    affine: FloatArray
    warnings: tuple[str, ...] = ()


def affine_from_header(header: nib.Nifti1Header) -> HeaderAffine:
    """Derive the affine of a NIfTI header: from the sform, else the qform, else the spacing.

    Args:
        header: the header as nibabel reads it.

    Returns:
        The affine. Where sform and qform differ only in the position, as after a registration, the sform is used, with
        a warning.

    Raises:
        BadInputError: if the spacing is not positive, or if sform and qform disagree about the spacing or the axes:
            then no measurement in mm would be reliable.
    """
    # In NIfTI a qfac of 0 means 1.
    if header["pixdim"][0] == 0:
        header["pixdim"][0] = 1
    found = _affine_of_numbers(header)
    code = int(header["xyzt_units"]) % 8
    if code > max(_UNITS):
        warning = f"its code for the unit of length, {code} (xyzt_units), is none of NIfTI; its numbers count as mm"
        return HeaderAffine(found.affine, (*found.warnings, warning))
    unit, unit_mm = _UNITS.get(code, ("", 1.0))
    if not unit:
        return found
    affine = np.diag([unit_mm, unit_mm, unit_mm, 1.0]) @ found.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    low, high = SPACING_LIMITS_MM
    if not ((spacing >= low) & (spacing <= high)).all():
        raise BadInputError(
            f"its unit of length is {unit} (xyzt_units), so its voxels have {_by(spacing)} mm, outside {low} to {high} "
            "mm; set the unit to mm if the numbers are mm"
        )
    return HeaderAffine(affine, (*found.warnings, f"its unit of length is {unit}; it was converted to mm"))


def _affine_of_numbers(header: nib.Nifti1Header) -> HeaderAffine:
    """The affine in the header's own unit."""
    zooms = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    warnings = list[str]()
    sform = np.asarray(header.get_sform(), dtype=np.float64)
    has_sform = header["sform_code"] != 0
    if has_sform and header["qform_code"] != 0 and not sform[:3].any():
        # As some converters write it.
        has_sform = False
        warnings.append("its sform contains zeros only; the qform is used")
    if not has_sform:
        if not (zooms > 0).all():
            raise BadInputError(f"a voxel spacing of {_by(zooms)} mm; set the true one (pixdim)")
        if header["qform_code"] == 0:
            warnings.append("has neither sform nor qform: its position, left and right are unknown")
            return HeaderAffine(np.asarray(header.get_base_affine(), dtype=np.float64), tuple(warnings))
        return HeaderAffine(np.asarray(header.get_qform(), dtype=np.float64), tuple(warnings))
    spacing = np.linalg.norm(sform[:3, :3], axis=0)
    if (shear := shear_degrees(sform)) > ITK_SHEAR_DEGREES:
        warnings.append(
            f"its voxel axes are {shear:.2g} degrees off right angles: programs that use ITK, such as 3D Slicer and "
            "nnU-Net, do not read it by its sform; neither will they read the repaired file"
        )
    if header["qform_code"] == 0:
        if not np.allclose(spacing, zooms, rtol=_SPACING_TOLERANCE):
            warnings.append(
                f"the spacing is {_by(zooms)} mm in pixdim, {_by(spacing)} mm in the sform; the sform is used"
            )
        return HeaderAffine(sform, tuple(warnings))
    try:
        qform = np.asarray(header.get_qform(), dtype=np.float64)
    except (HeaderDataError, ValueError):
        return HeaderAffine(sform, (*warnings, "its qform is invalid; the sform is used"))
    _check_agreement(sform, qform)
    apart_mm = _largest_distance_mm(sform, qform, header.get_data_shape())
    if apart_mm > spacing.min() / 2:
        warnings.append(f"its positions by sform and qform are up to {apart_mm:.1f} mm apart; the sform is used")
    return HeaderAffine(sform, tuple(warnings))


def _check_agreement(sform: FloatArray, qform: FloatArray) -> None:
    by_s, by_q = (np.linalg.norm(a[:3, :3], axis=0) for a in (sform, qform))
    if not np.isfinite([*by_s, *by_q]).all() or not by_s.all():
        return  # not comparable; Grid raises the error
    if not np.allclose(by_s, by_q, rtol=_SPACING_TOLERANCE):
        raise BadInputError(
            f"sform and qform disagree: voxels of {_by(by_s)} mm in the sform, {_by(by_q)} mm in the qform; "
            "find out which is right and set both to it"
        )
    axes_s, axes_q = ("".join(map(str, nib.orientations.aff2axcodes(a))) for a in (sform, qform))
    if axes_s != axes_q:
        raise BadInputError(
            f"sform and qform disagree: its axes point to {axes_s} in the sform, to {axes_q} in the qform; "
            "find out which is right and set both to it"
        )


def _largest_distance_mm(one: FloatArray, other: FloatArray, shape: tuple[int, ...]) -> float:
    """Largest distance in mm between the positions of a corner voxel by two affines."""
    ends = [(0, n - 1) for n in (*shape, 1, 1, 1)[:3]]
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
    apart = corners @ (one - other)[:3, :3].T + (one - other)[:3, 3]
    return float(np.linalg.norm(apart, axis=1).max())


def _by(lengths: FloatArray) -> str:
    return " x ".join(f"{v:g}" for v in lengths)
