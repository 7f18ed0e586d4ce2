"""Parameters of the anatomical rules: the `[[rules]]` tables of an anatomy file.

To add a rule: one more class here and in `Rule`, and its function in `heartmend.repair.rules`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Length = Annotated[float, Field(strict=True, gt=0, le=200)]
Volume = Annotated[float, Field(strict=True, ge=0, le=1e7)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Names = Annotated[tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=254)]


class _RuleTable(BaseModel):
    """Settings that all rules have."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    structures: Names = ()
    """Names of the structures that the rule applies to; empty for all structures of the kinds it is made for."""


class SlicesRule(_RuleTable):
    """Interpolate slices that are missing, or that disagree with both neighbours while these agree."""

    rule: Literal["slices"]
    max_gap_mm: Length = 5.0
    """Largest thickness of the interpolated slices, in mm."""
    min_agreement: Share = 0.7
    """Dice of the two neighbouring slices from which on they agree."""
    empty_share: Share = 0.15
    """A slice with less than this share of its neighbours' voxels is missing."""


class ShiftsRule(_RuleTable):
    """Move a run of slices back that is shifted in its plane against the slices before and after it."""

    rule: Literal["shifts"]
    max_shift_mm: Length = 6.0
    """Largest shift that is corrected, in mm."""
    max_run_mm: Length = 30.0
    """Largest thickness of a shifted run, in mm."""


class SpeckleRule(_RuleTable):
    """Relabel components of a few voxels by the majority of their neighbours."""

    rule: Literal["speckle"]
    max_voxels: Annotated[int, Field(strict=True, ge=1, le=8)] = 2
    """Largest component that counts as speckle, in voxels."""
    clear_share: Share = 0.6
    """A speck of background is filled if one structure makes up this share of its neighbours."""


class SwapsRule(_RuleTable):
    """Relabel a patch that is severed from its structure, or on a thin neck, as the structure around it."""

    rule: Literal["swaps"]
    surrounded: Share = 0.65
    """Smallest share of a severed patch's surroundings that one other structure makes up."""
    neck_mm: Length = 4.0
    """A neck thinner than this does not connect a patch to its structure, in mm."""
    neck_surrounded: Share = 0.85
    """Smallest share, as `surrounded`, for a patch on a neck."""
    max_share: Share = 0.2
    """A patch larger than this share of its structure is not changed, but reported."""
    sure_mm: Length = 1.0
    """A patch is not changed where its own implicit shape exceeds that of the other structure by this much, in mm."""


class CutVesselsRule(_RuleTable):
    """Join two ends of a vessel that face each other."""

    rule: Literal["cut_vessels"]
    max_gap_mm: Length = 15.0
    """Longest gap that is bridged, in mm."""
    min_section: Share = 0.35
    """Smallest ratio of the two ends' cross sections, and of the bridge's cross section to the smaller of them."""
    free: Share = 0.6
    """Smallest share of the bridge that is background."""
    half: Share = 0.25
    """Two components, the smaller at least this share of the larger, are halves of a structure that is expected in one
    component: they are joined even where their ends are no tubes."""
    close_mm: Length = 5.0
    """Two components this near are joined in the same way, however many are expected, in mm."""
    touch_mm: Length = 6.0
    """Veins this near to the structure they grow out of are not joined to each other, in mm."""
    worth: Annotated[float, Field(strict=True, gt=0, le=100)] = 1.5
    """Largest volume of a bridge, as a multiple of the smaller component."""
    against_mm: Length = 4.0
    """The implicit shape forbids a bridge that is on average this far outside it, in mm."""


class HolesRule(_RuleTable):
    """Fill background that a structure encloses, and small pockets that are mostly enclosed."""

    rule: Literal["holes"]
    max_pocket_mm3: Volume = 100.0
    """Largest pocket between several structures that is filled, in mm³."""
    wall_share: Share = 0.7
    """A pocket becomes the structure that makes up this share of its wall."""


class ComponentsRule(_RuleTable):
    """Remove small components, and components beyond the expected number."""

    rule: Literal["components"]
    min_share: Share = 0.05
    """A component below this share of its structure's largest one is a small component too."""
    keep_share: Share = 0.25
    """A component beyond the expected number but above this share stays, and is reported."""
    touch_mm: Length = 6.0
    """A component this near to the structure it grows out of is connected to it, in mm: labels of lumens leave a wall
    of 2 to 3 mm between."""


class DetachedSegmentsRule(_RuleTable):
    """Remove segments of a tree of thin vessels that are short, or far from the structures the tree runs on."""

    rule: Literal["detached_segments"]
    near: Annotated[Names, Field(min_length=1)]
    """Names of the structures that the tree runs on."""
    max_mm: Length = 10.0
    """Largest distance from these structures, in mm."""
    min_length_mm: Length = 4.0
    """Smallest length of a segment without a root, in mm."""
    root: str
    """Name of the structure in which the trees start."""


class FieldOfViewRule(_RuleTable):
    """Report the structures that are cut off by the border of the volume."""

    rule: Literal["field_of_view"]


Rule = Annotated[
    SlicesRule
    | ShiftsRule
    | SpeckleRule
    | SwapsRule
    | CutVesselsRule
    | HolesRule
    | ComponentsRule
    | DetachedSegmentsRule
    | FieldOfViewRule,
    Field(discriminator="rule"),
]
"""One `[[rules]]` table; its key `rule` decides which."""
