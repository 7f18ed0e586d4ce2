"""Requests of the page to correct a case by hand: checked, and converted into operations."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from heartmend.anatomy.schema import Anatomy
from heartmend.errors import BadInputError
from heartmend.repair.editing.session import Operation, Tool
from heartmend.run_folder.decision_records import MAX_REVIEWER_LENGTH

MAX_OPERATIONS, MAX_POINTS = 300, 4000
"""Of a correction, and of a stroke."""
Plane = Literal["axial", "coronal", "sagittal"]
_AXIS: dict[Plane, int] = {"sagittal": 0, "coronal": 1, "axial": 2}
"""Axis across each plane: the displayed part is in RAS+ order."""
Coordinate = Annotated[float, Field(ge=-1e5, le=1e5, allow_inf_nan=False)]

Point = Annotated[list[Coordinate], Field(min_length=3, max_length=3)]


class EditStep(BaseModel):
    """One operation, as the page sends it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tool: Tool
    structure: Annotated[str, Field(max_length=300)]
    points_mm: Annotated[list[Point], Field(max_length=MAX_POINTS)] = []
    radius_mm: Annotated[float, Field(ge=0.2, le=40)] = 1.0
    plane: Plane | None = None

    def to_operation(self, anatomy: Anatomy) -> Operation:
        """Convert the step into an operation on the displayed part.

        Args:
            anatomy: the structures.

        Returns:
            The operation.

        Raises:
            BadInputError: if the anatomy has no such structure.
        """
        if self.structure not in anatomy.names:
            raise BadInputError(f"no structure {self.structure[:80]!r}")
        points = np.array(self.points_mm, float).reshape(-1, 3)
        axis = None if self.plane is None else _AXIS[self.plane]
        return Operation(self.tool, anatomy.by_name(self.structure).id, points, self.radius_mm, axis)


class EditRequest(BaseModel):
    """All operations of a correction. With a reviewer it is to be saved."""

    model_config = ConfigDict(extra="forbid", strict=True)

    operations: Annotated[list[EditStep], Field(max_length=MAX_OPERATIONS)]
    reviewer: Annotated[str, Field(max_length=MAX_REVIEWER_LENGTH)] = ""
    since: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _check_points(self) -> EditRequest:
        if sum(len(step.points_mm) for step in self.operations) > 10 * MAX_POINTS:
            raise ValueError("too many points; save the correction, then continue")
        return self
