"""The tube around a centreline: where its middle is, how wide it is, and its signed distance."""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx
import numpy as np
from scipy.spatial import cKDTree

from heartmend.vessels.tree import CentreTree, Floats, Ints, Mask


@dataclass(frozen=True)
class Kernel:
    """Gaussian weights along the centreline, as an (n, n) array; it never reaches over to another branch by air."""

    weights: Floats

    @classmethod
    def along(cls, tree: CentreTree, sigma_mm: float) -> Kernel:
        distance = tree.along_mm(3 * sigma_mm)
        return cls(np.exp(-0.5 * np.square(distance / sigma_mm), where=np.isfinite(distance), out=np.zeros_like(distance)))

    def sum(self, values: Floats) -> Floats:
        return np.asarray(self.weights @ values)

    def mean(self, values: Floats, weight: Floats) -> Floats:
        total = np.maximum(self.weights @ weight, 1e-9)
        if values.ndim == 2:
            return np.asarray(self.weights @ (values * weight[:, None]) / total[:, None])
        return np.asarray(self.weights @ (values * weight) / total)


def smoothed_points(tree: CentreTree, sigma_mm: float) -> Floats:
    """Centreline without the voxels' steps. Smoothing twice and adding back the difference keeps bends in place."""
    share = np.maximum(tree.length_share_mm, 1e-3)
    kernel = Kernel.along(tree, sigma_mm)
    once = kernel.mean(tree.points_mm, share)
    smooth = 2 * once - kernel.mean(once, share)
    ends = tree.degree <= 1
    smooth[ends] = tree.points_mm[ends]
    return smooth


def owners(tree: CentreTree, voxels_mm: Floats) -> tuple[Ints, Floats]:
    """For each voxel the nearest centreline point, and how far it is."""
    distance, owner = cKDTree(tree.points_mm).query(voxels_mm)
    return np.asarray(owner, np.intp), np.asarray(distance)


def centred(tree: CentreTree, voxels_mm: Floats, sigma_mm: float) -> CentreTree:
    """Smooth the centreline and draw it to the middle of the label's voxels, averaged along `sigma_mm`."""
    tree = tree.moved(smoothed_points(tree, sigma_mm))
    owner, _ = owners(tree, voxels_mm)
    offset = voxels_mm - tree.points_mm[owner]
    count = np.bincount(owner, minlength=len(tree)).astype(float)
    total = np.stack([np.bincount(owner, offset[:, k], minlength=len(tree)) for k in range(3)], 1)
    kernel = Kernel.along(tree, sigma_mm)
    shift = kernel.sum(total) / np.maximum(kernel.sum(count), 1.0)[:, None]
    shift[tree.degree <= 1] = 0.0  # voxels beyond a tip lie all on one side of it
    return tree.moved(tree.points_mm + shift)


def equal_area_radius(tree: CentreTree, voxels_mm: Floats, voxel_mm3: float, sigma_mm: float) -> Floats:
    """Radius of the circle with the label's cross-section, (n,): local volume over local length.

    Boundary noise moves voxels in and out and leaves their number, so this is far less biased than the largest
    inscribed ball, which only sees the deepest dent.
    """
    owner, _ = owners(tree, voxels_mm)
    kernel = Kernel.along(tree, sigma_mm)
    volume = kernel.sum(np.bincount(owner, minlength=len(tree)) * voxel_mm3)
    length = kernel.sum(tree.length_share_mm)
    ball = np.cbrt(0.75 / np.pi * volume)  # what a piece without length can be at most
    return np.minimum(np.sqrt(volume / np.maximum(length, 1e-3) / np.pi), ball)


def reaching(tree: CentreTree, voxels_mm: Floats, direction_mm: float) -> CentreTree:
    """Draw every tip out to where the label ends: the thinning stops about one radius short, often in a corner.

    The new tip lies on the line through the vessel's last `direction_mm`.
    """
    owner, _ = owners(tree, voxels_mm)
    points = tree.points_mm.copy()
    ends = np.flatnonzero(tree.degree == 1).astype(np.intp)
    for end, back in zip(ends, tree.along_mm(direction_mm, ends), strict=True):
        near = np.flatnonzero(np.isfinite(back))
        if back[near].max() < 0.5 * direction_mm:
            continue
        inner = near[back[near] > 0.2 * direction_mm]
        foot, way = line(points[inner], back[inner])
        last = near[back[near] <= 0.4 * direction_mm]
        ahead = (voxels_mm[np.isin(owner, last)] - foot) @ way
        if len(ahead):
            points[end] = foot + way * max(float(np.percentile(ahead, 90)), float((points[last] - foot).dot(way).min()))
    return tree.moved(points)


def line(points_mm: Floats, back_mm: Floats) -> tuple[Floats, Floats]:
    """Least squares line of position over distance from the tip: the place at distance 0, and the unit way outward."""
    b = back_mm - back_mm.mean()
    slope = (b[:, None] * points_mm).sum(0) / max(float((b**2).sum()), 1e-9)
    foot = points_mm.mean(0) - slope * back_mm.mean()
    return foot, -slope / max(float(np.linalg.norm(slope)), 1e-9)


def capsule_sdf(tree: CentreTree, points_mm: Floats, neighbours: int = 8) -> Floats:
    """Signed distance in mm to the union of the tapered capsules on the edges; negative inside.

    Each point is measured against the edges at its nearest centreline points, which is exact where edges are short.
    """
    if len(tree) == 0:
        return np.full(len(points_mm), np.inf)
    best = np.full(len(points_mm), np.inf)
    k = min(neighbours, len(tree))
    nearest = cKDTree(tree.points_mm).query(points_mm, k=k)[1].reshape(len(points_mm), -1)
    lone = tree.degree[nearest] == 0
    ball = np.linalg.norm(points_mm[:, None] - tree.points_mm[nearest], axis=2) - tree.radius_mm[nearest]
    best = np.where(lone, ball, np.inf).min(axis=1)
    order = np.argsort(tree.edges.ravel(), kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(tree.edges.ravel(), minlength=len(tree)))])
    for column in range(k):
        node = nearest[:, column]
        for slot in range(int(tree.degree.max(initial=0))):
            has = slot < tree.degree[node]
            if not has.any():
                continue
            edge = order[start[node[has]] + slot] // 2
            a, b = tree.edges[edge].T
            pa, pb = tree.points_mm[a], tree.points_mm[b]
            along = pb - pa
            t = np.einsum("ij,ij->i", points_mm[has] - pa, along) / np.maximum(np.einsum("ij,ij->i", along, along), 1e-9)
            t = np.clip(t, 0.0, 1.0)
            distance = np.linalg.norm(points_mm[has] - pa - t[:, None] * along, axis=1)
            radius = (1 - t) * tree.radius_mm[a] + t * tree.radius_mm[b]
            best[has] = np.minimum(best[has], distance - radius)
    return best


def tube_sdf(graph: nx.Graph | CentreTree, points_mm: Floats) -> Floats:
    """Signed distance in mm (negative inside) of points (n, 3) to the tube of a centreline graph."""
    tree = graph if isinstance(graph, CentreTree) else CentreTree.from_networkx(graph)
    return capsule_sdf(tree, np.asarray(points_mm, float))


def voxel_points(mask: Mask, spacing_mm: tuple[float, float, float]) -> Floats:
    """Centres of a mask's voxels, (n, 3) mm."""
    return np.asarray(np.argwhere(mask) * np.asarray(spacing_mm, float))
