"""Conventions: corrections as files, with the template whose frame they are in, for other data sets."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from heartmend.anatomy.schema import MAX_STRUCTURES, Name
from heartmend.anatomy.validation import error_lines, shorten
from heartmend.errors import BadInputError, RunError
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.io.atomic import write_safetensors
from heartmend.io.regular import open_to_read
from heartmend.io.strict_json import parse_json
from heartmend.io.tensor_header import check_finite, check_tensors, read_array, read_tensor_header
from heartmend.models.template import TemplateShape
from heartmend.repair.shared_errors.correction import Correction
from heartmend.repair.shared_errors.surface import Floats, unit_lattice
from heartmend.training.placement import PlacementSchedule, place_template
from heartmend.training.sampling import sample_case
from heartmend.types import BACKGROUND, Labels

MEAN_HEART_SIDE = 96
"""Voxels along each side of a label map of the mean heart."""
MAX_MM = 20.0
"""Largest movement of a surface in a file."""
MAX_CELLS = 2**25
"""Most numbers of a tensor in a file: eight structures of 160 cells along each side."""
_SIZE_LIMITS_MM = (1.0, 1000.0)
_TEMPLATE, _CORRECTION = "template_mm", "correction_mm"
_Side = Annotated[int, Field(strict=True, ge=8, le=256)]
_Movements = Annotated[dict[Name, Annotated[float, Field(ge=-MAX_MM, le=MAX_MM)]], Field(max_length=MAX_STRUCTURES)]


class _Header(BaseModel):
    """Texts and numbers of a convention file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    heads: Annotated[tuple[Name, ...], Field(min_length=1, max_length=MAX_STRUCTURES)]
    side: _Side
    correction_side: _Side
    size_mm: tuple[float, float, float]
    anatomy: Annotated[str, Field(max_length=100)]
    tubes_mm: _Movements = {}
    typical_tubes_mm: _Movements = {}


