"""DICOM structure sets (RTSTRUCT): closed planar contours on the slices of a series."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid
from heartmend.io.atomic import write_bytes
from heartmend.io.dicom.files import check_numbers, dicom_errors, import_pydicom, read_dataset
from heartmend.io.dicom.series import Series
from heartmend.io.dicom.writing import encode_dataset, give_new_identity
from heartmend.io.forms.base import Ids, StoredMap, StoredValues, flatten
from heartmend.io.itk import LPS_TO_RAS
from heartmend.io.label_meaning import LabelTable
from heartmend.io.reading import EXPORT_AGAIN

if TYPE_CHECKING:
    from pydicom import Dataset

# Contours are drawn between slices by no program; more than this is another series.
_MAX_OFF_SLICES = 0.1
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_MIN_POINTS, _MAX_POINTS = 3, 20_000
"""Points of a contour: filling one with more needs minutes."""
_MAX_PLACE_MM = 1e5


class StructureSet(StoredMap):
    """Structure set. A structure is identified by its ROI number.

    A voxel is inside if its centre is; where contours of one structure are inside each other, they cut out holes.
    Written again, the contours of a slice that did not change stay as they are.
    """

    has_masks = True

    def __init__(self, path: Path, series: Series | None) -> None:
        """Read the structures.

        Args:
            path: the file.
            series: the series on which the contours are.

        Raises:
            BadInputError: if it cannot be read, or the series is missing.
        """
        if series is None:
            raise BadInputError(
                f"{path}: its series of images is missing, without which its contours have no voxels; put the series "
                "into the folder of the case"
            )
        self.path, self.grid, self._series = path, series.grid, series
        dataset = read_dataset(path)
        with dicom_errors(path):
            structures = [(int(roi.ROINumber), str(roi.get("ROIName", ""))) for roi in dataset.StructureSetROISequence]
            contours = [(int(roi.ReferencedROINumber), roi) for roi in dataset.get("ROIContourSequence", [])]
        for numbered in (structures, contours):
            check_numbers(path, [number for number, _ in numbered], "structure")
        self._contours = dict(contours)
        self.table = LabelTable("the names of the structure set", dict(structures))

    def read(self, order: Sequence[int] = ()) -> StoredValues:
        """Read structures; see the base class."""
        return flatten([(number, self._mask(number)) for number in order], self.grid.shape)

    def check_storable(self, values: Collection[int]) -> None:
        """Check that the file can be encoded; any mask has contours; see the base class."""
        encode_dataset(read_dataset(self.path), self.path)

    def write(self, out: Path, values: Ids, changing: Collection[int]) -> None:
        """Write structures; see the base class."""
        known = {} if self.table is None else self.table.names
        masks = {number: np.equal(values, number) for number in changing if number in known}
        changed = {number: mask for number, mask in masks.items() if not np.array_equal(mask, self._mask(number))}
        if not changed:
            write_bytes(out, self.path.read_bytes())
            return
        dataset = read_dataset(self.path)
        with dicom_errors(self.path):
            for number, mask in changed.items():
                roi = self._roi_contour(dataset, number)
                roi.ContourSequence = import_pydicom().Sequence(self._new_contours(roi, number, mask))
            give_new_identity(dataset, b"".join(np.packbits(mask).tobytes() for mask in changed.values()))
        write_bytes(out, encode_dataset(dataset, self.path))

    def _mask(self, number: int) -> npt.NDArray[np.bool_]:
        from skimage.draw import polygon2mask

        mask = np.zeros(self.grid.shape, dtype=bool)
        with dicom_errors(self.path):
            for at, contours in self._by_slice(self._contours.get(number)).items():
                for _, points in contours:
                    mask[..., at] ^= polygon2mask(self.grid.shape[:2], points)
        return mask

    def _by_slice(self, roi: Any) -> dict[int, list[tuple[Any, npt.NDArray[np.float64]]]]:
        """The contours of each slice, with their points (n, 2) in voxels."""
        found: dict[int, list[tuple[Any, npt.NDArray[np.float64]]]] = {}
        for contour in () if roi is None else roi.get("ContourSequence", ()):
            stated = contour.get("ContourData", ())
            if isinstance(stated, bytes):
                # Of more than 64 KiB, which an explicit transfer syntax stores without its type.
                stated = stated.decode("ascii").strip("\0 ").split("\\")
            data = np.asarray(stated, dtype=np.float64).reshape(-1, 3)
            kind = str(contour.get("ContourGeometricType", "CLOSED_PLANAR"))
            if kind not in _CLOSED or len(data) < _MIN_POINTS:
                continue
            if len(data) > _MAX_POINTS or not (np.abs(data) < _MAX_PLACE_MM).all():
                raise BadInputError(
                    f"{self.path}: has a contour of {len(data)} points, or one that is nowhere in space; the limits "
                    f"are {_MAX_POINTS} points and {_MAX_PLACE_MM / 1000:.0f} m; {EXPORT_AGAIN}"
                )
            index = self.grid.world_to_index(data @ LPS_TO_RAS.T)
            at = round(float(index[:, 2].mean()))
            off = float(np.abs(index[:, 2] - at).max())
            if off > _MAX_OFF_SLICES or not 0 <= at < self.grid.shape[2]:
                raise BadInputError(
                    f"{self.path}: has contours that are not on the slices of the series (off by {off:.2f} slices, the "
                    f"limit is {_MAX_OFF_SLICES}); give the series that they were drawn on"
                )
            found.setdefault(at, []).append((contour, index[:, :2]))
        return found

    def _roi_contour(self, dataset: Dataset, number: int) -> Any:
        """The item with the contours of a structure, made where there is none."""
        pydicom = import_pydicom()
        for roi in dataset.get("ROIContourSequence", []):
            if int(roi.ReferencedROINumber) == number:
                return roi
        roi = pydicom.Dataset()
        roi.ReferencedROINumber = number
        dataset.ROIContourSequence = pydicom.Sequence([*dataset.get("ROIContourSequence", []), roi])
        return roi

    def _new_contours(self, roi: Any, number: int, mask: npt.NDArray[np.bool_]) -> list[Any]:
        """The contours of a structure: of slices that did not change the old ones."""
        old, before, contours = self._by_slice(roi), self._mask(number), list[Any]()
        for at in range(self.grid.shape[2]):
            if np.array_equal(mask[..., at], before[..., at]):
                contours += [contour for contour, _ in old.get(at, [])]
            else:
                contours += list(self._outlines(mask, at))
        return contours

    def _outlines(self, mask: npt.NDArray[np.bool_], at: int) -> Iterator[Any]:
        pydicom = import_pydicom()
        sop_class, instance = self._series.sop_instances[at]
        for points in outlines(mask[..., at]):
            contour, image = pydicom.Dataset(), pydicom.Dataset()
            image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = sop_class, instance
            contour.ContourImageSequence = pydicom.Sequence([image])
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = len(points)
            contour.ContourData = contour_data(points, at, self.grid)
            yield contour


def outlines(plane: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.float64]]:
    """Compute closed outlines that pass half-way between the voxels inside and those outside.

    So the centre of exactly the same voxels is inside; the outline of a hole is one of its own.

    Args:
        plane: (x, y) bool.

    Returns:
        For each outline (n, 2) positions in voxels, without the first one again at the end.

    Example:
        >>> one = np.zeros((3, 3), dtype=bool)
        >>> one[1, 1] = True
        >>> sorted(map(tuple, outlines(one)[0].tolist()))
        [(0.5, 1.0), (1.0, 0.5), (1.0, 1.5), (1.5, 1.0)]
    """
    from skimage.measure import find_contours

    found = find_contours(np.pad(plane, 1).astype(np.float64), 0.5)
    return [points[:-1] - 1 for points in found if len(points) > _MIN_POINTS]


def contour_data(points: npt.NDArray[np.float64], at: int, grid: Grid) -> list[str]:
    """Format the points of a contour for DICOM.

    Args:
        points: (n, 2) positions in voxels.
        at: number of the slice.
        grid: grid of the series.

    Returns:
        3 n coordinates in mm, LPS, with three decimals.
    """
    index = np.column_stack([points, np.full(len(points), at)])
    return [f"{mm:.3f}" for mm in (grid.index_to_world(index) @ LPS_TO_RAS.T).ravel()]
