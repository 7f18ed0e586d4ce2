"""Estimated errors of a structure in its case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True)
class StructureEstimate:
    """Estimated errors of a repaired structure against a truth that is not known.

    Attributes:
        structure: name of the structure.
        dice: expected Dice.
        dice_low: lower bound of the 90 % interval of the Dice.
        dice_high: upper bound of that interval.
        surface_mm: expected mean distance of the two surfaces (ASSD).
        surface_low_mm: lower bound of the 90 % interval of that distance.
        surface_high_mm: upper bound of that interval.
    """

    structure: str
    dice: float
    dice_low: float
    dice_high: float
    surface_mm: float
    surface_low_mm: float
    surface_high_mm: float

    @property
    def expected_error(self) -> float:
        """Expected Dice error, 1 - Dice."""
        return 1 - self.dice

    def to_dict(self) -> dict[str, Any]:
        """Convert the estimate to a table for JSON.

        Returns:
            The table.
        """
        return asdict(self)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        """Create an estimate from its table.

        Args:
            table: table that `to_dict` made, or its copy read from JSON.

        Returns:
            The estimate.

        Raises:
            TypeError: if it has unknown or missing keys.
        """
        return cls(**table)
