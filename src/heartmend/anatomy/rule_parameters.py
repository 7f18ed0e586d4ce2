"""The `[[rules]]` of an anatomy file: which rules of anatomy hold, in which order, with which parameters.

To add a rule: one more table here, in `Rule`, and its function in `heartmend.repair.rules`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Length = Annotated[float, Field(gt=0, le=200)]
Volume = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class _RuleTable(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    structures: tuple[str, ...] = ()
    """Where the rule holds; none named: wherever it is meant for."""


class SlicesRule(_RuleTable):
    """Slices without labels, or at odds with both neighbours that agree, are interpolated from these."""

    rule: Literal["slices"]
    max_gap_mm: Length = 5.0
    min_agreement: Share = 0.7
    """Dice of the two slices that are to agree."""
    empty_share: Share = 0.15
    """A slice with less than this share of its neighbours' voxels is missing."""


class ShiftsRule(_RuleTable):
    """A run of slices that lies sideways of those before and after it is moved back."""

    rule: Literal["shifts"]
    max_shift_mm: Length = 6.0
    max_run_mm: Length = 30.0


class SpeckleRule(_RuleTable):
    """Single stray voxels take what most of their neighbours are."""

    rule: Literal["speckle"]
    max_voxels: Annotated[int, Field(strict=True, ge=1, le=8)] = 2
    clear_share: Share = 0.6
    """A background speck is filled if one structure makes up this share of its neighbours."""


class SwapsRule(_RuleTable):
    """A patch that is severed from its structure, or hangs on a thin neck, goes to the structure around it."""

    rule: Literal["swaps"]
    surrounded: Share = 0.65
    """Share of a severed patch's surroundings that one other structure makes up."""
    neck_mm: Length = 4.0
    """A neck thinner than this holds nothing."""
    neck_surrounded: Share = 0.85
    """The same share for a patch on a neck."""
    max_share: Share = 0.2
    """A patch larger than this share of its structure is left, and told."""
    sure_mm: Length = 1.0
    """Implicit shapes that are surer than this of the patch as it is keep it."""


class CutVesselsRule(_RuleTable):
    """Two ends of a vessel that face each other are joined."""

    rule: Literal["cut_vessels"]
    max_gap_mm: Length = 15.0
    min_section: Share = 0.35
    """The least ratio of the two ends' cross sections, and of the bridge's to the smaller of them."""
    free: Share = 0.6
    """Share of the bridge that must be background."""
    half: Share = 0.25
    """Two pieces, the smaller at least this share of the larger, are halves of one that is expected in one piece: they
    are joined even where they do not end like tubes."""
    close_mm: Length = 5.0
    """So are two pieces this close, however many are expected."""
    touch_mm: Length = 6.0
    """Veins that come this near to what they grow out of are not joined to each other."""
    worth: Annotated[float, Field(gt=0)] = 1.5
    """A bridge may be this many times as large as the smaller of the two pieces."""
    against_mm: Length = 4.0
    """An implicit shape that is this far from the bridge, on average, forbids it."""


class HolesRule(_RuleTable):
    """Background enclosed by a structure becomes that structure, and so do small pockets that mostly lie in it."""

    rule: Literal["holes"]
    max_pocket_mm3: Volume = 100.0
    wall_share: Share = 0.7
    """A pocket goes to the structure that makes up this share of its wall."""


class ComponentsRule(_RuleTable):
    """Crumbs and pieces beyond the expected number go."""

    rule: Literal["components"]
    min_share: Share = 0.05
    """A piece smaller than this share of its structure's largest is a crumb too."""
    keep_share: Share = 0.25
    """A piece beyond the number that is larger than this share is kept, and told."""
    touch_mm: Length = 6.0
    """A piece this near to what it grows out of touches it: labels of lumens leave a wall of 2 to 3 mm between."""


class DetachedSegmentsRule(_RuleTable):
    """Pieces of a tree of thin vessels that lie far from the structures it runs on, or are short, go."""

    rule: Literal["detached_segments"]
    near: tuple[str, ...]
    max_mm: Length = 10.0
    min_length_mm: Length = 4.0
    """A piece shorter than this that is not rooted hangs loose."""
    root: str
    """What the trees begin at."""


class FieldOfViewRule(_RuleTable):
    """Says which structures the field of view cuts off; changes nothing."""

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
