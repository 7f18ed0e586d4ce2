"""Tube model of a vessel: position of its centreline, radius, and signed distance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from heartmend.geometry.centrelines.tree import CentreTree, IntArray
from heartmend.types import FloatArray

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True)
class CentrelineKernel:
    """Gaussian weights along the centreline, which do not reach other branches across a gap.

    Attributes:
        weights: (n, n) weights.
    """

    weights: FloatArray

    @classmethod
    def along(cls, tree: CentreTree, sigma_mm: float) -> CentrelineKernel:
        """Compute the smoothing kernel of a forest.

        Args:
            tree: the forest.
            sigma_mm: standard deviation in mm.

        Returns:
            The kernel.
        """
        return cls(np.exp(-0.5 * np.square(tree.along_mm(3 * sigma_mm) / sigma_mm)))

    def sum(self, values: FloatArray) -> FloatArray:
        """Compute the weighted sums about each point.

        Args:
            values: (n,) or (n, k).

        Returns:
            The sums, of the same shape.
        """
        return self.weights @ values

    def mean(self, values: FloatArray, share: FloatArray) -> FloatArray:
        """Compute the weighted means about each point.

        Args:
            values: (n,) or (n, k).
            share: (n,), further weights.

        Returns:
            The means, of the same shape as `values`.
        """
        total = np.maximum(self.weights @ share, 1e-9)
        return ((self.weights @ (values.T * share).T).T / total).T


def centre_on_label(tree: CentreTree, voxels_mm: FloatArray, sigma_mm: float) -> CentreTree:
    """Smooth the centreline and move it to the centre of the label.

    The skeleton moves in steps of voxels; the mean of the voxels around it is accurate to a fraction of a voxel.

    Args:
        tree: the forest.
        voxels_mm: (k, 3) positions of the label's voxels.
        sigma_mm: standard deviation of the averaging along the vessel.

    Returns:
        The centred forest; its ends do not move.
    """
    kernel = CentrelineKernel.along(tree, sigma_mm)
    share = np.maximum(tree.share_mm, 1e-3)
    once = kernel.mean(tree.points_mm, share)
    smooth = 2 * once - kernel.mean(once, share)  # adds back what a second pass removes, so that bends stay in place
    ends = tree.ends
    smooth[ends] = tree.points_mm[ends]

    owner = _owners(smooth, voxels_mm)
    offset = voxels_mm - smooth[owner]
    count = np.bincount(owner, minlength=len(tree)).astype(float)
    total = np.zeros((len(tree), 3))
    np.add.at(total, owner, offset)
    shift = kernel.sum(total) / np.maximum(kernel.sum(count), 1.0)[:, None]
    shift[ends] = 0.0  # the voxels about a tip are all on one side of it
    return tree.with_points(smooth + shift)


def extend_tips(tree: CentreTree, voxels_mm: FloatArray, direction_mm: float) -> CentreTree:
    """Extend every tip to the end of the label, because thinning stops about one radius before it.

    Args:
        tree: the forest.
        voxels_mm: (k, 3) positions of the label's voxels.
        direction_mm: length of vessel to which a line is fitted; the new tip is on this line.

    Returns:
        The extended forest.
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
        origin, direction = fit_line(points[inner], back_mm[inner])
        ahead_mm = (voxels_mm[np.isin(owner, last)] - origin) @ direction
        if len(ahead_mm):
            points[tip] = origin + direction * float(np.percentile(ahead_mm, 90))
    return tree.with_points(points)


