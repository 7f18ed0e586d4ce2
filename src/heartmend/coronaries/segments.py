"""Segments of the coronary arteries with the ids of ImageCAS-X.

Bransby et al. 2026: ImageCAS-X, a dataset and benchmark for validating coronary vessel segmentation and centerline
extraction in CT angiography; github.com/kitbransby/ImageCAS-X, doi 10.5281/zenodo.21887809.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

PRESET = "imagecas-x"
"""Name of the table of values (`--preset-ids`) of label maps whose values are `Segment`."""


class Side(IntEnum):
    """Tree that a vessel belongs to."""

    UNKNOWN = 0
    LEFT = 1
    RIGHT = 2

    @property
    def label(self) -> str:
        """The side in lower case."""
        return self.name.lower()


class Segment(IntEnum):
    """Id of a segment in the label maps of ImageCAS-X."""

    LM = 1
    LAD = 2
    LCX = 3
    D1 = 4
    D2 = 5
    OM1 = 6
    OM2 = 7
    IM = 8
    RCA = 9
    R_PDA = 10
    R_PLA = 11
    L_PDA = 12
    L_PLA = 13
    OTHER = 14

    @property
    def label(self) -> str:
        """Name of the segment as in ImageCAS-X.

        Example:
            >>> Segment.R_PDA.label, Segment.LCX.label
            ('R-PDA', 'LCx')
        """
        return {"LCX": "LCx", "OTHER": "Other"}.get(self.name, self.name.replace("_", "-"))

    @property
    def tree(self) -> Side:
        """The tree that it is a part of; unknown for `OTHER`."""
        if self == Segment.OTHER:
            return Side.UNKNOWN
        return Side.RIGHT if self in (Segment.RCA, Segment.R_PDA, Segment.R_PLA) else Side.LEFT


@dataclass(frozen=True)
class NamedSegment:
    """Segment of a case, as it was found.

    Attributes:
        segment: which one.
        side: the tree it belongs to.
        length_mm: length of its centreline.
        confidence: 0 to 1, share of right names among segments like this one.
    """

    segment: Segment
    side: Side
    length_mm: float
    confidence: float
