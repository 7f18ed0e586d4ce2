"""Placement of a template in a whole label map whose structures are confused.

Where a network fails, it finds the heart but not what is what: two thirds of a ventricle are called atrium, while the
outline of all structures together is right. A fit to the surfaces of the structures follows such a label map by a
deformation that no heart has. Here the labels are taken for an image: each structure has a distribution of labels, the
row of a confusion matrix, which is estimated from the label map itself, and the deformation is stiff. It is the
estimate of STAPLE with one rater and a template as the prior (Warfield et al., IEEE TMI 2004).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from heartmend.geometry.distance_transform import distance_transform_mm
from heartmend.geometry.roi import Roi
from heartmend.models.base import Codes
from heartmend.models.template import TemplateShape
from heartmend.training.image_placement import (
    REACH_MM,
    ImagePhase,
    ImagePlacement,
    ImageVoxels,
    place_in_image,
    rank_starts,
    sample_voxels,
)
from heartmend.types import BACKGROUND, FloatArray, Labels

HIT, MISSED, EMPTY = 0.75, 0.12, 0.92
"""Shares that are assumed at first: of a structure that has its own label, of one that is background, and of the
background that has no label. What remains is shared by the other labels."""
OWN_SHARE = 0.5
"""Weight of the shares that are counted in the label map, beside those that are assumed."""
FLOOR = 0.01
"""Share of the voxels that may have any label."""
LABEL_PHASES = (ImagePhase(100, 8, 0.01, 2.0, 3e-3), ImagePhase(120, 10, 0.008, 1.2, 3e-3))
"""The bending energy of the result is that of good label maps; a hundredth of this weight follows the errors."""


def place_in_labels(
    template: TemplateShape, labels: Labels, roi: Roi, heads: Mapping[str, int], starts: Sequence[Codes]
) -> ImagePlacement:
    """Fit the code of one case to its whole label map.

    Args:
        template: the fitted template, which is not changed.
        labels: (x, y, z) uint8 on the voxels of the ROI.
        roi: the region of interest.
        heads: id of each structure that the label map has, by name.
        starts: codes to start from, at least one; that which explains the label map best is fitted to the end.

    Returns:
        The code, and how well it explains the label map.
    """
    near = np.flatnonzero(distance_transform_mm(labels == BACKGROUND, roi.grid.spacing_mm) < REACH_MM)
    picked, points = sample_voxels(near, labels.shape, roi)
    own = labels.reshape(-1)[picked]
    assumed = _assumed_shares(heads)
    best = rank_starts(template, _voxels(points, own, assumed, heads), starts)[0]
    counted = _counted_shares(template, best.code, points, own, heads)
    shares = OWN_SHARE * counted + (1 - OWN_SHARE) * assumed
    return place_in_image(template, _voxels(points, own, shares, heads), best.code, LABEL_PHASES)


def _assumed_shares(heads: Mapping[str, int]) -> FloatArray:
    """Shares (1 + structure, label) of the labels in the background and in each structure."""
    ids = [BACKGROUND, *heads.values()]
    shares = np.zeros((len(ids), 256))
    shares[0, ids] = (1 - EMPTY) / max(len(heads), 1)
    shares[0, BACKGROUND] = EMPTY
    for row, id in enumerate(heads.values(), start=1):
        shares[row, ids] = (1 - HIT - MISSED) / max(len(heads) - 1, 1)
        shares[row, BACKGROUND], shares[row, id] = MISSED, HIT
    return shares


def _counted_shares(
    template: TemplateShape, code: Codes, points: torch.Tensor, labels: npt.NDArray[np.uint8], heads: Mapping[str, int]
) -> FloatArray:
    """The same, counted in a label map, given where the template has its structures."""
    with torch.no_grad():
        distances = template(points[None], code)[0].numpy()[:, [template.heads.index(name) for name in heads]]
    rows = np.where(distances.max(axis=1) > 0, distances.argmax(axis=1) + 1, 0)
    counts = np.zeros((len(heads) + 1, 256))
    np.add.at(counts, (rows, labels), 1)
    counts[:, [BACKGROUND, *heads.values()]] += 1
    shares: FloatArray = counts / counts.sum(axis=1, keepdims=True)
    return shares


def _voxels(
    points: torch.Tensor, labels: npt.NDArray[np.uint8], shares: FloatArray, heads: Mapping[str, int]
) -> ImageVoxels:
    known = (1 - FLOOR) * shares + FLOOR / (len(heads) + 1)
    return ImageVoxels(tuple(heads), points, torch.from_numpy(np.log(known).T[labels].astype(np.float32)))
