"""Contacts of a template with what its structures grow out of, by a vote of label maps.

Between a vein or an appendage and its atrium the CT has hardly an edge, and networks prefer the larger structure of
two: in predictions of four data sets the atrium had 3 to 35 % of the appendage, which had 0 to 7 % of the atrium's part
in return. A template that is the median of such label maps has the same error. So the smaller structure has each place
that a quarter of the label maps give it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter

from heartmend.geometry.boxes import Spacing
from heartmend.geometry.distance import distance_to_other_label_mm, smooth_distance_mm
from heartmend.geometry.roi import Roi
from heartmend.models.base import Codes
from heartmend.models.template import TemplateShape
from heartmend.types import FloatArray, Labels

MIN_SHARE = 0.25
"""Share of the label maps that must give a place to the smaller structure."""
MIN_VOTES = 2
"""A place at which fewer label maps vote stays."""
REACH_MM = 8.0
"""Places that are farther from the smaller structure have no vote: they cannot become part of it."""
OUTSIDE_MM = 3.0
"""The contact goes on so far outside the two structures, where a case may be deformed."""
SMOOTH_CELLS = 0.7
"""Standard deviation of the Gaussian that makes the contact smooth."""

Pair = tuple[str, str]
"""Names of a structure and of the larger one that it grows out of."""


@dataclass(frozen=True, eq=False)
class ContactVote:
    """Vote of one label map on the contact of two structures.

    Attributes:
        cells: (n,) int64, flat indices of the template's cells on which it votes.
        shares: (n,) float64, share of the voxels in each cell that the label map gives to the smaller structure.
    """

    cells: npt.NDArray[np.int64]
    shares: FloatArray


def vote_on_contacts(
    shape: TemplateShape, code: Codes, labels: Labels, placed: Labels, roi: Roi, pairs: Mapping[Pair, tuple[int, int]]
) -> dict[Pair, ContactVote]:
    """Compute the vote of one label map on the contacts of a template.

    Args:
        shape: the template.
        code: code of the case, by its CT.
        labels: (x, y, z) uint8 on the voxels of the ROI.
        placed: (x, y, z) uint8, the template with this code on the same voxels.
        roi: the region of interest.
        pairs: ids of the two structures, by their names.

    Returns:
        The vote on each contact. Only voxels that label map and template give to one of the two structures count.
    """
    to_template, votes = shape.frame_map(code), dict[Pair, ContactVote]()
    for pair, (small, large) in pairs.items():
        either = (labels == small) | (placed == small)
        both = np.isin(labels, (small, large)) & np.isin(placed, (small, large))
        if not either.any():
            continue
        near = either | (distance_to_other_label_mm(either, roi.grid.spacing_mm) < REACH_MM)
        voxels = np.argwhere(both & near)
        unit = to_template(roi.box_index_to_unit(voxels))
        x, y, z = np.clip(np.floor((unit + 1) / 2 * shape.side), 0, shape.side - 1).astype(np.int64).T
        cells, cell_of_voxel = np.unique((x * shape.side + y) * shape.side + z, return_inverse=True)
        is_small = labels[tuple(voxels.T)] == small
        votes[pair] = ContactVote(cells, np.bincount(cell_of_voxel, is_small) / np.bincount(cell_of_voxel))
    return votes


def move_contacts(shape: TemplateShape, votes: Sequence[Mapping[Pair, ContactVote]], cell_mm: Spacing) -> TemplateShape:
    """Move the contacts of a template to where the label maps have them by their votes.

    Args:
        shape: the template, which is not changed.
        votes: votes of each label map, by contact.
        cell_mm: size of the template's cells.

    Returns:
        The template with these contacts. The surface of two structures together is the same as before.
    """
    moved, of_pair = deepcopy(shape), defaultdict[Pair, list[ContactVote]](list)
    for of_case in votes:
        for pair, vote in of_case.items():
            of_pair[pair].append(vote)
    for (small, large), found in of_pair.items():
        columns = [moved.heads.index(small), moved.heads.index(large)]
        table = moved.table.detach().reshape(*(moved.side,) * 3, -1)
        own_mm, other_mm = (table[..., column].numpy() for column in columns)
        together_mm = np.maximum(own_mm, other_mm)
        shares = _shares(found, (own_mm > other_mm).astype(np.float64))
        is_small = gaussian_filter((shares >= MIN_SHARE).astype(np.float64), SMOOTH_CELLS) >= 0.5
        depth_mm = smooth_distance_mm(is_small, cell_mm)
        near = together_mm > -OUTSIDE_MM
        with torch.no_grad():
            for column, before_mm, new_mm in zip(columns, (own_mm, other_mm), (depth_mm, -depth_mm), strict=True):
                after_mm = np.where(near, np.minimum(together_mm, new_mm), before_mm)
                table[..., column] = torch.from_numpy(after_mm)
    return moved


def _shares(votes: Sequence[ContactVote], before: FloatArray) -> FloatArray:
    """Mean share (side, side, side) of the smaller structure in each cell; as `before` where few label maps vote."""
    total, count = np.zeros(before.size), np.zeros(before.size)
    for vote in votes:
        total[vote.cells] += vote.shares
        count[vote.cells] += 1
    shares: FloatArray = np.where(count >= MIN_VOTES, total / np.maximum(count, 1), before.reshape(-1))
    return shares.reshape(before.shape)
