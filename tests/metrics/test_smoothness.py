"""Roughness: 0 for a plane, the value of the definition otherwise."""

import numpy as np
import pytest
from scipy.ndimage import correlate

from heartmend.metrics.segment import Segment
from heartmend.metrics.smoothness import roughness_mm, segment_roughness_mm, surface_heights
from support.hearts import ellipsoid


def ball(radius_mm: float, spacing_mm: float) -> Segment:
    side = int(2 * radius_mm / spacing_mm) + 6
    mask = ellipsoid((side,) * 3, (side / 2 - 0.37,) * 3, (radius_mm / spacing_mm,) * 3)
    return Segment(mask, (spacing_mm,) * 3)


def test_an_empty_mask_has_no_roughness() -> None:
    assert roughness_mm(np.zeros((4, 4, 4), bool), (1, 1, 1)) is None


def test_a_plane_has_no_height() -> None:
    slab = np.zeros((60, 60, 30), bool)
    slab[:, :, :15] = True
    heights = surface_heights(Segment(slab, (0.5, 0.5, 1.0)), radius_mm=3, max_faces=10**6).height_mm
    assert np.count_nonzero(heights == 0) >= 47 * 47, "all faces of the plane but those at its border"


@pytest.mark.parametrize("radius_mm", [10, 20])
def test_the_height_of_a_ball_is_its_curvature_and_its_roughness_is_small(radius_mm: float) -> None:
    """r²/4 times the mean curvature 1/R; the roughness that voxels cause is a fifth of their size."""
    found = ball(radius_mm, 0.5)
    assert surface_heights(found).height_mm.mean() == pytest.approx(3.0**2 / 4 / radius_mm, rel=0.06)
    rough = segment_roughness_mm(found)
    assert rough is not None and rough < 0.25 * 0.5


def test_the_heights_of_a_staircase_are_half_a_step_above_and_below() -> None:
    """Ridges and grooves of 1 mm, 0.5 mm wide: for the ball they are equal to a plane half-way between."""
    across = np.arange(120)
    top = 30 + (across % 2) * 2
    mask = np.arange(60)[None, None] < top[:, None, None]
    ridged = Segment(np.ascontiguousarray(np.broadcast_to(mask, (120, 120, 60))), (0.5, 0.5, 0.5))
    found = surface_heights(ridged, max_faces=10**7)
    middle = np.median(found.height_mm[found.height_mm > 0.25]), np.median(found.height_mm[found.height_mm < -0.25])
    assert middle == pytest.approx((0.5, -0.5), abs=0.06)


def test_noise_on_a_ball_makes_it_rougher() -> None:
    smooth = ball(12, 0.6)
    rng = np.random.default_rng(0)
    values = [segment_roughness_mm(smooth)]
    for share in (0.05, 0.2):
        edge = smooth.surface & (rng.random(smooth.mask.shape) < share)
        values.append(segment_roughness_mm(Segment(smooth.mask & ~edge, smooth.spacing_mm)))
    assert values == sorted(values)  # type: ignore[type-var]


def test_a_sample_of_the_faces_has_the_roughness_of_all() -> None:
    mask, spacing = ball(15, 0.5).mask, (0.5, 0.5, 0.5)
    assert roughness_mm(mask, spacing, max_faces=3000) == pytest.approx(
        roughness_mm(mask, spacing, max_faces=10**7), rel=0.03
    )


def test_the_definition_written_out_with_scipy() -> None:
    """The ball as a kernel of a correlation; equal but for the order of summing."""
    rng = np.random.default_rng(3)
    spacing, radius = (1.0, 0.8, 1.5), 2.0
    mask = np.pad(rng.random((9, 8, 7)) < 0.5, 6)
    expected = []
    for axis in range(3):
        lines = [(np.arange(-4, 5) - (0.5 if a == axis else 0)) * spacing[a] for a in range(3)]
        kernel = sum(x**2 for x in np.meshgrid(*lines, indexing="ij")) <= radius**2 + 1e-9
        inside = correlate(mask.astype(float), kernel.astype(float), mode="constant")
        ahead = np.roll(mask, -1, axis)
        expected.append((kernel.sum() / 2 - inside[mask != ahead]) * np.prod(spacing) / (np.pi * radius**2))
    found = surface_heights(Segment(mask, spacing), radius, max_faces=10**9)
    np.testing.assert_allclose(np.sort(found.height_mm), np.sort(np.concatenate(expected)), atol=1e-9)
