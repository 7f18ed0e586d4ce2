"""Mend a noisy label of thin vessels as a tree of tubes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cc3d
import edt
import networkx as nx
import numpy as np
from scipy.ndimage import binary_erosion

from heartmend.vessels.bridge import Bridge, BridgeRules, Field, Surroundings, bridged
from heartmend.vessels.calibre import Calibre
from heartmend.vessels.tree import CentreTree, Floats, Mask, pruned, trace
from heartmend.vessels.tube import Kernel, capsule_sdf, centred, equal_area_radius, reaching, voxel_points

Box = tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True)
class TreeSettings:
    """All lengths in mm, each from what a coronary artery is and not from a data set.

    speck_mm3: pieces below carry no direction (a vessel of 1 mm radius, 1 mm long). spur_mm: shorter twigs are the thinning's.
    centre_mm, radius_mm: how far along the vessel the middle and the radius are averaged. wide_mm: ... of the robust radius.
    calibre: the population's width, None to leave every label as wide as it came.
    """

    speck_mm3: float = 3.0
    spur_mm: float = 3.0
    centre_mm: float = 1.5
    radius_mm: float = 3.0
    min_radius_mm: float = 0.5
    aorta_mm3: float = 1000.0
    piece_mm: float = 15.0
    far_mm: float = 10.0
    tube_weight: float | None = None
    match: bool = False
    calibre: Calibre | None = field(default_factory=Calibre)
    bridges: BridgeRules = field(default_factory=BridgeRules)


@dataclass(frozen=True)
class Piece:
    """Something taken away: where and how much."""

    box: Box
    mm3: float
    length_mm: float


@dataclass(frozen=True)
class TreeResult:
    """mask: like the input. graph: nodes with mm, radius_mm, bridge. excess_mm: what the whole label was too wide."""

    mask: Mask
    graph: nx.Graph
    bridges: tuple[Bridge, ...]
    dropped: tuple[Piece, ...]
    spurs: tuple[Piece, ...]
    excess_mm: float
    tree_radius_mm: float


def tree_radius_mm(tree: CentreTree) -> float:
    """Radius of the equal tube: as long as the tree and with its volume."""
    own = tree.bridge < 0
    share = tree.length_share_mm * own
    return float(np.sqrt((tree.radius_mm**2 * share).sum() / share.sum())) if share.sum() > 0 else 0.0


def measure(mask: Mask, spacing_mm: tuple[float, float, float], settings: TreeSettings | None = None) -> CentreTree:
    """Centreline and radius of a label as it is, nothing mended."""
    return _measured(mask, spacing_mm, settings or TreeSettings())[0]


def _measured(mask: Mask, spacing_mm: tuple[float, float, float], s: TreeSettings) -> tuple[CentreTree, list[Floats], Mask]:
    voxel = float(np.prod(spacing_mm))
    mask = cc3d.dust(mask, threshold=int(np.ceil(s.speck_mm3 / voxel)), connectivity=26) > 0
    tree, spurs = pruned(trace(mask, spacing_mm), s.spur_mm)
    if len(tree):
        points = voxel_points(mask, spacing_mm)
        tree = reaching(centred(tree, points, s.centre_mm), points, s.bridges.direction_mm)
        tree = tree.with_radius(equal_area_radius(tree, points, voxel, s.radius_mm))
    return tree, spurs, mask


def mend_tree(
    mask: Mask,
    spacing_mm: tuple[float, float, float],
    *,
    aorta: Mask | None = None,
    heart: Mask | None = None,
    settings: TreeSettings | None = None,
) -> TreeResult:
    s = settings or TreeSettings()
    full = mask.shape
    out = np.zeros(full, bool)
    if not mask.any():
        return TreeResult(out, nx.Graph(), (), (), (), 0.0, 0.0)
    spacing = tuple(float(z) for z in spacing_mm)
    window, origin = _window(mask, spacing, 10.0)
    label = np.ascontiguousarray(mask[window])
    voxel = float(np.prod(spacing))

    tree, spur_points, clean = _measured(label, spacing, s)
    around = _surroundings(aorta, heart, window, spacing, s)
    tree, bridges, rooted = bridged(tree, around, s.bridges)
    keep = _kept(tree, rooted, around, s)
    gone = tree.kept(~keep)
    tree = tree.kept(keep)
    radius = tree_radius_mm(tree)
    excess = s.calibre.excess_mm(radius, min(spacing)) if s.calibre else 0.0
    tree = tree.with_radius(_profile(tree, s))
    w = s.tube_weight if s.tube_weight is not None else _weight(roughness_mm(tree, clean, spacing), min(spacing))
    tree = tree.with_radius(np.maximum(tree.radius_mm - excess, s.min_radius_mm))
    out[window] = _render(tree, clean, spacing, excess, s, w)
    return TreeResult(out, tree.moved(tree.points_mm + origin).to_networkx(), tuple(bridges), (), (), excess, radius)


def _window(mask, spacing, margin_mm):
    slices = []
    for axis, z in enumerate(spacing):
        hit = np.flatnonzero(mask.any(axis=tuple(k for k in range(3) if k != axis)))
        m = int(np.ceil(margin_mm / z))
        slices.append(slice(max(hit[0] - m, 0), min(hit[-1] + m + 1, mask.shape[axis])))
    return tuple(slices), np.array([sl.start for sl in slices]) * spacing


def _surroundings(aorta, heart, window, spacing, s):
    surface = np.zeros((0, 3))
    if aorta is not None:
        a = cc3d.dust(np.ascontiguousarray(aorta[window]), threshold=int(np.ceil(s.aorta_mm3 / np.prod(spacing)))) > 0
        surface = voxel_points(a & ~binary_erosion(a), spacing)
    field_ = None
    if heart is not None:
        h = np.ascontiguousarray(heart[window])
        field_ = Field(edt.edt(~h, anisotropy=spacing) - edt.edt(h, anisotropy=spacing), np.array(spacing))
    return Surroundings(surface, field_)


def _kept(tree: CentreTree, rooted: Mask, around: Surroundings, s: TreeSettings) -> Mask:
    length = np.bincount(tree.piece, tree.length_share_mm)[tree.piece]
    far = np.zeros(len(tree), bool)
    if around.heart is not None:
        height = around.heart(tree.points_mm)
        median = np.array([np.median(height[tree.piece == k]) for k in range(tree.piece.max() + 1)])
        far = median[tree.piece] > s.far_mm
    limit = np.where(rooted, s.spur_mm, s.piece_mm)
    return ~far & (length >= np.minimum(limit, 0.5 * length.max()))


def _profile(tree: CentreTree, s: TreeSettings) -> Floats:
    own = tree.bridge < 0
    weight = tree.length_share_mm * own
    # cut ends are rounded
    log = np.log(np.maximum(tree.radius_mm, 0.1))
    kernel = Kernel.along(tree, s.radius_mm)
    near = kernel.sum(weight)
    smooth = np.exp(kernel.mean(log, weight))
    return np.where(near > 0.1, smooth, tree.radius_mm)


def roughness_mm(tree: CentreTree, label: Mask, spacing) -> float:
    """Robust spread of the label's surface about the tube."""
    faces = []
    for axis in range(3):
        at = np.argwhere(np.diff(label.astype(np.int8), axis=axis) != 0).astype(float)
        at[:, axis] += 0.5
        faces.append(at * spacing)
    distance = capsule_sdf(tree, np.concatenate(faces))
    distance = distance[np.abs(distance) < 3.0]
    return float(1.4826 * np.median(np.abs(distance - np.median(distance)))) if len(distance) else 0.0


