"""What a body allows: structures, names, ids, colours, expected pieces and limits, read from TOML files."""

from heartmend.anatomy.colours import itksnap_labels, slicer_colour_table, write_itksnap_labels, write_slicer_colours
from heartmend.anatomy.load import built_in_anatomies, load_anatomy, parse_anatomy
from heartmend.anatomy.schema import Anatomy, Kind, Structure
from heartmend.types import BACKGROUND, UNKNOWN

__all__ = [
    "BACKGROUND",
    "UNKNOWN",
    "Anatomy",
    "Kind",
    "Structure",
    "built_in_anatomies",
    "itksnap_labels",
    "load_anatomy",
    "parse_anatomy",
    "slicer_colour_table",
    "write_itksnap_labels",
    "write_slicer_colours",
]
