"""Settings of the repair of vessel trees; the defaults describe coronary arteries."""

from __future__ import annotations

from dataclasses import dataclass, field

from heartmend.anatomy.calibre import Calibre
from heartmend.geometry.centrelines.measurement import CentrelineSettings
from heartmend.repair.vessels.calcium import Calcium


@dataclass(frozen=True)
class BridgeSettings:
    """Which gaps of a vessel tree are bridged.

    The cost of a link in mm is its length times a factor: 1 + `turn_weight` (a² + b²), where a and b are the angles in
    radians between the link and the vessels at its ends, plus the penalties that apply.

    Attributes:
        max_cost_mm: largest cost of a link, which is the length of the longest straight one.
        turn_weight: weight of the squared angles.
        branch_penalty: added to the factor of a link from a tip to the side of a vessel.
        max_cost_ratio: largest cost of a link as a multiple of the length of the shorter component, beside the
            vessel's width.
        inside_penalty: added to the factor, times the share of the link that runs deep inside the heart.
        direction_mm: length of vessel from which the direction of its tip is estimated.
        root_mm: a vessel whose surface comes as near to the aorta has its root there.
        stump_mm: components with a root that are shorter may be joined to another component with a root.
        ostium_penalty: added to the factor of a link to the aorta.
        root_max_cost_mm: largest cost of a link to the aorta.
        unrooted_mm: longer components without a root are linked in a second round, at higher cost.
        unrooted_max_cost_mm: largest cost of a link in the second round.
        unrooted_root_max_cost_mm: largest cost of a link to the aorta in the second round.
    """

    max_cost_mm: float = 15.0
    turn_weight: float = 0.75
    branch_penalty: float = 0.5
    max_cost_ratio: float = 1.5
    inside_penalty: float = 2.0
    direction_mm: float = 5.0
    root_mm: float = 2.0
    stump_mm: float = 15.0
    ostium_penalty: float = 0.5
    root_max_cost_mm: float = 10.0
    unrooted_mm: float = 15.0
    unrooted_max_cost_mm: float = 30.0
    unrooted_root_max_cost_mm: float = 20.0


@dataclass(frozen=True)
class ImageUse:
    """What the CT of a case is used for in the repair of its thin vessels, beside bridges and veins.

    Attributes:
        follows_lumen: whether the surface moves to the lumen.
        keeps_width: whether the mean width of the tree stays when it does; not for a label that was moved to the width
            of its lumen before.
        calcium: whether calcified plaques belong to the label of a vessel.
        missing_branches: whether branches that the label lacks are added.
    """

    follows_lumen: bool = True
    keeps_width: bool = True
    calcium: Calcium = "as_labelled"
    missing_branches: bool = False


@dataclass(frozen=True)
class TreeSettings(CentrelineSettings):
    """Properties of a vessel tree and of its repair, beside those of its centreline.

    Attributes:
        min_radius_mm: smallest radius of a labelled vessel.
        component_mm: shorter components without a root are removed.
        sparse_mm: where less than this length would be left, short components are kept: most of the tree is missing,
            and they are what is known of it. Right and left arteries have 300 mm and more together.
        far_mm: components at a larger distance from the heart are removed.
        max_removed_share: largest share of the label that may be removed; beyond it the largest components are kept.
        tube_weight: weight of the tube beside the label, 0 to 1; None to estimate it from the label.
        missing_branches: whether branches that the label lacks are searched in the CT.
        calibre: radii of the population's trees; None to leave the width of the tree as it is.
        bridges: which gaps are bridged.
    """

    min_radius_mm: float = 0.5
    component_mm: float = 8.0
    sparse_mm: float = 150.0
    far_mm: float = 10.0
    max_removed_share: float = 1.0
    tube_weight: float | None = None
    missing_branches: bool = False
    calibre: Calibre | None = field(default_factory=Calibre)
    bridges: BridgeSettings = field(default_factory=BridgeSettings)
