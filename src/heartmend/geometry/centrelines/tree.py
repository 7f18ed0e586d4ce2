"""Centreline of a vessel tree as a forest: points in mm, edges between neighbouring points, no loops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import cKDTree

from heartmend.geometry.boxes import bounding_box
from heartmend.types import FloatArray, Mask

if TYPE_CHECKING:
    import networkx as nx

Spacing = tuple[float, float, float]
IntArray = npt.NDArray[np.intp]
NO_BRIDGE = -1
"""Value of `CentreTree.bridge` for points of the label itself."""


@dataclass(frozen=True)
class CentreTree:
    """Forest of centrelines. Positions are voxel index times spacing, so that voxel (0, 0, 0) is at the origin.

    Attributes:
        points_mm: (n, 3) positions.
        edges: (m, 2) indices of the points that each edge connects, without loops.
        radius_mm: (n,) radius of the vessel at each point.
        bridge: (n,) index of the bridge that a point belongs to; `NO_BRIDGE` for points of the label.
    """

    points_mm: FloatArray
    edges: IntArray
    radius_mm: FloatArray
    bridge: IntArray

    def __len__(self) -> int:
        return len(self.points_mm)

    @cached_property
    def edge_mm(self) -> FloatArray:
        """(m,) lengths of the edges."""
        a, b = self.edges.T
        return np.linalg.norm(self.points_mm[a] - self.points_mm[b], axis=1)

    @cached_property
    def matrix(self) -> csr_matrix:
        """(n, n) symmetric sparse matrix of edge lengths."""
        a, b = self.edges.T
        length = np.maximum(self.edge_mm, 1e-6)  # a stored zero would be no edge
        rows, columns = np.concatenate([a, b]), np.concatenate([b, a])
        return csr_matrix((np.concatenate([length, length]), (rows, columns)), shape=(len(self), len(self)))

    @cached_property
    def degree(self) -> IntArray:
        """(n,) number of edges at each point: 1 at a tip, 3 at a branching."""
        return np.bincount(self.edges.ravel(), minlength=len(self))

    @cached_property
    def component(self) -> IntArray:
        """(n,) index of the connected component of each point."""
        return connected_components(self.matrix, directed=False)[1].astype(np.intp)

    @cached_property
    def share_mm(self) -> FloatArray:
        """(n,) half the length of the edges at each point; their sum is the length of the forest."""
        return np.bincount(self.edges.ravel(), np.repeat(self.edge_mm / 2, 2), minlength=len(self)).astype(float)

    @cached_property
    def component_mm(self) -> FloatArray:
        """(components,) length of each component."""
        return np.bincount(self.component, self.share_mm).astype(float)

    @property
    def ends(self) -> IntArray:
        """Indices of the points where a vessel ends, single points included."""
        return np.flatnonzero(self.degree <= 1).astype(np.intp)

    def along_mm(self, limit_mm: float, sources: IntArray | None = None) -> FloatArray:
        """Compute distances along the centreline.

        Args:
            limit_mm: largest distance.
            sources: (k,) indices of the points to measure from; None for all.

        Returns:
            (k, n) distances; infinite beyond the limit and in other components.
        """
        return np.asarray(dijkstra(self.matrix, directed=False, indices=sources, limit=limit_mm))

    def subset(self, points: Mask) -> CentreTree:
        """Select points with the edges between them.

        Args:
            points: (n,) bool, the points to select.

        Returns:
            The forest of these points.
        """
        number = np.cumsum(points) - 1
        edges = self.edges[points[self.edges].all(axis=1)]
        return CentreTree(
            self.points_mm[points], number[edges].astype(np.intp), self.radius_mm[points], self.bridge[points]
        )

    def joined(self, other: CentreTree, links: list[tuple[int, int]]) -> CentreTree:
        """Join this forest with another one.

        Args:
            other: the other forest.
            links: edges to add, as pairs of a point of this forest and a point of the other.

        Returns:
            The joined forest: the points of this one first.
        """
        extra = np.array([(a, b + len(self)) for a, b in links], np.intp).reshape(-1, 2)
        return CentreTree(
            np.concatenate([self.points_mm, other.points_mm]),
            np.concatenate([self.edges, other.edges + len(self), extra]),
            np.concatenate([self.radius_mm, other.radius_mm]),
            np.concatenate([self.bridge, other.bridge]),
        )

    def with_points(self, points_mm: FloatArray) -> CentreTree:
        """Copy the forest with other positions.

        Args:
            points_mm: (n, 3) in mm.

        Returns:
            The copy.
        """
        return replace(self, points_mm=points_mm)

    def with_radius(self, radius_mm: FloatArray) -> CentreTree:
        """Copy the forest with other radii.

        Args:
            radius_mm: (n,) in mm.

        Returns:
            The copy.
        """
        return replace(self, radius_mm=radius_mm)

    def twigs(self) -> Iterator[IntArray]:
        """List the paths from each tip to the next branching.

        Yields:
            Indices of the points of a path, tip first, the branching included.
        """
        start, neighbour = self.matrix.indptr, self.matrix.indices
        for tip in np.flatnonzero(self.degree == 1):
            path, before = [int(tip)], -1
            while len(path) == 1 or self.degree[path[-1]] == 2:
                current = path[-1]
                path.append(next(int(j) for j in neighbour[start[current] : start[current + 1]] if j != before))
                before = current
            yield np.array(path, np.intp)

    def paths_from(self, root: int) -> list[IntArray]:
        """List the paths from a point to every other end of its component.

        Args:
            root: index of the point.

        Returns:
            Indices of the points of each path, root first; the root alone where there is no other end.
        """
        distance, before = dijkstra(self.matrix, directed=False, indices=root, return_predecessors=True)
        paths = []
        for tip in self.ends[np.isfinite(distance[self.ends])].tolist():
            path = [tip]
            while path[-1] != root:
                path.append(int(before[path[-1]]))
            if tip != root:
                paths.append(np.array(path[::-1], np.intp))
        return paths or [np.array([root], np.intp)]

    def vessels(self, root_mm: FloatArray) -> list[IntArray]:
        """List the vessels: the path from the root of its component to each tip.

        Args:
            root_mm: (k, 3) positions, such as those of the aorta. The root of each component is its end nearest to one
                of them; without positions its thickest end.

        Returns:
            Indices of the points of each path, root first; a single point is a path of its own.
        """
        ends = self.ends
        away = cKDTree(root_mm).query(self.points_mm[ends])[0] if len(root_mm) else -self.radius_mm[ends]
        paths, done = list[IntArray](), set[int]()
        for root in ends[np.argsort(away, kind="stable")]:
            if (number := int(self.component[root])) not in done:
                done.add(number)
                paths += self.paths_from(int(root))
        return paths

    def to_networkx(self) -> nx.Graph:
        """Convert the forest to a graph.

        Returns:
            The graph: nodes with `mm`, `radius_mm` and `bridge`, edges with `length_mm`.
        """
        import networkx as nx  # here, so that a command that needs no graph starts sooner

        graph = nx.Graph()
        for i, (point, radius, bridge) in enumerate(zip(self.points_mm, self.radius_mm, self.bridge, strict=True)):
            graph.add_node(i, mm=tuple(point.tolist()), radius_mm=float(radius), bridge=int(bridge))
        for (a, b), length in zip(self.edges.tolist(), self.edge_mm.tolist(), strict=True):
            graph.add_edge(a, b, length_mm=length)
        return graph

    @classmethod
    def from_networkx(cls, graph: nx.Graph) -> CentreTree:
        """Create a forest from a graph.

        Args:
            graph: graph without loops; its nodes have `mm` (x, y, z) and `radius_mm`, and may have `bridge`.

        Returns:
            The forest, its points in the order of the nodes.
        """
        number = {node: i for i, node in enumerate(graph)}
        nodes = [data for _, data in graph.nodes(data=True)]
        return cls(
            np.array([data["mm"] for data in nodes], float).reshape(-1, 3),
            np.array([(number[a], number[b]) for a, b in graph.edges], np.intp).reshape(-1, 2),
            np.array([data["radius_mm"] for data in nodes], float),
            np.array([data.get("bridge", NO_BRIDGE) for data in nodes], np.intp),
        )


def chain(points_mm: FloatArray, radius_mm: FloatArray, bridge: int = NO_BRIDGE) -> CentreTree:
    """Create an unbranched vessel.

    Args:
        points_mm: (n, 3) positions in their order along the vessel.
        radius_mm: (n,) radius at each point.
        bridge: index of the bridge that the points belong to.

    Returns:
        The centreline.

    Example:
        >>> chain(np.array([[0.0, 0, 0], [3, 0, 0], [3, 4, 0]]), np.ones(3)).component_mm.tolist()
        [7.0]
    """
    n = len(points_mm)
    edges = np.stack([np.arange(n - 1), np.arange(1, n)], axis=1).astype(np.intp).reshape(-1, 2)
    return CentreTree(points_mm, edges, radius_mm, np.full(n, bridge, np.intp))


def voxel_points(mask: Mask, spacing_mm: Spacing) -> FloatArray:
    """Compute the centres of a mask's voxels.

    Args:
        mask: (x, y, z) bool.
        spacing_mm: voxel spacing.

    Returns:
        (k, 3) positions in mm, voxel index times spacing.
    """
    box = bounding_box(mask)
    if box is None:
        return np.zeros((0, 3))
    return (np.argwhere(mask[box]) + [side.start for side in box]) * np.asarray(spacing_mm, float)
