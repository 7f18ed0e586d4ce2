"""Thin vessels are mended as what they are: a tree of tubes whose radius varies slowly, rooted at the aorta."""

from heartmend.vessels.bridge import Bridge, BridgeRules
from heartmend.vessels.calibre import Calibre
from heartmend.vessels.mend import Removed, TreeResult, TreeSettings, measure_tree, mend_tree, tree_radius_mm
from heartmend.vessels.tree import CentreTree
from heartmend.vessels.tube import tube_sdf

__all__ = [
    "Bridge",
    "BridgeRules",
    "Calibre",
    "CentreTree",
    "Removed",
    "TreeResult",
    "TreeSettings",
    "measure_tree",
    "mend_tree",
    "tree_radius_mm",
    "tube_sdf",
]