def _weight(rough: float, voxel: float) -> float:
    noise = max(rough**2 - (0.3 * voxel) ** 2, 0.0)
    return noise / (noise + (0.35 * voxel) ** 2)


def _render(tree, label, spacing, excess, s, w) -> Mask:
    reach = float(tree.radius_mm.max(initial=0.0)) + 3.0
    marks = np.ones(label.shape, bool)
    index = np.clip(np.round(tree.points_mm / spacing).astype(int), 0, np.array(label.shape) - 1)
    marks[tuple(index.T)] = False
    near = edt.edt(marks, anisotropy=spacing) < reach
    points = voxel_points(near, spacing)
    tube = capsule_sdf(tree, points)
    if w == 1:
        f = tube
    else:
        half = 0.5 * min(spacing)
        inside = edt.edt(label, anisotropy=spacing)[near]
        outside = edt.edt(~label, anisotropy=spacing)[near]
        phi = np.where(label[near], half - inside, outside - half) + excess
        f = (1 - w) * phi + w * tube
        if s.match and abs(excess) > 0.15 * min(spacing):
            own = tree.bridge < 0
            want = int((np.pi * tree.radius_mm**2 * tree.length_share_mm * own).sum() / np.prod(spacing))
            ff = f + 0.2 * tube if w < 0.2 else f
            f = ff - np.partition(ff, want)[want]
        if (tree.bridge >= 0).any():
            b = tree.bridge >= 0
            touch = b.copy()
            touch[tree.edges[b[tree.edges].any(1)].ravel()] = True
            f = np.minimum(f, capsule_sdf(tree.kept(touch), points))
    out = np.zeros(label.shape, bool)
    out[near] = f < 0
    # however thin, a vessel does not end before its end
    a, b = tree.points_mm[tree.edges[:, 0]], tree.points_mm[tree.edges[:, 1]]
    steps = max(int(np.ceil(tree.edge_mm.max(initial=0.0) / (0.5 * min(spacing)))), 1)
    for t in np.linspace(0, 1, steps + 1):
        index = np.round((a + t * (b - a)) / spacing).astype(int)
        ok = ((index >= 0) & (index < out.shape)).all(1)
        out[tuple(index[ok].T)] = True
    return out
