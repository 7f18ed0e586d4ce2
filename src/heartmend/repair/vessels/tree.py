"""A vessel's centreline as a forest: points in mm, edges between neighbours, no loops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import networkx as nx
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, dijkstra

from heartmend.types import FloatArray, Mask

Spacing = tuple[float, float, float]
IntArray = npt.NDArray[np.intp]
NO_BRIDGE = -1


@dataclass(frozen=True)
class CentreTree:
    """A forest of centrelines. Positions are voxel index times spacing, so voxel (0, 0, 0) lies at the origin.

    points_mm: (n, 3). edges: (m, 2) rows of point numbers, without loops. radius_mm: (n,).
    bridge: (n,) number of the bridge that a point belongs to, -1 for points that the label itself gave.
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
        """(n,) number of edges at each point: 1 at a tip, 3 where a branch leaves."""
        return np.bincount(self.edges.ravel(), minlength=len(self))

    @cached_property
    def component(self) -> IntArray:
        """(n,) number of the connected piece of each point."""
        return connected_components(self.matrix, directed=False)[1].astype(np.intp)

    @cached_property
    def share_mm(self) -> FloatArray:
        """(n,) half the length of the edges at each point: sums to the length of the forest."""
        return np.bincount(self.edges.ravel(), np.repeat(self.edge_mm / 2, 2), minlength=len(self)).astype(float)

    @cached_property
    def component_mm(self) -> FloatArray:
        """(pieces,) length of each piece."""
        return np.bincount(self.component, self.share_mm).astype(float)

    @property
    def ends(self) -> IntArray:
        """The points where the vessel ends, lone points included."""
        return np.flatnonzero(self.degree <= 1).astype(np.intp)

    def along_mm(self, limit_mm: float, sources: IntArray | None = None) -> FloatArray:
        """Distances along the centreline, (n, n) or (k, n) from k sources; infinite beyond the limit or elsewhere."""
        return np.asarray(dijkstra(self.matrix, directed=False, indices=sources, limit=limit_mm))

    def kept(self, keep: Mask) -> CentreTree:
        """The forest of the points in `keep` alone."""
        number = np.cumsum(keep) - 1
        edges = self.edges[keep[self.edges].all(axis=1)]
        return CentreTree(self.points_mm[keep], number[edges].astype(np.intp), self.radius_mm[keep], self.bridge[keep])

    def joined(self, other: CentreTree, links: list[tuple[int, int]]) -> CentreTree:
        """This forest and another one, with links (point here, point there) added as edges."""
        extra = np.array([(a, b + len(self)) for a, b in links], np.intp).reshape(-1, 2)
        return CentreTree(
            np.concatenate([self.points_mm, other.points_mm]),
            np.concatenate([self.edges, other.edges + len(self), extra]),
            np.concatenate([self.radius_mm, other.radius_mm]),
            np.concatenate([self.bridge, other.bridge]),
        )

    def moved(self, points_mm: FloatArray) -> CentreTree:
        """The same forest with its points elsewhere."""
        return replace(self, points_mm=points_mm)

    def with_radius(self, radius_mm: FloatArray) -> CentreTree:
        """The same forest with other radii."""
        return replace(self, radius_mm=radius_mm)

    def twigs(self) -> Iterator[IntArray]:
        """Every path from a tip to the branching that it hangs from, that point included, tip first."""
        start, neighbour = self.matrix.indptr, self.matrix.indices
        for tip in np.flatnonzero(self.degree == 1):
            path, before = [int(tip)], -1
            while len(path) == 1 or self.degree[path[-1]] == 2:
                here = path[-1]
                path.append(next(int(j) for j in neighbour[start[here] : start[here + 1]] if j != before))
                before = here
            yield np.array(path, np.intp)

    def to_networkx(self) -> nx.Graph:
        """Nodes with `mm` (x, y, z), `radius_mm` and `bridge` (-1 or its number); edges with `length_mm`."""
        graph = nx.Graph()
        for i, (point, radius, bridge) in enumerate(zip(self.points_mm, self.radius_mm, self.bridge, strict=True)):
            graph.add_node(i, mm=tuple(point.tolist()), radius_mm=float(radius), bridge=int(bridge))
        for (a, b), length in zip(self.edges.tolist(), self.edge_mm.tolist(), strict=True):
            graph.add_edge(a, b, length_mm=length)
        return graph

    @classmethod
    def from_networkx(cls, graph: nx.Graph) -> CentreTree:
        """The way back from `to_networkx`; a graph of one's own needs `mm` and `radius_mm`."""
        number = {node: i for i, node in enumerate(graph)}
        nodes = [data for _, data in graph.nodes(data=True)]
        return cls(
            np.array([data["mm"] for data in nodes], float).reshape(-1, 3),
            np.array([(number[a], number[b]) for a, b in graph.edges], np.intp).reshape(-1, 2),
            np.array([data["radius_mm"] for data in nodes], float),
            np.array([data.get("bridge", NO_BRIDGE) for data in nodes], np.intp),
        )


def chain(points_mm: FloatArray, radius_mm: FloatArray, bridge: int = NO_BRIDGE) -> CentreTree:
    """One unbranched vessel through the points in their order."""
    n = len(points_mm)
    edges = np.stack([np.arange(n - 1), np.arange(1, n)], axis=1).astype(np.intp).reshape(-1, 2)
    return CentreTree(points_mm, edges, radius_mm, np.full(n, bridge, np.intp))


def voxel_points(mask: Mask, spacing_mm: Spacing) -> FloatArray:
    """Centres of a mask's voxels, (k, 3) mm."""
    return np.argwhere(mask) * np.asarray(spacing_mm, float)
