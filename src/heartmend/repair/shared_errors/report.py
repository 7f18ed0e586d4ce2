"""What is known of the errors that all cases of a run share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from heartmend.errors import RunError
from heartmend.repair.shared_errors.regions import RegionError

Source = Literal["image", "trusted", "convention"]


@dataclass(frozen=True)
class PatchRecord:
    """Error of a patch of a surface, for drawing.

    Attributes:
        structure: name of the structure.
        region: name of its region.
        place_mm: place on the mean heart, in mm from its middle (right, anterior, superior).
        error_mm: mean signed error over the cases; None where it is not known.
        left_mm: the same after the correction.
    """

    structure: str
    region: str
    place_mm: tuple[float, float, float]
    error_mm: float | None
    left_mm: float | None = None


@dataclass(frozen=True)
class SharedErrors:
    """Errors that all cases share, and how they were found.

    Attributes:
        source: what the surfaces were compared with.
        is_corrected: whether the surfaces of all cases were moved.
        n_cases: number of cases that were measured.
        regions: the named regions.
        patches: the patches of the surfaces.
        edge_shares: share of the patches of each case at which its CT has an edge, by case id; empty without CTs.
    """

    source: Source
    is_corrected: bool
    n_cases: int
    regions: Sequence[RegionError] = ()
    patches: Sequence[PatchRecord] = ()
    edge_shares: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Convert the record for JSON.

        Returns:
            The table.
        """
        return {
            "source": self.source, "is_corrected": self.is_corrected, "n_cases": self.n_cases,
            "regions": [region.to_dict() for region in self.regions], "patches": [vars(one) for one in self.patches],
            "edge_shares": dict(self.edge_shares),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        """Read the record from the table of `to_dict`.

        Args:
            table: the table.

        Returns:
            The record.

        Raises:
            RunError: if the table is damaged.
        """
        try:
            return cls(
                table["source"], bool(table["is_corrected"]), int(table["n_cases"]),
                tuple(RegionError.from_dict(region) for region in table["regions"]),
                tuple(PatchRecord(**{**one, "place_mm": tuple(one["place_mm"])}) for one in table["patches"]),
                {str(id): float(share) for id, share in table.get("edge_shares", {}).items()},
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"the record of the shared errors is damaged: {error!r}") from error
