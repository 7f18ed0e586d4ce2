"""Metrics of label maps: overlap, surface distances, topology, centrelines, roughness and contact.

From two masks and a voxel spacing, or for the cases of folders. The public names are imported when they are first used.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from heartmend.metrics.case import Row as Row
    from heartmend.metrics.case import evaluate_case as evaluate_case
    from heartmend.metrics.centreline import cldice as cldice
    from heartmend.metrics.contact import contact_mm2 as contact_mm2
    from heartmend.metrics.contact import gap_mm as gap_mm
    from heartmend.metrics.evaluation import Evaluation as Evaluation
    from heartmend.metrics.evaluation import EvaluationSettings as EvaluationSettings
    from heartmend.metrics.metric_catalogue import Metric as Metric
    from heartmend.metrics.metric_catalogue import catalogue as catalogue
    from heartmend.metrics.overlap import dice as dice
    from heartmend.metrics.overlap import iou as iou
    from heartmend.metrics.smoothness import roughness_mm as roughness_mm
    from heartmend.metrics.statistics import PairedTest as PairedTest
    from heartmend.metrics.statistics import Spread as Spread
    from heartmend.metrics.statistics import holm as holm
    from heartmend.metrics.statistics import paired_test as paired_test
    from heartmend.metrics.statistics import spread as spread
    from heartmend.metrics.summary import StructureSummary as StructureSummary
    from heartmend.metrics.summary import summarise as summarise
    from heartmend.metrics.surface import assd as assd
    from heartmend.metrics.surface import hd95 as hd95
    from heartmend.metrics.surface import surface_dice as surface_dice
    from heartmend.metrics.topology import BettiNumbers as BettiNumbers
    from heartmend.metrics.topology import betti_numbers as betti_numbers
    from heartmend.metrics.topology import components as components
    from heartmend.metrics.topology import euler_number as euler_number
    from heartmend.metrics.topology import holes as holes

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "case": ["Row", "evaluate_case"],
        "centreline": ["cldice"],
        "contact": ["contact_mm2", "gap_mm"],
        "evaluation": ["Evaluation", "EvaluationSettings"],
        "metric_catalogue": ["Metric", "catalogue"],
        "overlap": ["dice", "iou"],
        "smoothness": ["roughness_mm"],
        "statistics": ["PairedTest", "Spread", "holm", "paired_test", "spread"],
        "summary": ["StructureSummary", "summarise"],
        "surface": ["assd", "hd95", "surface_dice"],
        "topology": ["BettiNumbers", "betti_numbers", "components", "euler_number", "holes"],
    },
)
