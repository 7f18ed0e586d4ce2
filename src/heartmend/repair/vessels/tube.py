"""The tube around a centreline: where its middle is, how wide it is, and its signed distance."""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx
import numpy as np
from scipy.spatial import cKDTree

from heartmend.repair.vessels.tree import CentreTree, IntArray
from heartmend.types import FloatArray


@dataclass(frozen=True)
class Kernel:
    """Gaussian weights along the centreline, (n, n); it never reaches over to another branch through the air."""

    weights: FloatArray

    @classmethod
    def along(cls, tree: CentreTree, sigma_mm: float) -> Kernel:
        """The kernel of a forest."""
        return cls(np.exp(-0.5 * np.square(tree.along_mm(3 * sigma_mm) / sigma_mm)))

    def sum(self, values: FloatArray) -> FloatArray:
        """Weighted sums about each point of values (n,) or (n, k)."""
        return self.weights @ values

    def mean(self, values: FloatArray, share: FloatArray) -> FloatArray:
        """Weighted means about each point of values (n,) or (n, k), each value counting by its share (n,)."""
        total = np.maximum(self.weights @ share, 1e-9)
        return ((self.weights @ (values.T * share).T).T / total).T


def centred(tree: CentreTree, voxels_mm: FloatArray, sigma_mm: float) -> CentreTree:
    """Smooth the centreline and draw it to the middle of the label's voxels (k, 3), averaged along `sigma_mm`.

    The thinning's path jumps by voxels; the mean of the voxels about it is good to a fraction of one.
    """
    kernel = Kernel.along(tree, sigma_mm)
    share = np.maximum(tree.share_mm, 1e-3)
    once = kernel.mean(tree.points_mm, share)
    smooth = 2 * once - kernel.mean(once, share)  # adding back what a second pass takes keeps bends in place
    ends = tree.ends
    smooth[ends] = tree.points_mm[ends]

    owner = _owners(smooth, voxels_mm)
    offset = voxels_mm - smooth[owner]
    count = np.bincount(owner, minlength=len(tree)).astype(float)
    total = np.zeros((len(tree), 3))
    np.add.at(total, owner, offset)
    shift = kernel.sum(total) / np.maximum(kernel.sum(count), 1.0)[:, None]
    shift[ends] = 0.0  # the voxels about a tip lie all to one side of it
    return tree.moved(smooth + shift)


def reaching(tree: CentreTree, voxels_mm: FloatArray, direction_mm: float) -> CentreTree:
    """Draw every tip out to where the label ends: the thinning stops about one radius short, often in a corner.

    The new tip lies on the line through the vessel's last `direction_mm`.
    """
    owner = _owners(tree.points_mm, voxels_mm)
    points = tree.points_mm.copy()
    tips = np.flatnonzero(tree.degree == 1).astype(np.intp)
    for tip, back_mm in zip(tips, tree.along_mm(direction_mm, tips), strict=True):
        near = np.flatnonzero(np.isfinite(back_mm))
        if back_mm[near].max() < 0.5 * direction_mm:
            continue
        inner = near[back_mm[near] > 0.2 * direction_mm]
        last = near[back_mm[near] <= 0.4 * direction_mm]
        foot, way = line(points[inner], back_mm[inner])
        ahead_mm = (voxels_mm[np.isin(owner, last)] - foot) @ way
        if len(ahead_mm):
            points[tip] = foot + way * float(np.percentile(ahead_mm, 90))
    return tree.moved(points)


def line(points_mm: FloatArray, back_mm: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Least squares line of position over distance from the tip: its place at distance 0, and the unit way outward."""
    mean_mm = back_mm.mean()
    centred_mm = back_mm - mean_mm
    slope = centred_mm @ points_mm / max(float(centred_mm @ centred_mm), 1e-9)
    foot = points_mm.mean(axis=0) - slope * mean_mm
    return foot, -slope / max(float(np.linalg.norm(slope)), 1e-9)


def equal_area_radius(tree: CentreTree, voxels_mm: FloatArray, voxel_mm3: float, sigma_mm: float) -> FloatArray:
    """Radius of the circle with the label's cross-section, (n,): local volume over local length.

    Boundary noise moves voxels in and out and leaves their number nearly alone, so this is far less biased than the
    largest inscribed ball, which sees the deepest dent only.
    """
    kernel = Kernel.along(tree, sigma_mm)
    volume = kernel.sum(np.bincount(_owners(tree.points_mm, voxels_mm), minlength=len(tree)).astype(float)) * voxel_mm3
    length = kernel.sum(tree.share_mm)
    ball = np.cbrt(0.75 / np.pi * volume)  # what a piece without length can be at most
    return np.minimum(np.sqrt(volume / np.maximum(length, 1e-3) / np.pi), ball)


def smoothed_radius(tree: CentreTree, sigma_mm: float) -> FloatArray:
    """Radii averaged (geometrically) along the vessel, (n,); those of bridges follow from both their ends."""
    share = tree.share_mm * (tree.bridge < 0)
    kernel = Kernel.along(tree, sigma_mm)
    smooth = np.exp(kernel.mean(np.log(np.maximum(tree.radius_mm, 1e-3)), share))
    return np.where(kernel.sum(share) > 0.1, smooth, tree.radius_mm)


def tube_sdf(tree: CentreTree | nx.Graph, points_mm: FloatArray) -> FloatArray:
    """Signed distance in mm (negative inside) of points (k, 3) to the union of the tapered capsules on the edges.

    A graph needs `mm` and `radius_mm` at its nodes. Each point is measured against the edges at its eight nearest
    centreline points: exact near the tube where edges are short, and an upper bound elsewhere.
    """
    tree = tree if isinstance(tree, CentreTree) else CentreTree.from_networkx(tree)
    if len(tree) == 0:
        return np.full(len(points_mm), np.inf)
    nearest = cKDTree(tree.points_mm).query(points_mm, k=min(8, len(tree)))[1].reshape(len(points_mm), -1)
    balls = np.linalg.norm(points_mm[:, None] - tree.points_mm[nearest], axis=2) - tree.radius_mm[nearest]
    best = np.where(tree.degree[nearest] == 0, balls, np.inf).min(axis=1)
    for edge in _edges_at(tree, nearest):
        has = edge >= 0
        a, b = tree.edges[edge[has]].T
        start, way = tree.points_mm[a], tree.points_mm[b] - tree.points_mm[a]
        offset = points_mm[has] - start
        t = np.clip((offset * way).sum(axis=1) / np.maximum((way**2).sum(axis=1), 1e-9), 0.0, 1.0)
        distance = np.linalg.norm(offset - t[:, None] * way, axis=1)
        best[has] = np.minimum(best[has], distance - (1 - t) * tree.radius_mm[a] - t * tree.radius_mm[b])
    return best


def _edges_at(tree: CentreTree, nodes: IntArray) -> list[IntArray]:
    """The edges at the nodes (k, neighbours), as arrays (k,) of edge numbers with -1 for none."""
    order = np.argsort(tree.edges.ravel(), kind="stable") // 2
    start = np.concatenate([[0], np.cumsum(tree.degree)])
    columns = []
    for node in nodes.T:
        for slot in range(int(tree.degree.max(initial=0))):
            has = slot < tree.degree[node]
            columns.append(np.where(has, order[np.where(has, start[node] + slot, 0)], -1).astype(np.intp))
    return columns


def _owners(points_mm: FloatArray, voxels_mm: FloatArray) -> IntArray:
    """For each voxel the nearest centreline point."""
    return np.asarray(cKDTree(points_mm).query(voxels_mm)[1], np.intp)
