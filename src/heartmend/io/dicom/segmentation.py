"""DICOM segmentations (SEG): one frame for each segment and slice, or one label map."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid
from heartmend.io.atomic import write_bytes
from heartmend.io.dicom.files import check_numbers, dicom_errors, import_pydicom, read_dataset
from heartmend.io.dicom.series import Series, plane_affine
from heartmend.io.dicom.writing import encode_dataset, give_new_identity
from heartmend.io.forms.base import Ids, StoredMap, StoredValues, flatten
from heartmend.io.itk import LPS_TO_RAS
from heartmend.io.label_meaning import LabelTable, is_automatic_name
from heartmend.io.reading import EXPORT_AGAIN, check_memory, check_shape

if TYPE_CHECKING:
    from pydicom import Dataset

# Largest distance of a frame from the slice that it belongs to, in voxels.
_MAX_OFF_VOXELS = 0.05
# Of a file without its series, whose empty frames are left out: more than any scan has.
_MAX_SLICES = 5000
_SEGMENT_NUMBER_TAG, _POSITION_TAG = 0x0062000B, 0x00200032


class DicomSegmentation(StoredMap):
    """DICOM segmentation. A segment is identified by its segment number.

    Written again, it keeps its references, segments and all other attributes; frames of changed segments are made new.
    """

    has_masks = True

    def __init__(self, path: Path, series: Series | None = None) -> None:
        """Read the segments and the positions of the frames.

        Args:
            path: the file.
            series: the series that was segmented. Without it the grid is that of the frames, which end where the
                structures do.

        Raises:
            BadInputError: if it cannot be read, or its frames are no regular grid.
        """
        self.path = path
        self._dataset = dataset = read_dataset(path, with_pixels=False)
        with dicom_errors(path):
            self._is_label_map = str(dataset.get("SegmentationType", "BINARY")) == "LABELMAP"
            segments = [(int(segment.SegmentNumber), _name_of(segment)) for segment in dataset.SegmentSequence]
            names = dict(segments)
            size = int(dataset.Columns), int(dataset.Rows)
            self._orientation, self._spacing = _plane_of(dataset)
            frames = list(dataset.PerFrameFunctionalGroupsSequence)
            positions = np.array([f.PlanePositionSequence[0].ImagePositionPatient for f in frames], dtype=np.float64)
            self._numbers = [0 if self._is_label_map else _segment_of(frame) for frame in frames]
        # Number 0 of a label map is its background.
        check_numbers(path, [number for number, _ in segments if number or not self._is_label_map], "segment")
        if not np.isfinite([*positions.ravel(), *self._orientation.ravel(), *self._spacing]).all() or not len(frames):
            raise BadInputError(f"{path}: has no frame, or one without a place in space; {EXPORT_AGAIN}")
        self.table = LabelTable("the segments of the DICOM file", names)
        self.grid = self._grid_of_frames(positions, size) if series is None else series.grid
        self._series = series
        self._slices = self._slices_of(positions, size)

    def read(self, order: Sequence[int] = ()) -> StoredValues:
        """Read segments; see the base class."""
        return flatten([(number, self._mask(number)) for number in order], self.grid.shape)

    def check_storable(self, values: Collection[int]) -> None:
        """Check that the values of the frames are masks, and that the file can be encoded; see the base class."""
        _ = self._frames
        encode_dataset(read_dataset(self.path), self.path)

    def write(self, out: Path, values: Ids, changing: Collection[int]) -> None:
        """Write segments; see the base class."""
        known = {} if self.table is None else self.table.names
        changed = [n for n in changing if n in known and not np.array_equal(self._mask(n), np.equal(values, n))]
        if not changed:
            write_bytes(out, self.path.read_bytes())
            return
        masks = {n: np.equal(values, n) if n in changed else self._mask(n) for n in sorted(known)}
        dataset = read_dataset(self.path)
        with dicom_errors(self.path):
            if self._is_label_map:
                self._set_label_map(dataset, masks)
            else:
                self._set_frames(dataset, masks)
            give_new_identity(dataset, dataset.PixelData)
        write_bytes(out, encode_dataset(dataset, self.path))

    @cached_property
    def _frames(self) -> npt.NDArray[np.generic]:
        """(frame, row, column); of a binary segmentation 0 and 1."""
        dataset = read_dataset(self.path)
        with dicom_errors(self.path):
            shape = (len(self._numbers), int(dataset.Rows), int(dataset.Columns))
            # pydicom allocates the frames that the file states.
            if int(dataset.get("NumberOfFrames", 1)) != shape[0]:
                raise BadInputError(
                    f"{self.path}: states {dataset.NumberOfFrames} frames and describes {shape[0]}; {EXPORT_AGAIN}"
                )
            check_memory(self.path, check_shape(self.path, shape))
            frames = np.asarray(dataset.pixel_array).reshape(shape)
        if self._is_label_map:
            return frames
        highest = int(dataset.get("MaximumFractionalValue", 1))
        if not np.isin(np.unique(frames), (0, highest)).all():
            raise BadInputError(
                f"{self.path}: has probabilities, not masks (SegmentationType FRACTIONAL); threshold them"
            )
        return frames > 0

    def _mask(self, number: int) -> npt.NDArray[np.bool_]:
        mask = np.zeros(self.grid.shape, dtype=bool)
        for frame, of_segment, at in zip(self._frames, self._numbers, self._slices, strict=True):
            if self._is_label_map:
                mask[..., at] |= np.equal(frame, number).T
            elif of_segment == number:
                mask[..., at] |= frame.T.astype(bool)
        return mask

    def _grid_of_frames(self, positions: npt.NDArray[np.float64], size: tuple[int, int]) -> Grid:
        """The grid from the first to the last frame: empty frames are usually left out."""
        normal = np.cross(self._orientation[0], self._orientation[1])
        along = np.unique((positions @ normal).round(3))
        stated = _slice_spacing(self._dataset)
        steps = np.diff(along)
        step_mm = stated or (float(steps.min()) if len(steps) else 0.0)
        if not 0 < step_mm < np.inf:
            raise BadInputError(f"{self.path}: has one slice of unknown thickness; put its series beside it")
        first = positions[(positions @ normal).argmin()]
        count = round(float(along[-1] - along[0]) / step_mm) + 1
        if count > _MAX_SLICES:
            raise BadInputError(
                f"{self.path}: its frames span {count} slices, the limit is {_MAX_SLICES}; put its series beside it"
            )
        affine = plane_affine(self._orientation, self._spacing, first, normal * step_mm)
        check_shape(self.path, (*size, count))
        try:
            return Grid((*size, count), affine)
        except BadInputError as error:
            raise BadInputError(f"{self.path}: {error}") from error

    def _slices_of(self, positions: npt.NDArray[np.float64], size: tuple[int, int]) -> list[int]:
        """The slice of each frame."""
        across = (size[0] - 1) * self._orientation[0] * self._spacing[1]
        down = (size[1] - 1) * self._orientation[1] * self._spacing[0]
        index = self.grid.world_to_index(positions @ LPS_TO_RAS.T)
        far = self.grid.world_to_index((positions + across + down) @ LPS_TO_RAS.T)
        slices = np.rint(index[:, 2]).astype(int)
        # The first voxel of a frame and the last one are where those of its slice are.
        expected = np.stack([np.zeros_like(slices), np.zeros_like(slices), slices], axis=1)
        off = max(np.abs(index - expected).max(), np.abs(far - expected - (size[0] - 1, size[1] - 1, 0)).max())
        inside = (slices >= 0) & (slices < self.grid.shape[2])
        if size != self.grid.shape[:2] or not inside.all() or off > _MAX_OFF_VOXELS:
            raise BadInputError(
                f"{self.path}: its frames are not on the slices of its series or are not regular (off by {off:.2f} "
                f"voxels, the limit is {_MAX_OFF_VOXELS}); give the series that was segmented"
            )
        return slices.tolist()

    def _set_frames(self, dataset: Dataset, masks: dict[int, npt.NDArray[np.bool_]]) -> None:
        """Replace the frames of a binary segmentation."""
        items = list(dataset.PerFrameFunctionalGroupsSequence)
        known = dict(zip(zip(self._numbers, self._slices, strict=True), items, strict=True))
        of_slice = {at: item for (_, at), item in known.items()}
        groups, pixels = [], []
        for number, mask in masks.items():
            for at in range(self.grid.shape[2]):
                plane = mask[..., at]
                if (number, at) in known or plane.any():
                    item = known.get((number, at)) or self._new_item(of_slice.get(at), items[0], number, at)
                    groups.append(item)
                    pixels.append(plane.T)
        _set_indices(dataset, groups)
        stack = np.stack(pixels)
        if int(dataset.BitsAllocated) == 1:
            packed = np.packbits(stack.ravel(), bitorder="little").tobytes()
        else:
            packed = (stack * np.uint8(dataset.get("MaximumFractionalValue", 1))).astype(np.uint8).tobytes()
        _set_pixels(dataset, groups, packed)

    def _set_label_map(self, dataset: Dataset, masks: dict[int, npt.NDArray[np.bool_]]) -> None:
        """Replace the values of a label map; its frames stay."""
        stored = np.array(self._frames)
        groups = list(dataset.PerFrameFunctionalGroupsSequence)
        missing = set(range(self.grid.shape[2])) - set(self._slices)
        if any(mask[..., at].any() for mask in masks.values() for at in missing):
            raise BadInputError(f"{self.path}: has no frame for a slice that the repaired map needs; save it with all")
        for frame, at in enumerate(self._slices):
            plane = np.zeros(stored.shape[1:], dtype=stored.dtype)
            for number, mask in masks.items():
                plane[mask[..., at].T] = number
            stored[frame] = plane
        _set_pixels(dataset, groups, np.ascontiguousarray(stored).tobytes())

    def _new_item(self, same_slice: Any, other: Any, number: int, at: int) -> Any:
        """Functional groups of a frame that the file does not have."""
        item = copy.deepcopy(other if same_slice is None else same_slice)
        item.SegmentIdentificationSequence[0].ReferencedSegmentNumber = number
        if same_slice is None:
            position = LPS_TO_RAS @ self.grid.index_to_world((0, 0, at))
            item.PlanePositionSequence[0].ImagePositionPatient = [f"{mm:.6g}" for mm in position]
            if "DerivationImageSequence" in item:
                self._set_source(item, at)
        return item

    def _set_source(self, item: Any, at: int) -> None:
        """Refer to the image of a slice; without the series there is no reference."""
        if self._series is None or "SourceImageSequence" not in item.DerivationImageSequence[0]:
            del item.DerivationImageSequence
            return
        source = item.DerivationImageSequence[0].SourceImageSequence[0]
        source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = self._series.sop_instances[at]


def _set_pixels(dataset: Dataset, groups: list[Any], packed: bytes) -> None:
    pydicom = import_pydicom()
    dataset.PerFrameFunctionalGroupsSequence = pydicom.Sequence(groups)
    dataset.NumberOfFrames = len(groups)
    dataset.PixelData = packed + b"\0" * (len(packed) % 2)
    dataset["PixelData"].VR = "OB" if int(dataset.BitsAllocated) <= 8 else "OW"
    dataset["PixelData"].is_undefined_length = False
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian


def _set_indices(dataset: Dataset, groups: list[Any]) -> None:
    """Compute the index values of the two dimensions that every writer uses: segment, and position."""
    pointers = [int(item.DimensionIndexPointer) for item in dataset.get("DimensionIndexSequence", [])]
    places = sorted({tuple(map(float, item.PlanePositionSequence[0].ImagePositionPatient)) for item in groups},
                    key=lambda place: (place[2], place[1], place[0]))  # fmt: skip
    ranks = {place: rank for rank, place in enumerate(places, start=1)}
    for item in groups:
        if "FrameContentSequence" not in item or "DimensionIndexValues" not in item.FrameContentSequence[0]:
            continue
        content = item.FrameContentSequence[0]
        values = content.DimensionIndexValues
        values = list(values) if hasattr(values, "__len__") else [values]
        for number, pointer in enumerate(pointers[: len(values)]):
            if pointer == _SEGMENT_NUMBER_TAG:
                values[number] = _segment_of(item)
            elif pointer == _POSITION_TAG:
                values[number] = ranks[tuple(map(float, item.PlanePositionSequence[0].ImagePositionPatient))]
        content.DimensionIndexValues = values


def _segment_of(frame: Any) -> int:
    return int(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber)


def _plane_of(dataset: Dataset) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Orientation (2, 3) and pixel spacing (2,), which all frames share."""
    shared: Any = dataset.SharedFunctionalGroupsSequence[0] if "SharedFunctionalGroupsSequence" in dataset else {}
    first = dataset.PerFrameFunctionalGroupsSequence[0]
    orientation = (shared if "PlaneOrientationSequence" in shared else first).PlaneOrientationSequence[0]
    measures = (shared if "PixelMeasuresSequence" in shared else first).PixelMeasuresSequence[0]
    return (
        np.array(orientation.ImageOrientationPatient, dtype=np.float64).reshape(2, 3),
        np.array(measures.PixelSpacing, dtype=np.float64),
    )


def _slice_spacing(dataset: Dataset) -> float:
    shared: Any = dataset.SharedFunctionalGroupsSequence[0] if "SharedFunctionalGroupsSequence" in dataset else {}
    group = shared if "PixelMeasuresSequence" in shared else dataset.PerFrameFunctionalGroupsSequence[0]
    measures = group.PixelMeasuresSequence[0]
    return float(measures.get("SpacingBetweenSlices", 0) or measures.get("SliceThickness", 0) or 0)


def _name_of(segment: Any) -> str:
    """The label of a segment; of one with a default label such as `Segment_1` the meaning of its code."""
    label = str(segment.get("SegmentLabel", ""))
    if label and not is_automatic_name(label):
        return label
    codes = segment.get("SegmentedPropertyTypeCodeSequence", [])
    return str(codes[0].get("CodeMeaning", label)) if codes else label
