"""One label map from what was decided: mended, original and hand-corrected structures put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from heartmend.anatomy import Anatomy
from heartmend.data import Case
from heartmend.review import Choice, Decision, Digest
from heartmend.types import Labels


@dataclass(frozen=True)
class Plan:
    """What is to become of each structure of a case; `decided` are the decisions behind it."""

    case: Case
    digest: Digest
    choices: Mapping[str, Choice]
    decided: tuple[Decision, ...] = ()

    def having(self, *choices: Choice) -> tuple[str, ...]:
        """The structures for which one of these was chosen, in the anatomy's order."""
        return tuple(name for name, choice in self.choices.items() if choice in choices)

    def with_open_as(self, choice: Choice) -> Plan:
        """The plan with every structure that is not decided taken as `choice`."""
        return replace(self, choices={n: choice if c == "open" else c for n, c in self.choices.items()})


def compose(before: Labels, after: Labels, plan: Plan, anatomy: Anatomy, corrected: Labels | None = None) -> Labels:
    """The label map (x, y, z) by a plan.

    It begins as the mended map. Wherever a structure that is kept is concerned, in the original or in the mended map,
    the voxel stays as it came; then the same with the hand-corrected structures and the corrected map. So a kept
    structure is the original one to the voxel, a corrected one is the corrected one to the voxel, and a mended
    neighbour gives way along their common border, where it neither takes from the kept one nor gives to it.
    """
    put = _with(after, before, [anatomy.by_name(n).id for n in plan.having("keep")])
    if corrected is not None:
        put = _with(put, corrected, [anatomy.by_name(n).id for n in plan.having("corrected")])
    return put


def _with(base: Labels, other: Labels, ids: list[int]) -> Labels:
    """`base`, but `other` wherever one of them has one of the ids."""
    concerned = np.zeros(256, dtype=bool)
    concerned[ids] = True
    return np.where(concerned[base] | concerned[other], other, base)
