"""Numbers from two masks and a spacing: overlap, surface distance, topology, and a cohort before and after."""

from heartmend.metrics.overlap import dice, iou
from heartmend.metrics.score import (
    Row,
    Scores,
    Summary,
    score_case,
    score_mask,
    summarise,
)
from heartmend.metrics.surface import assd, hd95, surface_dice
from heartmend.metrics.table import before_after_table
from heartmend.metrics.topology import cldice, holes, pieces

__all__ = [
    "Row",
    "Scores",
    "Summary",
    "assd",
    "before_after_table",
    "cldice",
    "dice",
    "hd95",
    "holes",
    "iou",
    "pieces",
    "score_case",
    "score_mask",
    "summarise",
    "surface_dice",
]
