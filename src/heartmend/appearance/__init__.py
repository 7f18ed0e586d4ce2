"""appearance: boundaries go where the image has them, wherever the image has any."""

from heartmend.appearance.borders import Border, Steps, borders
from heartmend.appearance.edges import Edge, edge_of
from heartmend.appearance.sight import Seen, distances_of, see

__all__ = ["Border", "Edge", "Seen", "Steps", "borders", "distances_of", "edge_of", "see"]
