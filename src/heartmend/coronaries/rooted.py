"""A forest of centrelines with its ostia: parents, paths and subtrees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from heartmend.geometry.centrelines.tree import CentreTree, IntArray
from heartmend.types import FloatArray, Mask

ROOT_MM = 2.0
"""A vessel whose surface comes as near to the aorta arises there."""
_SAME_MM = 20.0
"""Points near the aorta within this distance along the vessel are one ostium."""
_LOST_MM = 15.0
"""Length of vessel that may be missing at an ostium: that of the longest gap which is bridged."""
NOTHING = -1


@dataclass(frozen=True, eq=False)
class RootedForest:
    """Forest in which every point knows its ostium.

    Attributes:
        tree: the centrelines.
        roots: indices of the ostia.
        root: (n,) index in `roots` of the ostium that a point is nearest to along the vessel; -1 without one.
        parent: (n,) next point towards the ostium; -1 at an ostium and without one.
        depth_mm: (n,) distance to the ostium along the vessel; infinite without one.
    """

    tree: CentreTree
    roots: tuple[int, ...]
    root: IntArray
    parent: IntArray
    depth_mm: FloatArray

    @classmethod
    def of(cls, tree: CentreTree, roots: tuple[int, ...]) -> RootedForest:
        """Find parents and distances for given ostia.

        Args:
            tree: the centrelines.
            roots: indices of the ostia.

        Returns:
            The forest.
        """
        if not roots:
            nowhere = np.full(len(tree), NOTHING, np.intp)
            return cls(tree, (), nowhere, nowhere, np.full(len(tree), np.inf))
        depth, before, source = dijkstra(
            tree.matrix, directed=False, indices=list(roots), min_only=True, return_predecessors=True
        )
        number = {root: i for i, root in enumerate(roots)}
        nearest = np.array([number.get(int(s), NOTHING) for s in source], np.intp)
        return cls(tree, roots, nearest, np.maximum(before, NOTHING).astype(np.intp), depth)

    @classmethod
    def at_aorta(cls, tree: CentreTree, aorta_mm: FloatArray) -> RootedForest:
        """Find the ostia: of the points at the aorta the nearest one of each stretch of vessel.

        A component of at least 20 mm that begins within 15 mm of the aorta without reaching it has its nearest
        point as the ostium.

        Args:
            tree: the centrelines.
            aorta_mm: (k, 3) positions of the aorta.

        Returns:
            The forest.
        """
        if not len(tree) or not len(aorta_mm):
            return cls.of(tree, ())
        away = cKDTree(aorta_mm).query(tree.points_mm)[0] - tree.radius_mm
        # The aorta is sampled, so of points at nearly the same distance the end of the vessel is its ostium.
        preference = away - ROOT_MM * (tree.degree <= 1)
        touching = np.flatnonzero(away <= ROOT_MM)
        for component in np.setdiff1d(np.flatnonzero(tree.component_mm >= _SAME_MM), tree.component[touching]):
            points = np.flatnonzero(tree.component == component)
            nearest = points[np.argmin(preference[points])]
            if away[nearest] <= _LOST_MM:
                touching = np.append(touching, nearest)
        order = touching[np.argsort(preference[touching], kind="stable")]
        roots, taken = list[int](), np.zeros(len(tree), bool)
        for point in order:
            if not taken[point]:
                roots.append(int(point))
                taken |= np.isfinite(tree.along_mm(_SAME_MM, np.array([point], np.intp))[0])
        return cls.of(tree, tuple(roots))

    @cached_property
    def children(self) -> list[list[int]]:
        """Points that a point is the parent of, for each point."""
        found: list[list[int]] = [[] for _ in range(len(self.tree))]
        for point, parent in enumerate(self.parent.tolist()):
            if parent != NOTHING:
                found[parent].append(point)
        return found

    def tips(self, points: Mask) -> list[int]:
        """List the points without a child among some points.

        Args:
            points: (n,) bool.

        Returns:
            Their indices.
        """
        return [int(p) for p in np.flatnonzero(points) if not any(points[c] for c in self.children[p])]

    def path_to(self, point: int) -> list[int]:
        """List the points from the ostium to a point.

        Args:
            point: index of the point.

        Returns:
            Indices, the ostium first.
        """
        path = [point]
        while self.parent[path[-1]] != NOTHING:
            path.append(int(self.parent[path[-1]]))
        return path[::-1]

    def beyond(self, point: int) -> IntArray:
        """List a point and all points that are reached through it.

        Args:
            point: index of the point.

        Returns:
            Indices.
        """
        found = [point]
        for current in found:
            found += self.children[current]
        return np.array(found, np.intp)

    def side_branches(self, path: Mask) -> Iterator[tuple[int, IntArray]]:
        """List the branches that leave a set of points.

        Args:
            path: (n,) bool, the points.

        Yields:
            Where a branch leaves, and its points.
        """
        for point in np.flatnonzero(path):
            for child in self.children[point]:
                if not path[child]:
                    yield int(point), self.beyond(child)
