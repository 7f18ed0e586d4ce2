"""Colour tables of an anatomy for 3D Slicer and ITK-SNAP."""

from __future__ import annotations

import os

from heartmend.anatomy.schema import Anatomy
from heartmend.io.atomic import write_text

_ITKSNAP_HEAD = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
# Fields:
#    IDX:   Zero-based index
#    -R-:   Red color component (0..255)
#    -G-:   Green color component (0..255)
#    -B-:   Blue color component (0..255)
#    -A-:   Label transparency (0.00 .. 1.00)
#    VIS:   Label visibility (0 or 1)
#    MSH:   Label mesh visibility (0 or 1)
#  LABEL:   Label description
################################################
"""


def slicer_colour_table(anatomy: Anatomy) -> str:
    """Format the 3D Slicer colour table of an anatomy.

    Args:
        anatomy: the structures.

    Returns:
        The text of a .ctbl file: id, name, red, green, blue, alpha.

    Example:
        >>> from heartmend.anatomy.load import load_anatomy
        >>> print(slicer_colour_table(load_anatomy("adrenal")), end="")
        # Color table file adrenal
        # 2 values
        0 Background 0 0 0 0
        1 Adrenal 230 159 0 255
    """
    lines = [f"# Color table file {anatomy.name}", f"# {len(anatomy.structures) + 1} values", "0 Background 0 0 0 0"]
    # Columns are separated by blanks, so a name cannot contain one.
    lines += [
        f"{s.id} {s.name.replace(' ', '_')} {' '.join(map(str, s.colour))} 255"
        for s in sorted(anatomy.structures, key=lambda s: s.id)
    ]
    return "\n".join(lines) + "\n"


def itksnap_labels(anatomy: Anatomy) -> str:
    """Format the ITK-SNAP label descriptions of an anatomy.

    Args:
        anatomy: the structures.

    Returns:
        The text of a label description file.
    """
    lines = [_itksnap_line(0, (0, 0, 0), 0, "Clear Label")]
    lines += [_itksnap_line(s.id, s.colour, 1, s.name) for s in sorted(anatomy.structures, key=lambda s: s.id)]
    return _ITKSNAP_HEAD + "\n".join(lines) + "\n"


def write_slicer_colours(anatomy: Anatomy, path: str | os.PathLike[str]) -> None:
    """Write the 3D Slicer colour table of an anatomy.

    Args:
        anatomy: the structures.
        path: the file (.ctbl).
    """
    write_text(path, slicer_colour_table(anatomy))


def write_itksnap_labels(anatomy: Anatomy, path: str | os.PathLike[str]) -> None:
    """Write the ITK-SNAP label descriptions of an anatomy.

    Args:
        anatomy: the structures.
        path: the file (.txt or .label).
    """
    write_text(path, itksnap_labels(anatomy))


def _itksnap_line(id: int, colour: tuple[int, int, int], visible: int, name: str) -> str:
    red, green, blue = colour
    return f'{id:5d} {red:5d} {green:4d} {blue:4d} {visible:8d} {visible:2d} {visible:2d}    "{name}"'
