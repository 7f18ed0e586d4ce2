"""Colours of all figures: paper, text, structures and kinds of change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from heartmend.anatomy.schema import Anatomy

if TYPE_CHECKING:
    # Imported where it is used: Matplotlib takes a second, and the review page needs the colours alone.
    from matplotlib.patches import Patch

INK, PAPER, EDGE, GUIDE = "#222222", "white", "#8a8a8a", "#cccccc"
"""Text, background, outlines of symbols, guide lines."""
IMAGE_BACKGROUND = "#121212"
ADDED, REMOVED, RELABELLED = "#00D75F", "#FF3DF2", "#FFFFFF"
"""Voxels that were added to a structure, removed from one, or given to another one: colours of no structure. Green and
magenta are distinguishable with colour vision deficiency."""
DPI = 120


@dataclass(frozen=True)
class StructureStyle:
    """Colours and names of the structures of label maps.

    Attributes:
        colours: by id, red, green and blue, 0 to 255.
        names: by id, the name in the legend.
    """

    colours: Mapping[int, Sequence[float]]
    names: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, anatomy: Anatomy) -> Self:
        """Take the colours and names of an anatomy.

        Args:
            anatomy: the structures.

        Returns:
            Their style.
        """
        return cls({s.id: s.colour for s in anatomy.structures}, {s.id: s.name for s in anatomy.structures})

    def name(self, id: int) -> str:
        """Return the name of a structure for a legend.

        Args:
            id: id of the structure.

        Returns:
            Its name, or "structure 7" if it has none.
        """
        return self.names.get(id, f"structure {id}")

    def table(self, ids: Sequence[int] = ()) -> NDArray[np.float64]:
        """Make a lookup table of the colours.

        Args:
            ids: the structures; all if empty.

        Returns:
            (256, 3) red, green and blue by id, 0 to 1; white for other ids.
        """
        table = np.ones((256, 3))
        for id in ids or self.colours:
            table[id] = np.array(self.colours[id][:3], float) / 255
        return table


def swatch(colour: Sequence[float], label: str, alpha: float = 1.0) -> Patch:
    """Make the legend entry of a structure, with an outline so that white is visible on white paper.

    Args:
        colour: red, green and blue, 0 to 1.
        label: the text.
        alpha: opacity of the colour.

    Returns:
        A patch for a legend.
    """
    from matplotlib.patches import Patch

    red, green, blue = (float(part) for part in colour)
    return Patch(facecolor=(red, green, blue, alpha), edgecolor=EDGE, linewidth=0.6, label=label)
