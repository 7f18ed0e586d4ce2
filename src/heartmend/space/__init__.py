"""Where things are: grids of voxels, the ROI of a case, and the exact way between its unit frame and the voxels."""

from heartmend.space.extent import bulk_box, filled_box, widen
from heartmend.space.grid import Grid
from heartmend.space.roi import Resolution, Roi, SourceAxes

__all__ = ["Grid", "Resolution", "Roi", "SourceAxes", "bulk_box", "filled_box", "widen"]
