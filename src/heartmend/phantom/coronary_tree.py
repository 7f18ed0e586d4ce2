"""Coronary trees whose cross-sections are no discs, around a plain model of a heart.

The vessels run over an ellipsoid, in its grooves and towards its apex, from two ostia at the aorta. A cross-section is
a smooth closed curve: its radius is a Fourier series of the angle whose coefficients vary along the vessel, stronger at
lesions; the calibre tapers, with local stenoses and ectasias. Where a branch leaves, its origin is widened and blended
with the parent. `benchmarks/coronary_statistics.py` compares the statistics with those of real trees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from heartmend.phantom.coronary_heart import DEPTH_MM, LEFT_OSTIUM, RIGHT_OSTIUM, STEP_MM, EllipsoidHeart, Float
from heartmend.phantom.plan import Label

MODES = (2, 3, 4, 5)
"""Angular modes of a cross-section; modes 0 and 1 are its size and its centre."""
SEGMENTS = ("LM", "LAD", "LCx", "RCA", "D", "OM", "PDA", "PLA", "RV")
"""Names of the vessels; RV are branches to the right ventricle."""
_BLEND_MM = 0.6
_MODE_MM = (5.0, 4.0, 3.0, 2.5)
_MARGIN_MM = 6.0


@dataclass(frozen=True)
class Branch:
    """One vessel of a tree.

    Attributes:
        name: one of `SEGMENTS`.
        path: (n, 3) centreline in mm, every `STEP_MM`.
        radius_mm: (n,) mean radius of the cross-section.
        modes: (n, 2 * modes) coefficients of the cosine and sine of each of `MODES`, relative to the radius.
        frame: (n, 2, 3) unit vectors of the cross-section, parallel along the vessel.
    """

    name: str
    path: Float
    radius_mm: Float
    modes: Float
    frame: Float

    def outside_mm(self, points_mm: Float) -> Float:
        """Compute how far points are outside the wall, in the cross-section at their nearest centreline point.

        Args:
            points_mm: (k, 3) positions.

        Returns:
            (k,) in mm, negative inside; the distance of the end is added beyond the ends.
        """
        _, nearest = cKDTree(self.path).query(points_mm)
        offset = points_mm - self.path[nearest]
        x, y = (np.einsum("ij,ij->i", offset, self.frame[nearest, axis]) for axis in (0, 1))
        angle = np.arctan2(y, x)
        waves = [wave(m * angle) for m in MODES for wave in (np.cos, np.sin)]
        shape = 1 + sum(self.modes[nearest, k] * wave for k, wave in enumerate(waves))
        return np.asarray(np.linalg.norm(offset, axis=1) - self.radius_mm[nearest] * np.maximum(shape, 0.35))


@dataclass(frozen=True)
class CoronaryPhantom:
    """Label map of coronaries with their surroundings.

    Attributes:
        labels: (x, y, z) uint8 in the ids of `Label`: coronaries, aorta, myocardium (the solid heart).
        segments: (x, y, z) uint8, 1 + index in `SEGMENTS` for each voxel of the coronaries, else 0.
        chambers: (x, y, z) uint8 in the ids of `Label`: the aorta, and atria and ventricles around the grooves; the
            heart of `labels` is solid.
        wall_mm: (x, y, z) float32, how far each voxel is outside the wall, negative inside; infinite far from vessels.
        spacing_mm: (3,) voxel size.
        affine: (4, 4), from voxel indices to mm, RAS+, of the heart's coordinates.
        branches: the vessels, in mm of the grid (voxel index times spacing).
    """

    labels: NDArray[np.uint8]
    segments: NDArray[np.uint8]
    chambers: NDArray[np.uint8]
    wall_mm: NDArray[np.float32]
    spacing_mm: Float
    affine: Float
    branches: tuple[Branch, ...]


def sample_tree(rng: np.random.Generator) -> tuple[Branch, ...]:
    """Sample a pair of coronary trees.

    Args:
        rng: random generator.

    Returns:
        Its vessels in coordinates of the heart: z towards the base, x to the left, y to the back; the origin in the
        middle of the groove between atria and ventricles.
    """
    size = rng.uniform(0.85, 1.08)
    calibre = float(np.clip(rng.normal(1.12, 0.07), 0.98, 1.26))
    heart = EllipsoidHeart(size)

    def vessel(name: str, knots: Sequence[tuple[float, float]], radii: tuple[float, float], start: Float) -> Branch:
        return _branch(name, heart.course(knots, start, rng), (calibre * radii[0], calibre * radii[1]), rng)

    def side(name: str, parent: Branch, at: float, turn: float, length: float, radii: tuple[float, float]) -> Branch:
        point = parent.path[int(at * (len(parent.path) - 1))]
        phi, height = heart.position(point)
        fall = length * size / DEPTH_MM
        knots = [(phi + 0.5 * turn, height - 0.25 * fall), (phi + 0.8 * turn, height - 0.6 * fall)]
        return vessel(name, [*knots, (phi + turn, height - fall)], radii, point)

    def times(low: int, high: int) -> range:
        return range(int(rng.integers(low, high + 1)))

    right_ostium, left_ostium = heart.ostium(RIGHT_OSTIUM), heart.ostium(LEFT_OSTIUM)
    main = vessel("LM", [(52, 0.16), (62, 0.1)], (2.45, 2.35), left_ostium)
    fork = main.path[-1]
    lad_end = rng.uniform(-0.95, -0.75)
    lad = vessel("LAD", [(60, 0.0), (50, -0.25), (42, -0.5), (38, 0.8 * lad_end), (34, lad_end)], (2.2, 1.4), fork)
    lcx_end = rng.uniform(132, 148)
    lcx = vessel("LCx", [(90, 0.06), (110, 0.02), (lcx_end - 12, 0.0), (lcx_end, -0.02)], (2.1, 1.5), fork)
    rca = vessel("RCA", [(-70, 0.1), (-95, 0.02), (-120, 0.0), (-145, 0.0), (-170, -0.02)], (2.3, 1.9), right_ostium)
    tree = [main, lad, lcx, rca]
    crux = rca.path[-1]
    pda_end, pla_end = rng.uniform(-0.75, -0.45), rng.uniform(-0.45, -0.3)
    tree += [
        vessel("PDA", [(-168, -0.12), (-164, 0.6 * pda_end), (-160, pda_end)], (1.75, 1.35), crux),
        vessel("PLA", [(-178, -0.04), (-186, -0.14), (-190, pla_end)], (1.7, 1.35), crux),
    ]
    for k in times(1, 2):
        at, turn, length = rng.uniform(0.18, 0.3) + 0.25 * k, rng.uniform(22, 40), rng.uniform(28, 50)
        tree.append(side("D", lad, at, turn, length, (1.6, 1.3)))
    for k in times(1, 2):
        at, turn, length = rng.uniform(0.25, 0.4) + 0.3 * k, rng.uniform(8, 22), rng.uniform(30, 55)
        tree.append(side("OM", lcx, at, turn, length, (1.65, 1.35)))
    if rng.random() < 0.5:
        at, turn, length = rng.uniform(0.3, 0.6), rng.uniform(5, 20), rng.uniform(25, 40)
        tree.append(side("RV", rca, at, turn, length, (1.5, 1.25)))
    return tuple(tree)


def draw_tree(branches: Sequence[Branch], spacing_mm: Sequence[float], rng: np.random.Generator) -> CoronaryPhantom:
    """Draw a tree, the aorta and the solid heart on a voxel grid.

    Args:
        branches: the vessels in coordinates of the heart.
        spacing_mm: voxel size along x, y and z.
        rng: random generator, for the orientation of the grid.

    Returns:
        The phantom.
    """
    turn = Rotation.from_rotvec(rng.normal(0, 0.35, 3))
    spacing = np.asarray(spacing_mm, float)
    path = [turn.apply(branch.path) for branch in branches]
    corner = np.concatenate(path).min(axis=0) - _MARGIN_MM
    shape = np.ceil((np.concatenate(path).max(axis=0) + _MARGIN_MM - corner) / spacing).astype(int) + 1
    placed = tuple(
        Branch(b.name, points - corner, b.radius_mm, b.modes, turn.apply(b.frame.reshape(-1, 3)).reshape(b.frame.shape))
        for b, points in zip(branches, path, strict=True)
    )
    wall = np.full(shape, np.inf, np.float32)
    nearest = np.full(shape, np.inf, np.float32)
    segments = np.zeros(shape, np.uint8)
    for branch in placed:
        index = _voxels_near(branch, spacing, shape)
        at = tuple(index.T)
        outside = branch.outside_mm(index * spacing).astype(np.float32)
        nearer = outside < nearest[at]
        segments[at] = np.where(nearer, SEGMENTS.index(branch.name) + 1, segments[at])
        nearest[at] = np.minimum(outside, nearest[at])
        wall[at] = _smooth_minimum(wall[at], outside)
    labels = np.zeros(shape, np.uint8)
    voxels = np.moveaxis(np.indices(shape, np.float32), 0, -1) * spacing.astype(np.float32)
    body = turn.inv().apply(voxels.reshape(-1, 3) + corner).reshape(*shape, 3)
    heart = EllipsoidHeart.of_ostium(next(branch for branch in branches if branch.name == "RCA").path[0])
    labels[heart.inside(body)] = Label.MYOCARDIUM
    labels[heart.in_aorta(body)] = Label.AORTA
    vessel = (wall < 0) & (labels != Label.AORTA)
    labels[vessel] = Label.CORONARY
    segments[~vessel] = 0
    affine = np.eye(4)
    to_ras = np.diag([-1.0, -1.0, 1.0]) @ turn.inv().as_matrix()
    affine[:3, :3], affine[:3, 3] = to_ras * spacing, to_ras @ corner
    return CoronaryPhantom(labels, segments, heart.chambers(body), wall, spacing, affine, placed)


def _smooth_gaussian(n: int, length_mm: float, rng: np.random.Generator) -> Float:
    """Gaussian process (n,) along a vessel with unit variance."""
    sigma = length_mm / STEP_MM / np.sqrt(2)
    noise = gaussian_filter1d(rng.standard_normal(n + int(8 * sigma)), sigma)[int(4 * sigma) :][:n]
    return np.asarray(noise * np.sqrt(2 * np.sqrt(np.pi) * sigma))


def _branch(name: str, path: Float, radii: tuple[float, float], rng: np.random.Generator) -> Branch:
    """Calibre and cross-sections of a course."""
    n = len(path)
    along_mm = STEP_MM * np.arange(n)
    fall = np.linspace(0, 1, n)
    log_radius = np.log(radii[1]) + np.log(radii[0] / radii[1]) * (1 - fall) ** 0.9
    log_radius += 0.11 * _smooth_gaussian(n, 4.0, rng)
    lesion = np.zeros(n)
    for _ in range(int(rng.poisson(n * STEP_MM / 30))):
        centre, half = rng.uniform(0, n * STEP_MM), rng.uniform(1.5, 5.0)
        shape = np.exp(-0.5 * ((along_mm - centre) / half) ** 2)
        # Stenoses are more frequent than ectasias; plaque makes the lumen eccentric.
        log_radius += shape * (
            np.log(rng.uniform(0.6, 0.85)) if rng.random() < 0.75 else np.log(rng.uniform(1.15, 1.4))
        )
        lesion = np.maximum(lesion, shape)
    log_radius += 0.25 * np.exp(-along_mm / 1.8)  # funnel at the origin
    tail = np.clip((along_mm[-1] - along_mm) / 1.2, 0, 1)  # rounded tip
    radius = np.maximum(np.exp(log_radius), 0.6) * np.sqrt(np.maximum(1 - (1 - tail) ** 2, 0.01))
    strength = np.exp(0.65 * _smooth_gaussian(n, 8.0, rng)) * (0.8 + 0.9 * lesion)
    amplitude = (0.08, 0.08, 0.06, 0.04)
    modes = [
        size * strength * _smooth_gaussian(n, length, rng)
        for size, length in zip(amplitude, _MODE_MM, strict=True)
        for _ in (0, 1)
    ]
    return Branch(name, path, radius, np.clip(np.stack(modes, axis=1), -0.45, 0.45), _parallel_frame(path, rng))


def _parallel_frame(path: Float, rng: np.random.Generator) -> Float:
    """Unit vectors (n, 2, 3) across the vessel that do not turn about it."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    first = np.cross(tangent[0], rng.standard_normal(3))
    frame = np.empty((len(path), 2, 3))
    for i, along in enumerate(tangent):
        first = first - (first @ along) * along
        first = first / np.linalg.norm(first)
        frame[i] = first, np.cross(along, first)
    return frame


def _voxels_near(branch: Branch, spacing: Float, shape: Float) -> NDArray[np.intp]:
    """Indices (k, 3) of the voxels that the wall of a vessel may enclose."""
    reach_mm = 2.0 * float(branch.radius_mm.max()) + _BLEND_MM
    reach = np.ceil(reach_mm / spacing).astype(int)
    cube = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    cube = cube[np.linalg.norm(cube * spacing, axis=1) <= reach_mm]
    home = np.unique(np.round(branch.path[::2] / spacing).astype(int), axis=0)
    near = np.zeros(shape, bool)
    voxels = (home[:, None] + cube).reshape(-1, 3)
    voxels = voxels[((voxels >= 0) & (voxels < shape)).all(axis=1)]
    near[tuple(voxels.T)] = True
    return np.argwhere(near)


def _smooth_minimum(a: Float, b: Float) -> Float:
    """Minimum of two distances, rounded where they are nearly equal."""
    with np.errstate(invalid="ignore"):
        share = np.clip(0.5 + 0.5 * (b - a) / _BLEND_MM, 0, 1)
        blend = np.where(np.isfinite(a), b * (1 - share) + a * share - _BLEND_MM * share * (1 - share), b)
    return np.asarray(blend)
