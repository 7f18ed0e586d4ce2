"""Label maps on a device: the points are those that the CPU's own measure gives."""

import numpy as np
import torch
from device_maps import distances_mm, listing_of_maps

from heartmend.geometry.distance import STEP_MM, signed_distance_mm
from heartmend.training.point_set import PointSet
from support.hearts import HEADS, SIZE_MM, small_heart, target_of

IDS = list(HEADS.values())


def test_distances_are_those_of_the_other_measure() -> None:
    labels = small_heart(2)
    found = distances_mm(torch.from_numpy(labels), [*IDS, 9], SIZE_MM[0]).numpy()
    for layer, id in zip(found, [*IDS, 9], strict=True):
        assert np.abs(layer - signed_distance_mm(labels == id, (2.0, 2.0, 2.0))).max() < 1e-4


def test_a_distance_by_hand() -> None:
    """A cell of 2 mm alone: its own centre is half a cell deep, a neighbour's half a cell off, a diagonal one more."""
    labels = torch.zeros(16, 16, 16, dtype=torch.uint8)
    labels[8, 8, 8] = 3
    found = distances_mm(labels, [3], 32.0)[0]
    assert found[8, 8, 8] == 1
    assert found[9, 8, 8] == -1
    assert torch.isclose(found[9, 7, 8], torch.tensor(1 - 8**0.5))
    assert found[0, 0, 0] == -8


def test_the_listed_points_are_those_of_targets() -> None:
    hearts = [small_heart(seed) for seed in (1, 2, 3)]
    targets = [target_of(str(row), heart, IDS, far_share=0.1) for row, heart in enumerate(hearts)]
    wanted = PointSet.of(targets, torch.device("cpu"))
    found, outlines = listing_of_maps([torch.from_numpy(heart) for heart in hearts], IDS, SIZE_MM[0], far_share=0.1)
    assert torch.equal(found.bands, wanted.bands) and torch.equal(found.rests, wanted.rests)
    assert torch.equal(found.starts, wanted.starts) and found.sizes_mm == wanted.sizes_mm
    for begin, middle, end in found.spans():
        assert torch.equal(found.voxels[begin:middle], wanted.voxels[begin:middle])
        off = (found.distances[begin:middle].float() - wanted.distances[begin:middle].float()).abs()
        assert off.max() <= 1 and (off > 0).float().mean() < 0.01
        assert len(found.voxels[middle:end].unique()) == end - middle
    assert torch.allclose(found.volumes()[0], torch.from_numpy(targets[0].volumes), rtol=0.05)
    for outline, target in zip(outlines, targets, strict=True):
        assert np.allclose(outline.centroids, target.centroids, atol=1e-5)
        assert outline.present.tolist() == target.present.tolist()
    assert STEP_MM * 127 == 8
