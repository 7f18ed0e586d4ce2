"""What a rule changed, where and how much: the entries of the audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Literal, Self

from heartmend.geometry.boxes import Box
from heartmend.geometry.grid import Grid

Severity = Literal["info", "review", "warning"]
"""`info`: as it should be. `look`: a person may want to look. `warn`: a person should look."""
SEVERITIES: tuple[Severity, ...] = ("info", "review", "warning")

Corner = tuple[float, float, float]


@dataclass(frozen=True)
class Change:
    """One change to one structure, or with no voxels one remark about it."""

    rule: str
    structure: str
    """The structure that gained, lost or is spoken of; empty where it is all of them."""
    action: str
    """`filled`, `moved to LA`, `dropped`, `joined`, `shifted`, `kept`, `cut off`."""
    voxels: int
    volume_mm3: float
    box_mm: tuple[Corner, Corner]
    """Lowest and highest corner, in the millimetres (RAS+) of the map that came in."""
    severity: Severity = "info"
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """A table for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        """The change that `to_dict` wrote."""
        low, high = (tuple(float(v) for v in corner) for corner in table["box_mm"])
        return cls(**{**table, "box_mm": (low, high)})


def box_in_mm(box: Box, grid: Grid) -> tuple[Corner, Corner]:
    """The upright box about a box of voxels, faces included, in mm."""
    faces = [(s.start - 0.5, s.stop - 0.5) for s in box]
    corners = grid.index_to_world(list(product(*faces)))
    low, high = (tuple(round(float(v), 2) for v in corner) for corner in (corners.min(axis=0), corners.max(axis=0)))
    return low, high  # type: ignore[return-value]  # three each: a corner has as many numbers as a voxel has axes
