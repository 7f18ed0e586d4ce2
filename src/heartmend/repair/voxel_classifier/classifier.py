"""Voxel classifier: a small network that repairs a label voxel by voxel, from windows of the label about each voxel.

It is meant for structures without a common shape. A thin gland that is folded differently in every patient has no
template, but its thickness, its edges and the contacts of its sheets are similar, and these are visible in a window of
one or two centimetres. With images it also reads them, in a smaller window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from heartmend.geometry.components import without_small_components
from heartmend.repair.voxel_classifier.features import (
    CENTRE,
    FEATURES,
    IMAGE_FEATURES,
    Image,
    IntensityScale,
    uncertain_voxels,
    window_features,
)
from heartmend.types import Mask

WIDTHS = (96, 64, 32)
"""Widths of the hidden layers."""
VOXELS_AT_ONCE = 8192
BACKGROUND_LOGIT = -10.0
"""Logit of voxels that are not classified."""


@dataclass(frozen=True, eq=False)
class VoxelClassifier:
    """Voxel classifier of one structure.

    Attributes:
        net: network from features (n, features) to logits (n, 1).
        threshold: a voxel is inside the structure if its logit is larger.
        intensity: scale of the images that it was trained with; None for a classifier of labels alone.
    """

    net: nn.Module
    threshold: float
    intensity: IntensityScale | None = None

    @torch.no_grad()
    def logits(self, mask: Mask, image: Image | None = None) -> npt.NDArray[np.float32]:
        """Classify the voxels of a label.

        Args:
            mask: (x, y, z) bool, the label.
            image: (x, y, z) float32, its image. A classifier that was trained with images takes every intensity as the
                mean if there is none.

        Returns:
            (x, y, z) float32, logits less the threshold: positive inside the structure.
        """
        logits = np.full(mask.shape, BACKGROUND_LOGIT, dtype=np.float32)
        voxels = np.argwhere(uncertain_voxels(mask))
        scaled = self._scaled(mask, image)
        for part in np.array_split(voxels, max(len(voxels) // VOXELS_AT_ONCE, 1)):
            if len(part):
                features = window_features(mask, part, scaled).float()
                logits[tuple(part.T)] = self.net(features)[:, 0].numpy() - self.threshold
        return logits

    def repair(self, mask: Mask, image: Image | None = None) -> Mask:
        """Repair a label.

        Args:
            mask: (x, y, z) bool, the label.
            image: (x, y, z) float32, its image.

        Returns:
            (x, y, z) bool, the voxels that are classified as inside, without small components.
        """
        return without_small_components(self.logits(mask, image) > 0)

    def _scaled(self, mask: Mask, image: Image | None) -> Image | None:
        if self.intensity is None:
            return None
        return np.zeros(mask.shape, dtype=np.float32) if image is None else self.intensity.scaled(image)


def new_network(reads_images: bool = False) -> nn.Sequential:
    """Create an untrained network.

    Args:
        reads_images: whether it reads an image beside the label.

    Returns:
        A perceptron from features (n, features) to logits (n, 1).
    """
    layers: list[nn.Module] = []
    for width_in, width in zip((FEATURES + IMAGE_FEATURES * reads_images, *WIDTHS), WIDTHS, strict=False):
        layers += [nn.Linear(width_in, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(WIDTHS[-1], 1))


@torch.no_grad()
def identity_classifier() -> VoxelClassifier:
    """Create a classifier that repeats the label, apart from its small components.

    Returns:
        The classifier.
    """
    net = new_network()
    *first, last = (layer for layer in net if isinstance(layer, nn.Linear))
    for layer, feature in zip((*first, last), (CENTRE, 0, 0, 0), strict=True):
        layer.weight.zero_()
        layer.bias.zero_()
        layer.weight[0, feature] = 1
    last.bias.fill_(-0.5)
    return VoxelClassifier(net.eval(), 0.0)
