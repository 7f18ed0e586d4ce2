"""Every metric of an evaluation by the name of its column, with its unit and what is better."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Literal

from heartmend.anatomy.schema import Structure
from heartmend.errors import ConfigError
from heartmend.metrics.centreline import OVERLAP_MM, centreline_dice, centreline_overlap
from heartmend.metrics.contact import contact_mm2, gap_mm
from heartmend.metrics.overlap import dice, iou
from heartmend.metrics.segment import Segment
from heartmend.metrics.smoothness import roughness_mm
from heartmend.metrics.surface import SurfaceDistances, surface_distances
from heartmend.types import Mask

TOLERANCES_MM = (0.5, 1.0, 2.0, 3.0)

Better = Literal["higher", "lower", "one", "none"]
"""Which values are better; `one`: the nearer to 1; `none`: neither way."""


@dataclass(frozen=True, eq=False)
class Subject:
    """What is measured: a structure in one label map, what it grows out of there, and the segment to compare with."""

    structure: Structure
    segment: Segment
    other: Segment | None = None
    with_host: Callable[[], tuple[Mask, Mask] | None] = lambda: None
    """Finds the structure and what it grows out of (its `must_touch` and `root`), in one box."""

    @property
    def against(self) -> Segment:
        """The segment to compare with; only for metrics of a pair."""
        if self.other is None:
            raise ValueError("there is nothing to compare with")
        return self.other

    @cached_property
    def distances(self) -> SurfaceDistances:
        """Between the segment's surface and the other's."""
        return surface_distances(self.segment, self.against)

    @cached_property
    def contact(self) -> tuple[float | None, float | None]:
        """Contact (mm²) and gap (mm) with what it grows out of."""
        if (masks := self.with_host()) is None:
            return None, None
        area = contact_mm2(*masks, self.segment.spacing_mm)
        return area, 0.0 if area else gap_mm(*masks, self.segment.spacing_mm)


@dataclass(frozen=True)
class Metric:
    """One column of the table. `measure` gives None where the metric has no meaning, such as a ratio to nothing."""

    key: str
    """Its name; ends with the unit where it has one."""
    title: str
    unit: str
    better: Better
    digits: int
    pair: bool
    """Whether it compares with another label map; others are of one map alone."""
    measure: Callable[[Subject], float | None]

    def gain(self, a: float, b: float) -> float:
        """By how much `b` is better than `a`, below 0 worse; 0 where neither way is better."""
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
    """The metrics in the order of the table; with `keys` these alone.

    Raises ConfigError for a tolerance that is no positive length, and for a key that there is not.
    """
    if bad := [t for t in tolerances_mm if not 0 < t < inf]:
        raise ConfigError(f"a tolerance of {bad[0]:g} mm is no length; give positive numbers, such as 0.5,1,2,3")
    surface = [
        Metric(f"nsd_{t:g}mm", f"NSD {t:g} mm", "", "higher", 3, True, _within(t)) for t in dict.fromkeys(tolerances_mm)
    ]
    metrics = [*_OVERLAP, *surface, *_DISTANCE, *_CENTRELINE, *_OFF, *_OWN]
    if not (wanted := set(keys)):
        return tuple(metrics)
    if unknown := sorted(wanted - {metric.key for metric in metrics}):
        raise ConfigError(f"no metric is called {unknown[0]!r}; there are {', '.join(m.key for m in metrics)}")
    return tuple(metric for metric in metrics if metric.key in wanted)


def _within(tolerance_mm: float) -> Callable[[Subject], float]:
    return lambda s: s.distances.within(tolerance_mm)


def _if_tube(measure: Callable[[Segment, Segment], float]) -> Callable[[Subject], float | None]:
    return lambda s: measure(s.segment, s.against) if s.structure.kind == "tube" else None


def _volume_ratio(s: Subject) -> float | None:
    return s.segment.voxels / s.against.voxels if s.against.voxels else None


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
    Metric("cldice", "clDice", "", "higher", 3, True, _if_tube(centreline_dice)),
    Metric(
        f"centreline_overlap_{OVERLAP_MM:g}mm", f"centreline overlap {OVERLAP_MM:g} mm", "", "higher", 3, True,
        _if_tube(centreline_overlap),
    ),
)  # fmt: skip
_OFF = (
    Metric(
        "component_count_error", "pieces off", "", "lower", 1, True,
        lambda s: float(abs(s.segment.betti.components - s.against.betti.components)),
    ),
    Metric(
        "euler_error", "Euler off", "", "lower", 1, True,
        lambda s: float(abs(s.segment.betti.euler - s.against.betti.euler)),
    ),
)  # fmt: skip
_OWN = (
    Metric("volume_ml", "volume", "ml", "none", 1, False, lambda s: s.segment.volume_mm3 / 1000),
    Metric("components", "components", "", "none", 1, False, lambda s: float(s.segment.betti.components)),
    Metric(
        "component_count_error", "pieces unexpected", "", "lower", 1, False,
        lambda s: float(abs(s.segment.betti.components - s.structure.components)),
    ),
    Metric("holes", "holes", "", "lower", 1, False, lambda s: float(s.segment.betti.cavities)),
    Metric("tunnels", "tunnels", "", "lower", 1, False, lambda s: float(s.segment.betti.tunnels)),
    Metric("euler", "Euler number", "", "none", 1, False, lambda s: float(s.segment.betti.euler)),
    Metric(
        "euler_error", "Euler unexpected", "", "lower", 1, False,
        lambda s: float(abs(s.segment.betti.euler - s.structure.components)),
    ),
    Metric(
        "roughness_mm", "roughness", "mm", "lower", 2, False, lambda s: roughness_mm(s.segment)
    ),
    Metric("contact_mm2", "contact", "mm²", "none", 0, False, lambda s: s.contact[0]),
    Metric("gap_mm", "gap", "mm", "lower", 2, False, lambda s: s.contact[1]),
)  # fmt: skip
