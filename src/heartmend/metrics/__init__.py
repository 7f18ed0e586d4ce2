"""Numbers from label maps and a spacing: overlap, surface, topology, centreline, smoothness, contact; one case or many.

`evaluate_case` measures a case; `catalogue` lists the metrics; the functions of single masks are here too.
"""

from heartmend.metrics.case import Row, Which, evaluate_case
from heartmend.metrics.catalogue import TOLERANCES_MM, Better, Metric, catalogue
from heartmend.metrics.centreline import cldice
from heartmend.metrics.export import FlatTable, flat_tables
from heartmend.metrics.overlap import dice, iou
from heartmend.metrics.segment import Segment
from heartmend.metrics.statistics import PairedTest, Spread, paired_test, spread
from heartmend.metrics.summary import StructureSummary, summarise
from heartmend.metrics.surface import assd, hd95, surface_dice
from heartmend.metrics.table import summary_tables
from heartmend.metrics.topology import betti_numbers, euler_number, holes, pieces

__all__ = [
    "TOLERANCES_MM",
    "Better",
    "FlatTable",
    "Metric",
    "PairedTest",
    "Row",
    "Segment",
    "Spread",
    "StructureSummary",
    "Which",
    "assd",
    "betti_numbers",
    "catalogue",
    "cldice",
    "dice",
    "euler_number",
    "evaluate_case",
    "flat_tables",
    "hd95",
    "holes",
    "iou",
    "paired_test",
    "pieces",
    "spread",
    "summarise",
    "summary_tables",
    "surface_dice",
]
