"""Comparison with other implementations, on random blobs of random spacing.

MONAI and SimpleITK have the same definitions: equal up to single precision. In surface-distance a surface is the area
between voxels, here the voxels inside, so distances differ by up to a voxel; see docs/evaluate.md.
"""

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from heartmend.metrics.overlap import dice, iou
from heartmend.metrics.surface import assd, hd95, surface_dice

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of those packages
SEEDS = range(6)
Pair = tuple[np.ndarray, np.ndarray, tuple[float, float, float]]


def blobs(seed: int) -> Pair:
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(size=(28, 24, 26)), 3)
    moved = field + 0.4 * gaussian_filter(rng.normal(size=field.shape), 2)
    x, y, z = rng.uniform(0.4, 1.6, 3)
    return field > np.percentile(field, 70), moved > np.percentile(moved, 72), (float(x), float(y), float(z))


def slabs() -> Pair:
    """Two slabs, shifted by 2 mm."""
    a, b = np.zeros((24, 12, 12), bool), np.zeros((24, 12, 12), bool)
    a[4:10], b[8:14] = True, True
    return a, b, (0.5, 1.0, 1.0)


@pytest.mark.parametrize("pair", [*map(blobs, SEEDS), slabs()])
def test_equal_to_monai(pair: Pair) -> None:
    metrics = pytest.importorskip("monai.metrics", reason="MONAI is not installed")
    torch = pytest.importorskip("torch")
    a, b, spacing = pair
    one, two = (torch.as_tensor(np.stack([~mask, mask])[None].astype(np.float32)) for mask in (a, b))
    assert dice(a, b) == pytest.approx(metrics.compute_dice(one, two, include_background=False).item(), abs=1e-6)
    assert iou(a, b) == pytest.approx(metrics.compute_iou(one, two, include_background=False).item(), abs=1e-6)
    theirs = metrics.compute_hausdorff_distance(one, two, percentile=95, spacing=spacing)
    assert hd95(a, b, spacing) == pytest.approx(theirs.item(), abs=1e-5)
    theirs = metrics.compute_average_surface_distance(one, two, symmetric=True, spacing=spacing)
    assert assd(a, b, spacing) == pytest.approx(theirs.item(), abs=1e-5)
    for tolerance in (0.53, 1.07, 2.11, 3.19):  # not a distance of voxels, so rounding does not matter
        theirs = metrics.compute_surface_dice(one, two, [tolerance], spacing=spacing)
        assert surface_dice(a, b, spacing, tolerance) == pytest.approx(theirs.item(), abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_to_simpleitk(seed: int) -> None:
    a, b, _ = blobs(seed)
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*(sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (a, b)))
    assert dice(a, b) == pytest.approx(overlap.GetDiceCoefficient(1), abs=1e-12)
    assert iou(a, b) == pytest.approx(overlap.GetJaccardCoefficient(1), abs=1e-12)


@pytest.mark.parametrize("pair", [*map(blobs, SEEDS), slabs()])
def test_close_to_surface_distance(pair: Pair) -> None:
    package = pytest.importorskip("surface_distance", reason="surface-distance is not installed")
    a, b, spacing = pair
    theirs = package.compute_surface_distances(a, b, spacing)
    assert dice(a, b) == pytest.approx(package.compute_dice_coefficient(a, b), abs=1e-12)
    voxel = max(spacing)
    assert hd95(a, b, spacing) == pytest.approx(package.compute_robust_hausdorff(theirs, 95), abs=voxel)
    mean = np.mean(package.compute_average_surface_distance(theirs))
    assert assd(a, b, spacing) == pytest.approx(mean, abs=voxel / 2)
    for tolerance in (1, 2, 3):
        share = package.compute_surface_dice_at_tolerance(theirs, tolerance)
        assert surface_dice(a, b, spacing, tolerance) == pytest.approx(share, abs=0.15)
