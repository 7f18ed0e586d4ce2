"""What a body allows: structures, names, ids, colours, expected pieces and limits, read from TOML files."""

from heartmend.anatomy.colours import itksnap_labels, slicer_colour_table, write_itksnap_labels, write_slicer_colours
from heartmend.anatomy.load import built_in_anatomies, load_anatomy, parse_anatomy
from heartmend.anatomy.rule_tables import (
    CutVesselsRule,
    FieldOfViewRule,
    HolesRule,
    PiecesRule,
    Rule,
    SaltRule,
    ShiftsRule,
    SlicesRule,
    StraysRule,
    SwapsRule,
)
from heartmend.anatomy.schema import Anatomy, Kind, Structure
from heartmend.types import BACKGROUND, UNKNOWN

__all__ = [
    "BACKGROUND",
    "UNKNOWN",
    "Anatomy",
    "CutVesselsRule",
    "FieldOfViewRule",
    "HolesRule",
    "Kind",
    "PiecesRule",
    "Rule",
    "SaltRule",
    "ShiftsRule",
    "SlicesRule",
    "StraysRule",
    "Structure",
    "SwapsRule",
    "built_in_anatomies",
    "itksnap_labels",
    "load_anatomy",
    "parse_anatomy",
    "slicer_colour_table",
    "write_itksnap_labels",
    "write_slicer_colours",
]
