"""Image series of DICOM, one file for each slice. The grid follows from positions, not from the slice thickness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid
from heartmend.io.dicom.files import dicom_errors, read_dataset, read_dicom_folder
from heartmend.io.itk import LPS_TO_RAS
from heartmend.io.reading import check_memory, check_shape
from heartmend.types import FloatArray

_DIRECTION_TOLERANCE = 1e-3
# Of the distance of two slices: positions are stored with few digits.
_STEP_TOLERANCE = 0.05
_VOLUME_MODALITIES = ("CT", "MR", "PT", "")


@dataclass(frozen=True, eq=False)
class Series:
    """Image series that is one volume.

    Attributes:
        paths: the files in the order of the slices.
        grid: where its voxels are: (column, row, slice).
        sop_instances: class and instance UID of each slice.
        uid: its Series Instance UID.
    """

    paths: tuple[Path, ...]
    grid: Grid
    sop_instances: tuple[tuple[str, str], ...]
    uid: str


def find_series(folder: Path, uid: str = "") -> Series | None:
    """Find the image series of a folder.

    Args:
        folder: the folder.
        uid: its Series Instance UID; empty: the only series with more than one image.

    Returns:
        The series; None where the folder has no such series.

    Raises:
        BadInputError: if it has several series, or the slices of the series are no regular grid.
    """
    found = read_dicom_folder(folder).series
    if uid:
        return read_series(found[uid]) if uid in found else None
    volumes = [paths for paths in found.values() if len(paths) > 1]
    if len(volumes) > 1:
        raise BadInputError(
            f"{folder}: has {len(volumes)} series of images; keep the one that belongs to the label map"
        )
    return read_series(volumes[0]) if volumes else None


def read_series(paths: Sequence[Path]) -> Series:
    """Read the grid of a series.

    Args:
        paths: its files, in any order.

    Returns:
        The series.

    Raises:
        BadInputError: if a slice is missing or there twice, or if the slices have different sizes or orientations.
    """
    slices = []
    for path in paths:
        dataset = read_dataset(path, with_pixels=False)
        with dicom_errors(path):
            if dataset.get("NumberOfFrames") and int(dataset.NumberOfFrames) > 1:
                raise BadInputError(f"{path}: is a multi-frame image; convert the series to .nii.gz")
            orientation = np.array(dataset.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
            position = np.array(dataset.ImagePositionPatient, dtype=np.float64)
            spacing = np.array(dataset.PixelSpacing, dtype=np.float64)
            size = int(dataset.Columns), int(dataset.Rows)
            instance = str(dataset.SOPClassUID), str(dataset.SOPInstanceUID)
            slices.append((position, orientation, spacing, size, path, instance, str(dataset.SeriesInstanceUID)))
    position, orientation, spacing, size, first, _, uid = slices[0]
    for _, other_orientation, other_spacing, other_size, path, _, _ in slices:
        if other_size != size or not np.allclose(other_spacing, spacing, rtol=1e-3):
            raise BadInputError(f"{path}: has another size or pixel spacing than {first.name}; keep one series")
        if not np.allclose(other_orientation, orientation, atol=_DIRECTION_TOLERANCE):
            raise BadInputError(f"{path}: has another orientation than {first.name}; keep one series")
    normal = np.cross(orientation[0], orientation[1])
    slices.sort(key=lambda one: float(one[0] @ normal))
    positions = np.array([one[0] for one in slices])
    step = slice_step(positions, normal, first.parent)
    affine = plane_affine(orientation, spacing, positions[0], step)
    paths_in_order, instances = tuple(one[4] for one in slices), tuple(one[5] for one in slices)
    shape = (*size, len(slices))
    check_shape(first, shape)
    try:
        return Series(paths_in_order, Grid(shape, affine), instances, uid)
    except BadInputError as error:
        raise BadInputError(f"{first.parent}: {error}") from error


def read_series_values(series: Series) -> npt.NDArray[np.generic]:
    """Read the values of a series.

    Args:
        series: the series.

    Returns:
        (x, y, z) with rescale slope and intercept applied, in HU for a CT: int16 where all values are whole, otherwise
        float32.

    Raises:
        BadInputError: if a file cannot be decoded.
    """
    check_memory(series.paths[0], 4 * int(np.prod(series.grid.shape)))
    values = np.empty(series.grid.shape, dtype=np.float32)
    for number, path in enumerate(series.paths):
        dataset = read_dataset(path)
        with dicom_errors(path):
            pixels = np.asarray(dataset.pixel_array)
            if pixels.shape != series.grid.shape[1::-1]:
                raise BadInputError(
                    f"{path}: has pixels of shape {pixels.shape}; give a series with one value per pixel"
                )
            slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
            values[..., number] = pixels.T * slope + intercept
    if (values == np.rint(values)).all() and np.abs(values).max(initial=0) <= np.iinfo(np.int16).max:
        return values.astype(np.int16)
    return values


def slice_step(positions: FloatArray, normal: FloatArray, folder: Path) -> FloatArray:
    """Compute the step from slice to slice.

    Args:
        positions: (n, 3) positions of the slices in mm, LPS, in their order.
        normal: (3,) direction from slice to slice.
        folder: the folder, for messages.

    Returns:
        (3,) in mm, LPS.

    Raises:
        BadInputError: if a slice is missing or there twice.
    """
    if len(positions) < 2:
        raise BadInputError(f"{folder}: has one image only, not a series; export the whole series")
    along = positions @ normal
    steps = np.diff(along)
    usual = float(np.median(steps))
    if steps.min() < _STEP_TOLERANCE * max(usual, 1e-6):
        raise BadInputError(f"{folder}: has two images at the position {along[steps.argmin()]:.2f} mm; keep one series")
    if np.abs(steps - usual).max() > _STEP_TOLERANCE * usual:
        at = int(np.abs(steps - usual).argmax())
        raise BadInputError(
            f"{folder}: its slices are {usual:.3f} mm apart, but {steps[at]:.3f} mm after the one at "
            f"{along[at]:.2f} mm: a slice is missing, or the series has several spacings; export the whole series, or "
            "resample it"
        )
    step: FloatArray = (positions[-1] - positions[0]) / (len(positions) - 1)
    return step


def plane_affine(orientation: FloatArray, spacing: FloatArray, position: FloatArray, step: FloatArray) -> FloatArray:
    """Compute the affine of (column, row, slice) from the attributes of DICOM.

    Args:
        orientation: (2, 3) Image Orientation (Patient): directions of a row and of a column.
        spacing: (2,) Pixel Spacing: distance of rows, distance of columns, in mm.
        position: (3,) Image Position (Patient) of the first slice, in mm.
        step: (3,) from slice to slice, in mm.

    Returns:
        (4, 4) voxel indices to mm, RAS+.
    """
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = orientation[0] * spacing[1], orientation[1] * spacing[0]
    affine[:3, 2], affine[:3, 3] = step, position
    affine[:3] = LPS_TO_RAS @ affine[:3]
    return affine
