"""Catalogue of the metrics of an evaluation: key, unit, direction and function of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Literal

import numpy as np

from heartmend.anatomy.schema import Structure
from heartmend.errors import ConfigError
from heartmend.metrics.centreline import OVERLAP_MM, centreline_dice, centreline_overlap, centreline_precision
from heartmend.metrics.contact import contact_mm2, gap_mm
from heartmend.metrics.overlap import dice, iou
from heartmend.metrics.segment import Segment
from heartmend.metrics.smoothness import segment_roughness_mm
from heartmend.metrics.surface import SurfaceDistances, surface_distances
from heartmend.metrics.tree_overlap import TreeOverlap, tree_overlap
from heartmend.types import FloatArray, Mask

TOLERANCES_MM = (0.5, 1.0, 2.0, 3.0)
"""Default tolerances of the surface Dice in mm."""

Better = Literal["higher", "lower", "one", "none"]
"""Which values are better: `one` means the nearer to 1, `none` neither direction."""


@dataclass(frozen=True, eq=False)
class Subject:
    """Input of a metric: one structure of one label map, and the segment it is compared with.

    Attributes:
        structure: entry of the anatomy; None for a plain mask.
        segment: the structure's mask.
        other: the segment to compare with, in the same box; None for metrics of one map alone.
        with_host: finds the masks of the structure and of its hosts (`must_touch` and `root`) in one box.
        root_mm: finds (k, 3) positions of the structure's root in the map that it is compared with, in mm from the
            centre of the first voxel of the box; none where it has no root.
    """

    structure: Structure | None
    segment: Segment
    other: Segment | None = None
    with_host: Callable[[], tuple[Mask, Mask] | None] = lambda: None
    root_mm: Callable[[], FloatArray] = lambda: np.zeros((0, 3))

    @property
    def against(self) -> Segment:
        """Segment to compare with.

        Raises:
            ValueError: if there is none.
        """
        if self.other is None:
            raise ValueError("a metric of a pair needs a segment to compare with")
        return self.other

    @cached_property
    def distances(self) -> SurfaceDistances:
        """Distances between the surfaces of the two segments."""
        return surface_distances(self.segment, self.against)

    @cached_property
    def tree_overlap(self) -> TreeOverlap | None:
        """Agreement of the centrelines with those of a reference; None for what is no thin vessel."""
        if self.structure is None or self.structure.kind != "tube":
            return None
        return tree_overlap(self.segment.tree, self.against.tree, self.root_mm())

    @cached_property
    def contact(self) -> tuple[float | None, float | None]:
        """Contact area (mm²) and gap (mm) with the hosts; None without a host."""
        if (masks := self.with_host()) is None:
            return None, None
        area = contact_mm2(*masks, self.segment.spacing_mm)
        return area, 0.0 if area else gap_mm(*masks, self.segment.spacing_mm)


@dataclass(frozen=True)
class Metric:
    """One metric, which is one column of the table of cases.

    Attributes:
        key: name of the column; ends with the unit, if there is one.
        title: name for people.
        unit: unit of the values; empty for ratios and counts.
        better: which values are better.
        digits: decimals in a table.
        pair: whether it compares two label maps; otherwise it measures one map alone.
        measure: function that computes it; returns None where the metric is undefined.
    """

    key: str
    title: str
    unit: str
    better: Better
    digits: int
    pair: bool
    measure: Callable[[Subject], float | None]

    def gain(self, a: float, b: float) -> float:
        """Compute the improvement from a to b.

        Args:
            a: value before.
            b: value after.

        Returns:
            The improvement in the unit of the metric: above 0 if b is better, below 0 if it is worse; 0 for a metric
            without a better direction.

        Example:
            >>> hd95_mm = catalogue(keys=["hd95_mm"])[0]
            >>> hd95_mm.gain(3.0, 2.0)
            1.0
        """
        match self.better:
            case "higher":
                return b - a
            case "lower":
                return a - b
            case "one":
                return abs(a - 1) - abs(b - 1)
            case "none":
                return 0.0


def catalogue(tolerances_mm: Sequence[float] = TOLERANCES_MM, keys: Iterable[str] = ()) -> tuple[Metric, ...]:
    """List the metrics in the order of the table.

    Args:
        tolerances_mm: tolerances of the surface Dice in mm, one metric for each.
        keys: keys of the selected metrics; all if empty.

    Returns:
        The metrics.

    Raises:
        ConfigError: for a tolerance that is not a positive length, or an unknown key.

    Example:
        >>> [metric.key for metric in catalogue([2.0], keys=["dice", "nsd_2mm"])]
        ['dice', 'nsd_2mm']
    """
    if bad := [t for t in tolerances_mm if not 0 < t < inf]:
        raise ConfigError(f"a tolerance of {bad[0]:g} mm is not a length above 0; give numbers in mm, such as 0.5,1,2")
    surface = [
        Metric(f"nsd_{t:g}mm", f"NSD {t:g} mm", "", "higher", 3, True, _within(t)) for t in dict.fromkeys(tolerances_mm)
    ]
    metrics = [*_OVERLAP, *surface, *_DISTANCE, *_CENTRELINE, *_TOPOLOGY_ERRORS, *_ALONE]
    if not (wanted := set(keys)):
        return tuple(metrics)
    if unknown := sorted(wanted - {metric.key for metric in metrics}):
        known = ", ".join(metric.key for metric in metrics)
        raise ConfigError(f"unknown metric {unknown[0]!r}; the metrics are {known}")
    return tuple(metric for metric in metrics if metric.key in wanted)


def _within(tolerance_mm: float) -> Callable[[Subject], float]:
    return lambda s: s.distances.within(tolerance_mm)


def _of_thin_vessels(measure: Callable[[Segment, Segment], float]) -> Callable[[Subject], float | None]:
    # Nothing is known about a plain mask, so it may be a vessel.
    return lambda s: measure(s.segment, s.against) if s.structure is None or s.structure.kind == "tube" else None


def _of_trees(measure: Callable[[TreeOverlap], float]) -> Callable[[Subject], float | None]:
    return lambda s: None if s.tree_overlap is None else measure(s.tree_overlap)


def _volume_ratio(s: Subject) -> float | None:
    return s.segment.voxels / s.against.voxels if s.against.voxels else None


def _off_expected(count: Callable[[Segment], int]) -> Callable[[Subject], float | None]:
    """Difference between a count and the number of components that the anatomy expects."""
    return lambda s: None if s.structure is None else float(abs(count(s.segment) - s.structure.components))


_OVERLAP = (
    Metric("dice", "Dice", "", "higher", 3, True, lambda s: dice(s.segment.mask, s.against.mask)),
    Metric("iou", "IoU", "", "higher", 3, True, lambda s: iou(s.segment.mask, s.against.mask)),
    Metric("volume_ratio", "volume ratio", "", "one", 3, True, _volume_ratio),
)
_DISTANCE = (
    Metric("hd95_mm", "HD95", "mm", "lower", 2, True, lambda s: s.distances.percentile_mm(95)),
    Metric("assd_mm", "ASSD", "mm", "lower", 2, True, lambda s: s.distances.mean_mm()),
)
_CENTRELINE = (
    Metric("cldice", "clDice", "", "higher", 3, True, _of_thin_vessels(centreline_dice)),
    Metric(
        f"centreline_overlap_{OVERLAP_MM:g}mm", f"centreline overlap {OVERLAP_MM:g} mm", "", "higher", 3, True,
        _of_thin_vessels(centreline_overlap),
    ),
    Metric(
        f"centreline_precision_{OVERLAP_MM:g}mm", f"centreline precision {OVERLAP_MM:g} mm", "", "higher", 3, True,
        _of_thin_vessels(centreline_precision),
    ),
    Metric(
        f"centreline_recall_{OVERLAP_MM:g}mm", f"centreline recall {OVERLAP_MM:g} mm", "", "higher", 3, True,
        _of_thin_vessels(lambda a, b: centreline_precision(b, a)),
    ),
    Metric("centreline_ov", "centreline OV", "", "higher", 3, True, _of_trees(lambda o: o.overlap)),
    Metric("centreline_of", "centreline OF", "", "higher", 3, True, _of_trees(lambda o: o.until_first_error)),
    Metric("centreline_ot", "centreline OT", "", "higher", 3, True, _of_trees(lambda o: o.relevant_overlap)),
)  # fmt: skip
_TOPOLOGY_ERRORS = (
    Metric(
        "component_count_error", "component count error", "", "lower", 1, True,
        lambda s: float(abs(s.segment.betti.components - s.against.betti.components)),
    ),
    Metric(
        "tunnel_count_error", "tunnel count error", "", "lower", 1, True,
        lambda s: float(abs(s.segment.betti.tunnels - s.against.betti.tunnels)),
    ),
    Metric(
        "euler_error", "Euler number error", "", "lower", 1, True,
        lambda s: float(abs(s.segment.betti.euler - s.against.betti.euler)),
    ),
)  # fmt: skip
_ALONE = (
    Metric("volume_ml", "volume", "ml", "none", 1, False, lambda s: s.segment.volume_mm3 / 1000),
    Metric("components", "components", "", "none", 1, False, lambda s: float(s.segment.betti.components)),
    Metric(
        "components_unexpected", "components off the expected number", "", "lower", 1, False,
        _off_expected(lambda segment: segment.betti.components),
    ),
    Metric("holes", "holes", "", "lower", 1, False, lambda s: float(s.segment.betti.cavities)),
    Metric("tunnels", "tunnels", "", "lower", 1, False, lambda s: float(s.segment.betti.tunnels)),
    Metric("euler", "Euler number", "", "none", 1, False, lambda s: float(s.segment.betti.euler)),
    Metric(
        "euler_unexpected", "Euler number off the expected one", "", "lower", 1, False,
        _off_expected(lambda segment: segment.betti.euler),
    ),
    Metric("roughness_mm", "roughness", "mm", "lower", 2, False, lambda s: segment_roughness_mm(s.segment)),
    Metric("contact_mm2", "contact", "mm²", "none", 0, False, lambda s: s.contact[0]),
    Metric("gap_mm", "gap", "mm", "lower", 2, False, lambda s: s.contact[1]),
)  # fmt: skip
