"""The rules of an anatomy, applied in the order of its file.

The order of ours, and why it is this one. A rule relies on what the ones before it have mended:

1. `slices`, `shifts`: a missing slice severs whatever it runs through, so nothing can be judged severed before.
2. `salt`, `swaps`: names are put right, voxels first, then patches. Later rules trust them: a patch of LA inside the RA
   would be dropped as a surplus piece, and leave a hole, where it should have been given to the RA.
3. `cut_vessels`: what belongs together is joined before anything is called a loose piece.
4. `holes`: filled when no stray patch lies in them and bridges have closed what is to be closed.
5. `pieces`, `strays`: only now is what is left over dropped. Earlier, true parts would go with it.
6. `field_of_view`: what the scan cut off is told, and left as it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from heartmend.anatomy import Anatomy
from heartmend.rules.breaks import cut_vessels
from heartmend.rules.change import Change
from heartmend.rules.holes import holes
from heartmend.rules.prune import field_of_view, pieces, strays
from heartmend.rules.scene import Fields, Result, Scene, by_name
from heartmend.rules.slices import shifts, slices
from heartmend.rules.swaps import salt, swaps
from heartmend.space import Grid
from heartmend.types import Labels

RULES: Mapping[str, Callable[[Labels, Scene, Any], Result]] = {
    rule.__name__: rule for rule in (slices, shifts, salt, swaps, cut_vessels, holes, pieces, strays, field_of_view)
}
"""Each rule by its name in the anatomy file: takes the map, the scene and its own table; returns a new map."""


def apply_rules(
    labels: Labels,
    grid: Grid,
    anatomy: Anatomy,
    evidence: Fields | None = None,
    step_mm: float = 1.0,
    only: Collection[str] | None = None,
) -> tuple[Labels, list[Change]]:
    """Apply the anatomy's rules, or `only` those named, to a label map (x, y, z) on its grid.

    evidence: signed distances to the implicit shapes, positive inside, on the same grid, in units of `step_mm`.
    Returns a new map and what changed; `labels` stays as it is. A structure that is absent stays absent.
    """
    if labels.dtype != np.uint8 or labels.shape != grid.shape:
        raise ValueError(f"labels are uint8 on their grid {grid.shape}, not {labels.dtype} {labels.shape}")
    fields = {anatomy.by_name(name).id: field for name, field in by_name(evidence, anatomy).items()}
    for id, field in fields.items():
        if field.shape != labels.shape:
            raise ValueError(f"the evidence for {anatomy.by_id(id).name} is {field.shape}, the map {labels.shape}")
    scene = Scene(grid, anatomy, fields, step_mm)
    result, changes = labels.copy(), list[Change]()
    for rule in anatomy.rules:
        if only is None or rule.rule in only:
            result, found = RULES[rule.rule](result, scene, rule)
            changes += found
    return result, changes
