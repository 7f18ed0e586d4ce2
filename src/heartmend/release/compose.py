"""One label map from what was decided: mended, original and hand-corrected structures put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.io.dataset import Case
from heartmend.review.summary import Digest
from heartmend.run_folder.decisions import Choice, Decision
from heartmend.types import BACKGROUND, Labels


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
    the voxel stays as it came; then the same with the hand-corrected structures and the corrected map. So a corrected
    structure is the corrected one to the voxel, a kept structure is the original one to the voxel but for what a
    corrected one took from it, and a mended neighbour gives way along their common border.
    """
    kept = _table(plan.having("keep"), anatomy)
    put = np.where(kept[before] | kept[after], before, after)
    if corrected is not None:
        by_hand = _table(plan.having("corrected"), anatomy)
        # What a corrected structure leaves cannot fall to a kept one that was not there.
        left = np.where(kept[corrected] & (before != corrected), BACKGROUND, corrected)
        put = np.where(by_hand[corrected], corrected, np.where(by_hand[put], left, put))
    return put.astype(np.uint8)


def _table(names: Iterable[str], anatomy: Anatomy) -> npt.NDArray[np.bool_]:
    """For each of the 256 ids whether it is that of one of the structures."""
    table = np.zeros(256, dtype=bool)
    table[[anatomy.by_name(name).id for name in names]] = True
    return table
