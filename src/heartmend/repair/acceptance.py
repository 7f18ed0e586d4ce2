"""Do no harm: a mended mask that departs too far from the one that came in is not taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cc3d
import numpy as np

from heartmend.anatomy.schema import Structure
from heartmend.metrics.surface import hd95
from heartmend.types import Mask

# Smaller pieces say nothing about a shape, and to remove one is no harm.
SMALL_COMPONENT_SHARE = 0.05


@dataclass(frozen=True)
class Verdict:
    """Whether a mended mask may be kept. `volume_ratio` and `surface_mm` (95th percentile) are None for empty masks."""

    structure: str
    accepted: bool
    volume_ratio: float | None
    surface_mm: float | None
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """A table for JSON."""
        return asdict(self)


def check(before: Mask, after: Mask, structure: Structure, spacing_mm: Sequence[float]) -> Verdict:
    """Hold a mended mask against the one that came in, by the limits of the anatomy file.

    What came in counts without its crumbs and islands, so that to take these away is no change.
    """
    name = structure.name
    if not before.any() or not after.any():
        if before.any() == after.any():
            return Verdict(name, True, None, None)
        reason = "was absent and must stay so" if after.any() else "nothing is left of it"
        return Verdict(name, False, None, None, reason)
    bulk = bulk_of(before, structure, spacing_mm)
    ratio = int(after.sum()) / int(bulk.sum())
    surface = hd95(bulk, after, spacing_mm)
    low, high = structure.max_volume_change
    faults = []
    if not low <= ratio <= high:
        faults.append(f"volume is {ratio:.2f} of what it was, beyond {low:g} to {high:g}")
    if surface > structure.max_surface_mm:
        faults.append(f"surface moved {surface:.1f} mm, beyond {structure.max_surface_mm:g} mm")
    return Verdict(name, not faults, round(ratio, 4), round(surface, 3), "; ".join(faults))


def bulk_of(mask: Mask, structure: Structure, spacing_mm: Sequence[float]) -> Mask:
    """The mask without its crumbs; of thin vessels every piece above the crumb limit counts, however short."""
    parts, count = cc3d.connected_components(mask, connectivity=26, return_N=True)
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    share = 0.0 if structure.kind == "tube" else SMALL_COMPONENT_SHARE
    least = max(structure.min_mm3 / float(np.prod(spacing_mm)), share * int(sizes.max()))
    kept: Mask = (sizes >= min(least, int(sizes.max())))[parts] & mask
    return kept
