"""Which fragments of an interrupted vessel tree a repair has joined to it: sensitivity and specificity.

The measures RecSen and RecSpe of Qiu et al. (Medical Image Analysis 2025). A fragment is a component of the label
before the repair that is not the main piece of a tree. A true fragment lies in the reference and should be joined to
the tree that it is a part of; a false one does not, and should be joined to none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from heartmend.geometry.components import label_components
from heartmend.types import Mask

MIN_MM3 = 3.0
"""Smaller fragments have no direction, and do not count."""
MIN_SHARE = 0.5
"""Share of a fragment in the reference from which on it is a part of it."""


@dataclass(frozen=True)
class Fragment:
    """Fragment of a label before its repair.

    Attributes:
        mm3: its volume.
        part: the part of the reference that it belongs to or is nearest to, such as the id of a segment.
        is_vessel: whether it is a part of the reference.
        is_joined: whether the repair has joined it: a true one to the main piece of its own tree, a false one to any.
    """

    mm3: float
    part: int
    is_vessel: bool
    is_joined: bool


@dataclass(frozen=True)
class Reconnection:
    """Numbers of fragments.

    Attributes:
        true: fragments of the reference.
        joined: those of them that were joined to their tree.
        false: other fragments.
        left_out: those of them that were joined to no tree.
    """

    true: int
    joined: int
    false: int
    left_out: int

    @classmethod
    def of(cls, fragments: Iterable[Fragment]) -> Reconnection:
        """Count fragments, of one case or of many, of one part or of all.

        Args:
            fragments: the fragments.

        Returns:
            Their numbers.
        """
        found = list(fragments)
        true = [one for one in found if one.is_vessel]
        false = [one for one in found if not one.is_vessel]
        return cls(
            len(true), sum(one.is_joined for one in true), len(false), sum(not one.is_joined for one in false)
        )  # fmt: skip

    @property
    def sensitivity(self) -> float | None:
        """RecSen: share of the true fragments that were joined; None without one."""
        return self.joined / self.true if self.true else None

    @property
    def specificity(self) -> float | None:
        """RecSpe: share of the false fragments that were not joined; None without one."""
        return self.left_out / self.false if self.false else None


def find_fragments(
    before: Mask,
    after: Mask,
    truth: Mask,
    spacing_mm: tuple[float, float, float],
    parts: npt.NDArray[np.integer] | None = None,
) -> list[Fragment]:
    """Find the fragments of a label, and whether its repair has joined them.

    Args:
        before: (x, y, z) bool, the label before the repair.
        after: (x, y, z) bool, the repaired one.
        truth: (x, y, z) bool, the reference; each of its components is a tree.
        spacing_mm: voxel spacing.
        parts: (x, y, z) ids of the parts of the reference, such as its segments; None for its components.

    Returns:
        The fragments of at least 3 mm³. The main piece of a tree is the component with most voxels in it.

    Example:
        A line of 30 voxels with a gap that is filled, and an island that stays apart:

        >>> before = np.zeros((40, 9, 9), bool)
        >>> before[:20, 1, 1] = before[23:30, 1, 1] = before[30:36, 7, 7] = True
        >>> truth = np.zeros_like(before)
        >>> truth[:30, 1, 1] = True
        >>> found = Reconnection.of(find_fragments(before, before | truth, truth, (1.0, 1.0, 1.0)))
        >>> found.sensitivity, found.specificity
        (1.0, 1.0)
    """
    trees, sizes = label_components(truth)
    pieces, piece_sizes = label_components(before)
    joined, joined_sizes = label_components(after)
    if len(sizes) < 2 or len(piece_sizes) < 2:
        return []
    parts = trees if parts is None else parts
    where = np.argwhere(truth)
    nearest = cKDTree(where * np.asarray(spacing_mm))
    both = truth & before
    in_tree = np.zeros((len(piece_sizes), len(sizes)), np.intp)
    np.add.at(in_tree, (pieces[both], trees[both]), 1)
    main = in_tree[:, 1:].argmax(axis=0)  # the main piece of each tree; 0 where it has none
    main_after = [_component(joined, pieces == piece, len(joined_sizes)) if piece else 0 for piece in main.tolist()]
    found = []
    voxel_mm3 = float(np.prod(spacing_mm))
    order = np.argsort(pieces[before], kind="stable")
    voxels = np.argwhere(before)[order]
    starts = np.concatenate([[0], np.cumsum(piece_sizes[1:])]).astype(np.intp)
    for piece in range(1, len(piece_sizes)):
        if piece in main or piece_sizes[piece] * voxel_mm3 < MIN_MM3:
            continue
        own = voxels[starts[piece - 1] : starts[piece]]
        away, at = nearest.query(own * np.asarray(spacing_mm))
        home = where[at]
        tree = int(np.bincount(trees[tuple(home.T)]).argmax())
        is_vessel = bool(np.mean(away <= max(spacing_mm)) >= MIN_SHARE)
        component = np.bincount(joined[tuple(own.T)], minlength=len(joined_sizes))
        stays = int(component.argmax())
        wanted = [main_after[tree - 1]] if is_vessel else main_after
        part = int(np.bincount(parts[tuple(home.T)].astype(np.intp)).argmax())
        found.append(Fragment(piece_sizes[piece] * voxel_mm3, part, is_vessel, stays > 0 and stays in wanted))
    return found


def _component(joined: npt.NDArray[np.integer], piece: Mask, count: int) -> int:
    """Component of the repaired label that most of a piece belongs to; 0 if most of it was removed."""
    return int(np.bincount(joined[piece], minlength=count).argmax())
