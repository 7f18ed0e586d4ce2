"""Records that the stages write for one another: prepared cases and what is measured over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np

from heartmend.anatomy.calibre import Calibre
from heartmend.errors import BadInputError, RunError
from heartmend.geometry.boxes import Box
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.geometry.surface_noise import lowest_surface_noise_mm2
from heartmend.io.copies import Content
from heartmend.repair.changes import Change
from heartmend.repair.slice_staircase.detection import SliceStaircase
from heartmend.repair.unusual_size import ComparedSize, name_unusual_sizes
from heartmend.types import Labels


@dataclass(frozen=True, eq=False)
class CaseFacts:
    """What is measured of a case when it is prepared.

    Attributes:
        case_id: id of the case.
        roi: region of interest about the heart, on the grid of the label map.
        staircases: slice staircases that were found and removed.
        changes: what was changed in the label map before the fit.
        vessel_radii_mm: mean radius of the original tree of each thin vessel.
        surface_noise_mm2: surface noise (variance) of every other structure.
        warnings: what is unusual about the files of the case.
        structures: names of the structures in its label map.
        value_names: value of its label map -> name of the structure, or of something else; empty for masks.
        content: content of its label map, equal for copies; None where it was not measured.
        sizes: size of each structure, to be compared with the other cases.
    """

    case_id: str
    roi: Roi
    staircases: tuple[SliceStaircase, ...] = ()
    changes: tuple[Change, ...] = ()
    vessel_radii_mm: Mapping[str, float] = field(default_factory=dict)
    surface_noise_mm2: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    structures: tuple[str, ...] = ()
    value_names: Mapping[int, str] = field(default_factory=dict)
    content: Content | None = None
    sizes: Mapping[str, ComparedSize] = field(default_factory=dict)

    @property
    def slice_staircase_mm(self) -> float:
        """Thickness of the slices that the label map was drawn on, over all axes; 0 without a slice staircase."""
        spacing = self.roi.grid.spacing_mm
        return float(np.linalg.norm([stairs.thickness * spacing[stairs.axis] for stairs in self.staircases]))

    def to_dict(self) -> dict[str, Any]:
        """Convert the facts into a table for JSON.

        Returns:
            The table.
        """
        return {
            "roi": self.roi.to_dict(),
            "slice_staircases": [asdict(staircase) for staircase in self.staircases],
            "changes": [change.to_dict() for change in self.changes],
            "vessel_radii_mm": dict(self.vessel_radii_mm),
            "surface_noise_mm2": dict(self.surface_noise_mm2),
            "warnings": self.warnings,
            "structures": self.structures,
            "value_names": {str(value): name for value, name in self.value_names.items()},
            "content": None if self.content is None else asdict(self.content),
            "sizes": {name: asdict(size) for name, size in self.sizes.items()},
        }

    @classmethod
    def from_dict(cls, case_id: str, table: Any) -> Self:
        """Read the facts from the table of `to_dict`.

        Args:
            case_id: id of the case.
            table: the table.

        Returns:
            The facts.

        Raises:
            RunError: if the table is damaged.
        """
        try:
            return cls(
                case_id,
                Roi.from_dict(table["roi"]),
                tuple(SliceStaircase(**staircase) for staircase in table["slice_staircases"]),
                tuple(Change.from_dict(change) for change in table["changes"]),
                {str(name): float(value) for name, value in table["vessel_radii_mm"].items()},
                {str(name): float(value) for name, value in table["surface_noise_mm2"].items()},
                tuple(table["warnings"]),
                tuple(table["structures"]),
                {int(value): str(name) for value, name in table["value_names"].items()},
                None if table.get("content") is None else Content(**table["content"]),
                {str(name): ComparedSize(**size) for name, size in table.get("sizes", {}).items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError, BadInputError) as error:
            raise RunError(
                f"case {case_id}: its record is damaged; run `heartmend prepare` again ({error!r})"
            ) from error


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """A case in the unit frame.

    Attributes:
        facts: what was measured of the case.
        cube: (n, n, n) uint8, the labels at the cells of the unit frame; 255 where nothing is known.
        cleaned: (x, y, z) uint8, the label map on the voxels of the ROI, without its visible errors.
    """

    facts: CaseFacts
    cube: Labels
    cleaned: Labels

    @property
    def case_id(self) -> str:
        """Id of the case."""
        return self.facts.case_id

    @property
    def roi(self) -> Roi:
        """Region of interest about the heart."""
        return self.facts.roi


@dataclass(frozen=True)
class CohortStatistics:
    """What is measured over all cases of a cohort.

    Attributes:
        calibres: radius of the trees of each thin vessel.
        lowest_surface_noise_mm2: surface noise (variance) of the cleanest labels, by structure, as on voxels of
            `REFERENCE_VOXEL_MM`; infinite where there are too few cases to measure it.
        unusual_sizes: remarks about structures of an unusual size, and about those that others have, by case.
    """

    calibres: Mapping[str, Calibre] = field(default_factory=dict)
    lowest_surface_noise_mm2: Mapping[str, float] = field(default_factory=dict)
    unusual_sizes: Mapping[str, tuple[Change, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, cases: Iterable[CaseFacts]) -> CohortStatistics:
        """Measure a cohort from the facts of its cases.

        Args:
            cases: the facts of all cases.

        Returns:
            The statistics.
        """
        radii: dict[str, list[tuple[float, float]]] = {}
        noises: dict[str, list[tuple[float, float]]] = {}
        sizes, hearts = dict[str, Mapping[str, ComparedSize]](), dict[str, tuple[Box, Grid]]()
        for facts in cases:
            sizes[facts.case_id], hearts[facts.case_id] = facts.sizes, (facts.roi.source_box(), facts.roi.grid)
            for name, radius_mm in facts.vessel_radii_mm.items():
                radii.setdefault(name, []).append((radius_mm, min(facts.roi.grid.spacing_mm)))
            for name, noise in facts.surface_noise_mm2.items():
                noises.setdefault(name, []).append((noise, min(facts.roi.grid.spacing_mm)))
        calibres = {}
        for name, found in radii.items():
            radii_mm, voxels_mm = zip(*found, strict=True)
            calibres[name] = Calibre.of_cohort(radii_mm, float(np.median(voxels_mm)))
        lowest = {name: lowest_surface_noise_mm2(*zip(*found, strict=True)) for name, found in noises.items()}
        return cls(calibres, lowest, name_unusual_sizes(sizes, hearts))
