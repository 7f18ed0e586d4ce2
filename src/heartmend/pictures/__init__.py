"""Pictures that show a person what changed: three planes before and after, and the heart's surface.

Drawn with matplotlib alone and without a display; `surface_mesh` is for viewers in which it can be turned.
"""

from heartmend.pictures.files import as_svg, as_webp, save
from heartmend.pictures.meshes import Mesh, surface_mesh
from heartmend.pictures.planes import before_after_figure
from heartmend.pictures.surfaces import surface_figure

__all__ = ["Mesh", "as_svg", "as_webp", "before_after_figure", "save", "surface_figure", "surface_mesh"]