def fit_line(points_mm: FloatArray, back_mm: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fit a line to the last points of a vessel by least squares.

    Args:
        points_mm: (n, 3) positions.
        back_mm: (n,) distance of each point from the tip, along the vessel.

    Returns:
        The line's position (3,) at distance 0, and its outward unit direction (3,).

    Example:
        >>> _, direction = fit_line(np.array([[0.0, 0, -1], [0, 0, -3]]), np.array([1.0, 3.0]))
        >>> direction.tolist()
        [-0.0, -0.0, 1.0]
    """
    mean_mm = back_mm.mean()
    centred_mm = back_mm - mean_mm
    slope = centred_mm @ points_mm / max(float(centred_mm @ centred_mm), 1e-9)
    origin = points_mm.mean(axis=0) - slope * mean_mm
    return origin, -slope / max(float(np.linalg.norm(slope)), 1e-9)


def equal_area_radius(tree: CentreTree, voxels_mm: FloatArray, voxel_mm3: float, sigma_mm: float) -> FloatArray:
    """Compute the radius of the circle with the area of the label's cross-section: local volume over local length.

    Boundary noise adds and removes voxels and hardly changes their number, so the bias is far smaller than that of the
    largest inscribed ball, which depends on the deepest dent.

    Args:
        tree: the forest.
        voxels_mm: (k, 3) positions of the label's voxels.
        voxel_mm3: volume of a voxel.
        sigma_mm: standard deviation of the averaging along the vessel.

    Returns:
        (n,) radius at each point in mm.
    """
    kernel = CentrelineKernel.along(tree, sigma_mm)
    volume = kernel.sum(np.bincount(_owners(tree.points_mm, voxels_mm), minlength=len(tree)).astype(float)) * voxel_mm3
    length = kernel.sum(tree.share_mm)
    ball = np.cbrt(0.75 / np.pi * volume)  # the upper limit for a component without length
    return np.minimum(np.sqrt(volume / np.maximum(length, 1e-3) / np.pi), ball)


def smoothed_radius(tree: CentreTree, sigma_mm: float) -> FloatArray:
    """Smooth the radii along the vessel by a geometric mean; those of bridges follow from their two ends.

    Args:
        tree: the forest.
        sigma_mm: standard deviation of the averaging along the vessel.

    Returns:
        (n,) radius at each point in mm.
    """
    share = tree.share_mm * (tree.bridge < 0)
    kernel = CentrelineKernel.along(tree, sigma_mm)
    smooth = np.exp(kernel.mean(np.log(np.maximum(tree.radius_mm, 1e-3)), share))
    return np.where(kernel.sum(share) > 0.1, smooth, tree.radius_mm)


def tube_sdf(tree: CentreTree | nx.Graph, points_mm: FloatArray) -> FloatArray:
    """Compute the signed distance to a vessel tree: the union of tapered capsules on its edges.

    Each point is measured against the edges at its eight nearest centreline points. That is exact near the tube if
    edges are short, and an upper bound elsewhere.

    Args:
        tree: the forest, or a graph whose nodes have `mm` and `radius_mm`.
        points_mm: (k, 3) positions.

    Returns:
        (k,) distance in mm, negative inside; infinite for an empty forest.

    Example:
        >>> from heartmend.geometry.centrelines.tree import chain
        >>> tube = chain(np.array([[0.0, 0, 0], [10, 0, 0]]), np.full(2, 2.0))
        >>> tube_sdf(tube, np.array([[5.0, 0, 0], [5, 0, 5]])).tolist()
        [-2.0, 3.0]
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
    """Edges at the nodes (k, neighbours), as arrays (k,) of edge indices with -1 for none."""
    order = np.argsort(tree.edges.ravel(), kind="stable") // 2
    start = np.concatenate([[0], np.cumsum(tree.degree)])
    columns = []
    for node in nodes.T:
        for slot in range(int(tree.degree.max(initial=0))):
            has = slot < tree.degree[node]
            columns.append(np.where(has, order[np.where(has, start[node] + slot, 0)], -1).astype(np.intp))
    return columns


def _owners(points_mm: FloatArray, voxels_mm: FloatArray) -> IntArray:
    """Index of the nearest centreline point of each voxel."""
    return np.asarray(cKDTree(points_mm).query(voxels_mm)[1], np.intp)
