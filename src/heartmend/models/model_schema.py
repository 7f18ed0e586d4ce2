"""Schema of model.json in a model file, the tensors that it implies, and the memory that they need."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Self

import numpy as np
import psutil
from pydantic import BaseModel, ConfigDict, Field, model_validator

from heartmend.anatomy.schema import Anatomy
from heartmend.anatomy.validation import shorten
from heartmend.errors import BadInputError
from heartmend.io.file_names import check_case_id
from heartmend.io.reading import MAX_VOXELS
from heartmend.io.tensor_header import TensorHeader, TensorSpec
from heartmend.models.shape_limits import MAX_HEADS
from heartmend.models.shape_schema import UnifiedSettings
from heartmend.models.shapes import weight_specs

MAX_CASES = 5000
"""Most cases of a model; their codes need about ten gigabytes of memory."""
MAX_BOX_MM = 2500.0
"""Longest side of a case's box, more than the length of a scan of the whole body."""
MAX_AFFINE = 100.0
"""Largest value of an affine map between unit frames, which are 2 wide."""
FREE_BYTES = 2**27
"""Memory that any model may need."""
MAX_EXPANSION = 128
"""Largest memory of a model as a multiple of its file, above `FREE_BYTES`: models of hearts have about 50."""
_MAX_INDEX = 100_000

