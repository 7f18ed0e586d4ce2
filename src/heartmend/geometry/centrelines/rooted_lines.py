"""Centrelines as lines that begin at a root, for files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import breadth_first_order

from heartmend.geometry.centrelines.tree import CentreTree, IntArray
from heartmend.types import FloatArray

NO_PARENT = -1


@dataclass(frozen=True, eq=False)
class RootedLines:
    """Centrelines of vessels, each point after the one that it continues.

    Attributes:
        points_mm: (n, 3) positions in mm, RAS+.
        radius_mm: (n,) radius.
        parent: (n,) index of the point that a point continues, below its own; -1 at a root.
        group: (n,) number of the part of the vessel that a point belongs to, such as the id of its segment.
    """

    points_mm: FloatArray
    radius_mm: FloatArray
    parent: IntArray
    group: IntArray

    @classmethod
    def of(cls, tree: CentreTree, points_mm: FloatArray, roots: IntArray, group: IntArray) -> RootedLines:
        """Order the points of a forest from its roots.

        Args:
            tree: the forest.
            points_mm: (n, 3) its positions in mm, RAS+.
            roots: indices of points to begin at, the first one of each component counts; a component without one begins
                at its thickest end.
            group: (n,) number of the part of each point.

        Returns:
            The lines.
        """
        thickest = tree.ends[np.argsort(-tree.radius_mm[tree.ends], kind="stable")]
        order, parent, done = list[int](), np.full(len(tree), NO_PARENT, np.intp), set[int]()
        for root in (*roots.tolist(), *thickest.tolist()):
            component = int(tree.component[root])
            if component in done:
                continue
            done.add(component)
            found, before = breadth_first_order(tree.matrix, root, directed=False)
            order += found.tolist()
            parent[found[1:]] = before[found[1:]]
        place = np.empty(len(tree), np.intp)
        place[order] = np.arange(len(order))
        above = np.where(parent[order] == NO_PARENT, NO_PARENT, place[parent[order]]).astype(np.intp)
        return cls(points_mm[order], tree.radius_mm[order], above, group[order])

    def lines(self) -> list[IntArray]:
        """Divide the forest into lines: from a root, a division or a change of the part to the next one.

        Returns:
            Indices of the points of each line, with the point that it leaves first. A single point is no line.
        """
        children = np.bincount(self.parent[self.parent != NO_PARENT], minlength=len(self.parent))
        lines = dict[int, list[int]]()
        line_of = np.full(len(self.parent), NO_PARENT, np.intp)
        for point, above in enumerate(self.parent.tolist()):
            if above == NO_PARENT:
                continue
            begins = self.parent[above] == NO_PARENT or children[above] != 1 or self.group[above] != self.group[point]
            number = point if begins else int(line_of[above])
            lines.setdefault(number, [above]).append(point)
            line_of[point] = number
        return [np.array(line, np.intp) for line in lines.values()]