@dataclass(frozen=True, eq=False)
class Convention:
    """A correction and the template whose frame it is in.

    Attributes:
        template_mm: (side, side, side, head) float32, signed distances of the template.
        size_mm: (3,) extent of the template's unit frame, in mm.
        correction: the correction, of the same structures.
        anatomy: name of the anatomy.
    """

    template_mm: npt.NDArray[np.float32]
    size_mm: tuple[float, float, float]
    correction: Correction
    anatomy: str

    @classmethod
    def of(cls, shape: TemplateShape, size_mm: Floats, correction: Correction, anatomy: str) -> Self:
        """Create a convention from a fitted template.

        Args:
            shape: the template.
            size_mm: (3,) extent of its unit frame in mm.
            correction: the correction, of the structures of the template.
            anatomy: name of the anatomy.

        Returns:
            The convention.
        """
        x, y, z = (float(length) for length in size_mm)
        return cls(shape.distances_mm, (x, y, z), correction, anatomy)

    def write(self, path: Path) -> None:
        """Write the convention to a file, atomically.

        Args:
            path: path of the safetensors file.

        Raises:
            OutputError: if the file cannot be written.
        """
        header = _Header(
            heads=self.correction.heads,
            side=self.template_mm.shape[0],
            correction_side=self.correction.table_mm.shape[0],
            size_mm=self.size_mm,
            anatomy=self.anatomy,
            tubes_mm=dict(self.correction.tubes_mm),
            typical_tubes_mm=dict(self.correction.typical_tubes_mm),
        )
        tensors: dict[str, npt.NDArray[np.floating]] = {
            _TEMPLATE: self.template_mm,
            _CORRECTION: self.correction.table_mm.astype(np.float16),
        }
        write_safetensors(path, tensors, {"convention": header.model_dump_json()})

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a convention from a file.

        Args:
            path: path of the file that `write` wrote.

        Returns:
            The convention.

        Raises:
            BadInputError: if the file is missing, no convention, or damaged.
        """
        try:
            with open_to_read(path) as file:
                header = read_tensor_header(file, os.fstat(file.fileno()).st_size)
                info = _Header.model_validate(parse_json(header.metadata.get("convention", "").encode()))
                count = len(info.heads)
                largest_side = max(info.side, info.correction_side)
                if len(set(info.heads)) < count or largest_side**3 * count > MAX_CELLS:
                    raise ValueError(
                        f"it has {count} structures of {largest_side} cells along each side; the structures must "
                        f"differ, and the limit is {MAX_CELLS} cells"
                    )
                check_tensors(
                    header,
                    {
                        _TEMPLATE: ("F32", (info.side,) * 3 + (count,)),
                        _CORRECTION: ("F16", (info.correction_side,) * 3 + (count,)),
                    },
                )
                arrays = {name: read_array(file, header, tensor) for name, tensor in header.tensors.items()}
            for name, array in arrays.items():
                check_finite(name, array)
            low, high = _SIZE_LIMITS_MM
            if (largest := float(np.abs(arrays[_CORRECTION]).max())) > MAX_MM:
                raise ValueError(f"it moves a surface by {largest:.0f} mm, the limit is {MAX_MM:.0f}")
            if not all(low <= length <= high for length in info.size_mm):
                raise ValueError(f"the size {info.size_mm} is not between {low:g} and {high:g} mm")
            if (largest := float(np.abs(arrays[_TEMPLATE]).max())) > high:
                raise ValueError(f"a distance of its template is {largest:g} mm, the limit is {high:g}")
        except ValidationError as error:
            raise BadInputError(
                f"{path}: is no convention ({error_lines(error)[0]}); give a file of `heartmend convention`"
            ) from error
        except (OSError, ValueError, RunError) as error:
            raise BadInputError(
                f"{path}: is no convention ({shorten(str(error), 300)}); give a file of `heartmend convention`"
            ) from error
        table_mm = arrays[_CORRECTION].astype(np.float32)
        correction = Correction(table_mm, info.heads, info.tubes_mm, info.typical_tubes_mm)
        return cls(arrays[_TEMPLATE], info.size_mm, correction, info.anatomy)

    def on_template(self, shape: TemplateShape, size_mm: Floats) -> Correction:
        """Compute the correction in the frame of another template.

        The mean heart of the other template is placed in the frame of this one, by the structures that both have.

        Args:
            shape: the other template.
            size_mm: (3,) extent of its unit frame in mm.

        Returns:
            The correction of the structures of the other template; 0 for those that the convention does not have.

        Raises:
            BadInputError: if the two have no structure in common.
        """
        if shape.heads == self.correction.heads and np.array_equal(shape.distances_mm, self.template_mm):
            return self.correction
        common = [name for name in shape.heads if name in self.correction.heads]
        if not common:
            raise BadInputError(
                f"the convention is for {', '.join(self.correction.heads)}, the data set has {', '.join(shape.heads)}; "
                "give a convention for the same structures"
            )
        own = TemplateShape(self.correction.heads, self.template_mm.shape[0])
        with torch.no_grad():
            own.table.copy_(torch.from_numpy(self.template_mm.reshape(-1, len(self.correction.heads))))
        labels, roi = _mean_heart(shape, size_mm, common)
        samples = sample_case("mean", labels, roi, list(range(1, len(common) + 1)), resolution=MEAN_HEART_SIDE)
        code = place_template(own, self.size_mm, samples, common, PlacementSchedule())
        side = self.correction.table_mm.shape[0]
        read = self.correction.at(own.frame_map(code)(unit_lattice(side)))
        table = np.zeros((side, side, side, len(shape.heads)), np.float32)
        for name in common:
            column = read[:, self.correction.heads.index(name)]
            table[..., shape.heads.index(name)] = column.reshape(side, side, side)
        return Correction(table, shape.heads, self.correction.tubes_mm)


def _mean_heart(shape: TemplateShape, size_mm: Floats, names: list[str]) -> tuple[Labels, Roi]:
    """Label map (x, y, z) of the mean heart, ids 1, 2, ... in the order of the names, and its ROI."""
    side = MEAN_HEART_SIDE
    centres = torch.from_numpy(((np.arange(side) + 0.5) / side * 2 - 1).astype(np.float32))
    with torch.no_grad():
        distances = shape.on_lattice((centres, centres, centres), shape.new_codes(1)).numpy()
    chosen = distances[[shape.heads.index(name) for name in names]]
    labels = np.where(chosen.max(axis=0) > 0, chosen.argmax(axis=0) + 1, BACKGROUND).astype(np.uint8)
    grid = Grid((side,) * 3, np.diag([*(np.asarray(size_mm, np.float64) / side), 1.0]))
    return labels, Roi(grid, (0, 0, 0), (side,) * 3)
