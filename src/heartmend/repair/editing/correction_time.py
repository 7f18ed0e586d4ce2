"""Time that a correction by hand takes: a model that was not fitted to measured times."""

from __future__ import annotations

import math

LOOK_MINUTES = 0.5
"""Time to open a structure, find what is wrong and decide, however small it is."""
STEP_MM = 5.0
"""Distance between the cross-sections that a person outlines; between them the page interpolates."""
OUTLINE_MINUTES = 0.25
"""Time to outline one cross-section."""


def correction_minutes(volume_mm3: float, area_mm2: float) -> float:
    """Estimate the time that a person takes to look at a structure and outline it anew.

    A tube with the volume V and the surface A has the length A² / (4π V), whatever its radius; branches add up. Cross-
    sections are outlined every 5 mm of this length. A ball counts as one and a half times its diameter, a wall as what
    its two outlines take. The times themselves are assumptions: an order by them depends on their ratio alone.

    Args:
        volume_mm3: volume of the structure.
        area_mm2: area of its surface.

    Returns:
        The minutes; those of the look alone for an empty structure.

    Example:
        >>> ball = correction_minutes(4 / 3 * math.pi * 20**3, 4 * math.pi * 20**2)  # diameter 40 mm: counts as 60 mm
        >>> round(ball, 3), correction_minutes(0.0, 0.0)
        (3.5, 0.5)
    """
    if not volume_mm3:
        return LOOK_MINUTES
    length_mm = area_mm2**2 / (4 * math.pi * volume_mm3)
    return LOOK_MINUTES + OUTLINE_MINUTES * length_mm / STEP_MM
