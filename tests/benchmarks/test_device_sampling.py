"""Sampling of label maps on a device equals the sampling on the CPU."""

import numpy as np
import torch
from device_sampling import distances_mm, sample_maps

from heartmend.geometry.distance import STEP_MM, signed_distance_mm
from heartmend.training.point_set import PointSet
from support.hearts import HEADS, SIZE_MM, samples_of, small_heart

IDS = list(HEADS.values())


def test_distances_equal_those_on_the_cpu() -> None:
    labels = small_heart(2)
    found = distances_mm(torch.from_numpy(labels), [*IDS, 9], SIZE_MM[0]).numpy()
    for layer, id in zip(found, [*IDS, 9], strict=True):
        assert np.abs(layer - signed_distance_mm(labels == id, (2.0, 2.0, 2.0))).max() < 1e-4


def test_the_distance_to_a_single_cell() -> None:
    """Its own centre is half a cell inside, that of a neighbour half a cell outside, diagonal ones are further."""
    labels = torch.zeros(16, 16, 16, dtype=torch.uint8)
    labels[8, 8, 8] = 3
    found = distances_mm(labels, [3], 32.0)[0]
    assert found[8, 8, 8] == 1
    assert found[9, 8, 8] == -1
    assert torch.isclose(found[9, 7, 8], torch.tensor(1 - 8**0.5))
    assert found[0, 0, 0] == -8


def test_sampled_points_equal_those_of_the_cases() -> None:
    hearts = [small_heart(seed) for seed in (1, 2, 3)]
    cases = [samples_of(str(row), heart, IDS, far_share=0.1) for row, heart in enumerate(hearts)]
    expected = PointSet.from_cases(cases, torch.device("cpu"))
    found, summaries = sample_maps([torch.from_numpy(heart) for heart in hearts], IDS, SIZE_MM[0], far_share=0.1)
    assert torch.equal(found.bands, expected.bands) and torch.equal(found.rests, expected.rests)
    assert torch.equal(found.starts, expected.starts) and found.sizes_mm == expected.sizes_mm
    for start, middle, end in found.spans():
        assert torch.equal(found.voxels[start:middle], expected.voxels[start:middle])
        error = (found.distances[start:middle].float() - expected.distances[start:middle].float()).abs()
        assert error.max() <= 1 and (error > 0).float().mean() < 0.01
        assert len(found.voxels[middle:end].unique()) == end - middle
    assert torch.allclose(found.volumes()[0], torch.from_numpy(cases[0].volumes), rtol=0.05)
    for summary, case in zip(summaries, cases, strict=True):
        assert np.allclose(summary.centroids, case.centroids, atol=1e-5)
        assert summary.present.tolist() == case.present.tolist()
    assert STEP_MM * 127 == 8
