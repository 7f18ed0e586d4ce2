"""Pictures that show a person what changed: three planes before and after, and the heart's surface.

Drawn with matplotlib alone and without a display.
"""

from heartmend.pictures.files import save
from heartmend.pictures.planes import before_after_figure
from heartmend.pictures.surfaces import surface_figure

__all__ = ["before_after_figure", "save", "surface_figure"]