Length = Annotated[float, Field(strict=True, gt=0, le=100)]
Number = Annotated[float, Field(strict=True, ge=-1e6, le=1e6)]
Index = Annotated[int, Field(strict=True, ge=-_MAX_INDEX, le=_MAX_INDEX)]
Name = Annotated[str, Field(max_length=63)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class GridTable(_Table):
    """Grid of a case, as `Grid.to_dict` writes it.

    Attributes:
        shape: number of voxels along each axis.
        affine: (4, 4), from voxel indices to mm.
    """

    shape: Annotated[list[Annotated[int, Field(strict=True, ge=1, le=_MAX_INDEX)]], Field(min_length=3, max_length=3)]
    affine: Annotated[
        list[Annotated[list[Number], Field(min_length=4, max_length=4)]], Field(min_length=4, max_length=4)
    ]

    @model_validator(mode="after")
    def _is_not_too_large(self) -> Self:
        if math.prod(self.shape) > MAX_VOXELS:
            raise ValueError(f"shape is {self.shape}; it must have at most {MAX_VOXELS} voxels")
        return self


class FrameTable(_Table):
    """Position of a case's unit frame, as `Roi.to_dict` writes it.

    Attributes:
        grid: grid of the volume.
        start: first voxel of the box along each axis; may be outside the volume.
        stop: voxel after the last one along each axis.
    """

    grid: GridTable
    start: Annotated[list[Index], Field(min_length=3, max_length=3)]
    stop: Annotated[list[Index], Field(min_length=3, max_length=3)]

    @model_validator(mode="after")
    def _is_a_box(self) -> Self:
        for axis, (start, stop) in enumerate(zip(self.start, self.stop, strict=True)):
            length_mm = (stop - start) * math.hypot(*(row[axis] for row in self.grid.affine[:3]))
            if not 0 < length_mm <= MAX_BOX_MM:
                raise ValueError(
                    f"axis {axis} is {length_mm:g} mm long; it must be more than 0 and at most {MAX_BOX_MM:g}"
                )
        return self


class CalibreTable(_Table):
    """Radius of a thin vessel in a cohort.

    Attributes:
        mean_mm: mean in mm.
        spread_mm: standard deviation in mm.
    """

    mean_mm: Length
    spread_mm: Length


class ModelTable(_Table):
    """Content of model.json."""

    format: str
    format_version: int
    ids: Annotated[list[str], Field(min_length=1, max_length=MAX_CASES)]
    shape: UnifiedSettings
    anatomy: Anatomy
    thresholds: Annotated[dict[Name, Annotated[float, Field(strict=True, gt=0, lt=1)]], Field(max_length=MAX_HEADS)]
    frames: Annotated[dict[str, FrameTable], Field(max_length=MAX_CASES)]
    absent: Annotated[dict[str, Annotated[list[Name], Field(max_length=MAX_HEADS)]], Field(max_length=MAX_CASES)]
    calibres: Annotated[dict[Name, CalibreTable], Field(max_length=MAX_HEADS)]
    lowest_surface_noise_mm2: Annotated[
        dict[Name, Annotated[float, Field(strict=True, ge=0, le=1e4)]], Field(max_length=MAX_HEADS)
    ]
    metadata: dict[str, Any]
    steps: dict[str, float]

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if errors := [*self._case_errors(), *self._name_errors()]:
            raise ValueError("; ".join(shorten(error, 200) for error in errors[:3]))
        return self

    def _case_errors(self) -> list[str]:
        errors = [f"ids contains {id!r} {n} times" for id, n in Counter(self.ids).items() if n > 1]
        for id in self.ids:
            try:
                check_case_id(id)
            except BadInputError as error:
                errors.append(str(error))
        known = set(self.ids)
        errors += [f"frames has no entry for case {id!r}" for id in self.ids if id not in self.frames]
        for table, keys in (("frames", self.frames), ("absent", self.absent)):
            errors += [f"{table} names case {id!r}, which is none of ids" for id in keys if id not in known]
        return errors

    def _name_errors(self) -> list[str]:
        structures, heads, errors = set(self.anatomy.names), set(self.shape.heads), list[str]()
        for table, names in (
            ("shape.heads", self.shape.heads), ("thresholds", self.thresholds), ("calibres", self.calibres),
            ("lowest_surface_noise_mm2", self.lowest_surface_noise_mm2),
        ):  # fmt: skip
            errors += [f"{table} names {name!r}, which is no structure" for name in names if name not in structures]
        for id, names in self.absent.items():
            errors += [
                f"absent.{id} names {name!r}, which is none of shape.heads" for name in names if name not in heads
            ]
            if len(set(names)) < len(names):
                errors.append(f"absent.{id} names a structure twice")
        dice = self.metadata.get("dice", {})
        if not isinstance(dice, dict) or not all(
            isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
            for value in dice.values()
        ):
            errors.append("metadata.dice must be a table of numbers from 0 to 1")
        return errors

    def tensor_specs(self) -> dict[str, TensorSpec]:
        """Return type and shape of every tensor of the model's file.

        Returns:
            Type and shape by name of the tensor.
        """
        cases, shape = len(self.ids), self.shape
        field = (cases, 3, *(shape.template.controls,) * 3)
        specs = weight_specs("unified", shape.model_dump())
        weights: dict[str, TensorSpec] = {
            name: ("F16", dims) for name, (_, dims) in specs.items() if name.startswith("net.")
        }
        return weights | {
            "template.level": ("I8", (len(shape.template.heads), shape.template.side**3)),
            "template.levels_mm": ("F32", (None,)),
            "codes.affine": ("F32", (cases, 3, 4)),
            "codes.field.high": ("I8", field),
            "codes.field.low": ("U8", field),
            "codes.detail.open": ("U8", (cases, -(-(shape.side**3) // 8))),
            "codes.detail.values": ("I8", (None, shape.channels)),
        }

    def memory_bytes(self, header: TensorHeader, slots: int = 1) -> int:
        """Compute the memory of the model after reading, the content of its file included.

        Args:
            header: header of its tensors.
            slots: slots of the details of each case, 1 if they are not known yet.

        Returns:
            The memory in bytes.
        """
        cases, shape = len(self.ids), self.shape
        template = 5 * len(shape.template.heads) * shape.template.side**3
        # For every node a slot (int32), whether it is open, and for one case at a time its position (int64).
        nodes = (5 * cases + 16) * shape.side**3
        fields = 3 * cases * shape.template.controls**3 * 8
        details = 8 * cases * slots * shape.channels
        return sum(t.stop - t.start for t in header.tensors.values()) + template + nodes + fields + details


def check_memory_of_model(table: ModelTable, header: TensorHeader, file_bytes: int, slots: int = 1) -> None:
    """Check that a model does not need far more memory than its file is large.

    Args:
        table: its model.json.
        header: header of its tensors.
        file_bytes: size of its file.
        slots: slots of the details of each case, 1 if they are not known yet.

    Raises:
        ValueError: if it needs more.
    """
    needed, limit = table.memory_bytes(header, slots), max(FREE_BYTES, MAX_EXPANSION * file_bytes)
    if needed > (free := psutil.virtual_memory().available):
        raise ValueError(
            f"it would need {needed // 2**20} MiB of memory, {free // 2**20} MiB are free; close other programs"
        )
    if needed > limit:
        raise ValueError(
            f"it would need {needed // 2**20} MiB of memory, the limit for a file of {file_bytes} bytes is "
            f"{limit // 2**20} MiB"
        )


def check_values(tensors: Mapping[str, np.ndarray]) -> list[int]:
    """Check the values of a model's tensors, which are finite, of the right type and shape.

    Args:
        tensors: the tensors by name.

    Returns:
        The number of open nodes of each case.

    Raises:
        ValueError: if a value is not possible.
    """
    levels, level = tensors["template.levels_mm"], tensors["template.level"]
    if not 2 <= len(levels) <= 128 or levels[0] != 0 or not (np.diff(levels) > 0).all() or levels[-1] > 1000:
        raise ValueError("template.levels_mm does not increase from 0, by 1 to 127 levels, to at most 1000 mm")
    if max(-int(level.min()), int(level.max())) >= len(levels):
        raise ValueError(f"template.level contains a level beyond the {len(levels)} of template.levels_mm")
    if not (np.abs(tensors["codes.affine"]) <= MAX_AFFINE).all():
        raise ValueError(f"codes.affine contains a value beyond {MAX_AFFINE:g}")
    opened = [int(np.bitwise_count(row).sum(dtype=np.int64)) for row in tensors["codes.detail.open"]]
    if sum(opened) != len(tensors["codes.detail.values"]):
        raise ValueError(
            f"{sum(opened)} nodes are open, but codes.detail.values has {len(tensors['codes.detail.values'])} rows"
        )
    return opened
