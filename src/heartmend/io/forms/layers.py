"""Segmentations of 3D Slicer with several layers (.seg.nrrd), whose segments can overlap."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from heartmend.errors import BadInputError
from heartmend.io.forms.base import Ids, StoredMap, StoredValues, flatten
from heartmend.io.forms.segment_extents import with_extents
from heartmend.io.itk import Segment, read_segment_fields
from heartmend.io.label_meaning import LabelTable
from heartmend.io.volume import volume_grid, write_stored
from heartmend.io.volume_header import VolumeHeader, read_voxels
from heartmend.types import MAX_VALUE


class LayeredSegmentation(StoredMap):
    """Segmentation with several layers. A segment is identified by its number from 1, in the order of the file."""

    has_masks = True

    def __init__(self, path: Path, header: VolumeHeader) -> None:
        """Read the fields of the segments.

        Args:
            path: the file.
            header: its header, with an axis of layers.

        Raises:
            BadInputError: if it has no segments, or one is in a layer that the file does not have.
        """
        self.path, self.header, self.grid = path, header, volume_grid(path, header)
        assert header.layer_axis is not None
        self._axis, layers = header.layer_axis, header.shape[header.layer_axis]
        segments = read_segment_fields(header)
        if not segments:
            raise BadInputError(
                f"{path}: has {layers} values per voxel, not one, and no segments of 3D Slicer; join the layers to one "
                "label map"
            )
        wrong = [s.name for s in segments if s.layer >= layers]
        if wrong:
            raise BadInputError(
                f"{path}: segment {wrong[0]!r} is in a layer that the file does not have; save it again"
            )
        highest = np.iinfo(header.dtype.name).max if header.dtype.kind in "iu" else MAX_VALUE
        if impossible := [s for s in segments if not 1 <= s.label_value <= highest]:
            raise BadInputError(
                f"{path}: segment {impossible[0].name!r} has the value {impossible[0].label_value}, which a layer of "
                f"type {header.dtype} cannot contain; save it again"
            )
        self._segments: dict[int, Segment] = dict(enumerate(segments, start=1))
        names = {number: segment.name for number, segment in self._segments.items()}
        self.table, self.warnings = LabelTable("the segment names of the file", names), header.warnings

    def read(self, order: Sequence[int] = ()) -> StoredValues:
        """Read segments; see the base class."""
        layers = self._layers()
        return flatten([(number, self._mask(layers, number)) for number in order], self.grid.shape)

    def check_storable(self, values: Collection[int]) -> None:
        """Every segment has its place; see the base class."""

    def write(self, out: Path, values: Ids, changing: Collection[int]) -> None:
        """Write segments into their layers; a voxel of another segment of the same layer is not changed."""
        stored = read_voxels(self.header).copy(order="F")
        layers = np.moveaxis(stored, self._axis, -1).reshape((*self.grid.shape, -1))
        changing = [number for number in changing if number in self._segments]
        for number in changing:
            layers[self._mask(layers, number), self._segments[number].layer] = 0
        for number in changing:
            segment = self._segments[number]
            layer = layers[..., segment.layer]
            layer[np.equal(values, number) & (layer == 0)] = segment.label_value
        masks = ((segment.number, self._mask(layers, number)) for number, segment in self._segments.items())
        header = replace(self.header, head=with_extents(self.header.head, masks))
        stored = np.moveaxis(layers, -1, self._axis)
        write_stored(out, header, stored)

    def _layers(self) -> npt.NDArray[np.generic]:
        """(x, y, z, layer)."""
        return np.moveaxis(read_voxels(self.header), self._axis, -1).reshape((*self.grid.shape, -1))

    def _mask(self, layers: npt.NDArray[np.generic], number: int) -> npt.NDArray[np.bool_]:
        segment = self._segments[number]
        return np.equal(layers[..., segment.layer], segment.label_value)
