"""A vessel's centreline as a forest: points in mm, edges between neighbours, no loops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import cc3d
import edt
import networkx as nx
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, dijkstra, minimum_spanning_tree
from scipy.spatial import cKDTree
from skimage.morphology import skeletonize

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Mask = NDArray[np.bool_]


def _no_radius() -> Floats:
    return np.zeros(0)


@dataclass(frozen=True)
class CentreTree:
    """A forest of centrelines. Positions are voxel index times spacing, in mm, so voxel (0, 0, 0) lies at the origin.

    points_mm: (n, 3). edges: (m, 2) rows of point numbers, without loops. radius_mm: (n,), zeros until measured.
    bridge: (n,) number of the bridge that a point belongs to, -1 for points that the label itself gave.
    """

    points_mm: Floats
    edges: Ints
    radius_mm: Floats = field(default_factory=_no_radius)
    bridge: Ints = field(default_factory=lambda: np.zeros(0, np.intp))

    def __post_init__(self) -> None:
        if len(self.radius_mm) != len(self.points_mm):
            object.__setattr__(self, "radius_mm", np.zeros(len(self.points_mm)))
        if len(self.bridge) != len(self.points_mm):
            object.__setattr__(self, "bridge", np.full(len(self.points_mm), -1, np.intp))

    def __len__(self) -> int:
        return len(self.points_mm)

    @cached_property
    def edge_mm(self) -> Floats:
        return np.linalg.norm(self.points_mm[self.edges[:, 0]] - self.points_mm[self.edges[:, 1]], axis=1)

    @cached_property
    def matrix(self) -> csr_matrix:
        """Symmetric sparse matrix of edge lengths."""
        a, b = self.edges.T
        length = np.maximum(self.edge_mm, 1e-6)
        return csr_matrix(
            (np.concatenate([length, length]), (np.concatenate([a, b]), np.concatenate([b, a]))), shape=(len(self),) * 2
        )

    @cached_property
    def degree(self) -> Ints:
        return np.bincount(self.edges.ravel(), minlength=len(self))

    @cached_property
    def piece(self) -> Ints:
        """(n,) the number of the connected piece of each point."""
        return connected_components(self.matrix, directed=False)[1].astype(np.intp)

    @cached_property
    def length_share_mm(self) -> Floats:
        """(n,) half the length of the edges at each point: sums to the length of the forest."""
        return np.bincount(self.edges.ravel(), np.repeat(self.edge_mm / 2, 2), minlength=len(self))

    def neighbours(self, i: int) -> Ints:
        return self.matrix.indices[self.matrix.indptr[i] : self.matrix.indptr[i + 1]].astype(np.intp)

    def along_mm(self, limit_mm: float, sources: Ints | None = None) -> Floats:
        """(n, n) distances along the centreline, or (k, n) from k sources; infinite beyond the limit and between pieces."""
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

    def moved(self, points_mm: Floats) -> CentreTree:
        return CentreTree(points_mm, self.edges, self.radius_mm, self.bridge)

    def with_radius(self, radius_mm: Floats) -> CentreTree:
        return replace(self, radius_mm=radius_mm)

    def twigs(self) -> Iterator[Ints]:
        """Every path from a tip to the branching it hangs from (that point included), tip first."""
        for tip in np.flatnonzero(self.degree == 1):
            path, before = [int(tip)], -1
            while True:
                onward = [int(j) for j in self.neighbours(path[-1]) if j != before]
                if len(onward) != 1 or (len(path) > 1 and self.degree[path[-1]] != 2):
                    break
                before = path[-1]
                path.append(onward[0])
            yield np.array(path, np.intp)

    def to_networkx(self) -> nx.Graph:
        """Nodes with `mm` (x, y, z), `radius_mm` and `bridge` (-1 or its number); edges with `length_mm`."""
        graph = nx.Graph()
        for i, (p, r, b) in enumerate(zip(self.points_mm, self.radius_mm, self.bridge, strict=True)):
            graph.add_node(i, mm=tuple(map(float, p)), radius_mm=float(r), bridge=int(b))
        for (a, b), length in zip(self.edges, self.edge_mm, strict=True):
            graph.add_edge(int(a), int(b), length_mm=float(length))
        return graph

    @classmethod
    def from_networkx(cls, graph: nx.Graph) -> CentreTree:
        number = {node: i for i, node in enumerate(graph)}
        get = lambda key, default: [data.get(key, default) for _, data in graph.nodes(data=True)]  # noqa: E731
        edges = [(number[a], number[b]) for a, b in graph.edges]
        return cls(
            np.array(get("mm", (0.0, 0.0, 0.0)), float).reshape(-1, 3),
            np.array(edges, np.intp).reshape(-1, 2),
            np.array(get("radius_mm", 0.0), float),
            np.array(get("bridge", -1), np.intp),
        )


def trace(mask: Mask, spacing_mm: tuple[float, float, float]) -> CentreTree:
    """The skeleton (Lee 1994) of a mask as a forest. Every 26-connected piece gives at least one point.

    Loops of the skeleton are opened where the vessel is thinnest: that is where two branches merely touch.
    """
    spacing = np.asarray(spacing_mm, float)
    if not mask.any():
        return CentreTree(np.zeros((0, 3)), np.zeros((0, 2), np.intp))
    skeleton = skeletonize(mask).astype(bool) & mask
    pieces, count = cc3d.connected_components(mask, connectivity=26, return_N=True)
    found = np.zeros(count + 1, bool)
    found[pieces[skeleton]] = True
    for lost in np.flatnonzero(~found[1:]) + 1:  # the thinning can eat a small even block whole
        voxels = np.argwhere(pieces == lost)
        skeleton[tuple(voxels[np.argmin(((voxels - voxels.mean(0)) ** 2).sum(1))])] = True

    index = np.argwhere(skeleton)
    depth = edt.edt(mask, anisotropy=tuple(spacing), black_border=True)[skeleton].astype(float)
    pairs = cKDTree(index).query_pairs(1.8, output_type="ndarray")
    points = index * spacing
    length = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    cost = length / np.minimum(depth[pairs[:, 0]], depth[pairs[:, 1]])
    n = len(points)
    spanning = minimum_spanning_tree(csr_matrix((cost, (pairs[:, 0], pairs[:, 1])), shape=(n, n))).tocoo()
    return CentreTree(points, np.stack([spanning.row, spanning.col], 1).astype(np.intp), depth)


def pruned(tree: CentreTree, spur_mm: float, radii: float = 2.0) -> tuple[CentreTree, list[Floats]]:
    """Take away twigs shorter than `spur_mm` or than `radii` times the radius of the vessel that they hang from.

    Shortest first and one at a time, so that where two twigs part the longer one lives on as the vessel's end.
    Returns the tree and the points of each spur, tip first.
    """
    spurs: list[Floats] = []
    while True:
        best: tuple[float, Ints] | None = None
        for twig in tree.twigs():
            if tree.degree[twig[-1]] < 3:
                continue
            length = float(np.linalg.norm(np.diff(tree.points_mm[twig], axis=0), axis=1).sum())
            if length < max(spur_mm, radii * tree.radius_mm[twig[-1]]) and (best is None or length < best[0]):
                best = length, twig
        if best is None:
            return tree, spurs
        keep = np.ones(len(tree), bool)
        keep[best[1][:-1]] = False
        spurs.append(tree.points_mm[best[1][:-1]])
        tree = tree.kept(keep)
