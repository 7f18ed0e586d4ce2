"""Colour tables for 3D Slicer and ITK-SNAP."""

import re
from pathlib import Path

from heartmend.anatomy.load import load_anatomy, parse_anatomy
from heartmend.io.colour_tables import itksnap_labels, slicer_colour_table, write_itksnap_labels, write_slicer_colours

TWO = parse_anatomy(
    """
    name = "two"
    priority = ["B", "Great A"]
    [[structures]]
    id = 12
    name = "Great A"
    colour = [1, 22, 255]
    kind = "wall"
    [[structures]]
    id = 3
    name = "B"
    colour = [0, 0, 7]
    kind = "wall"
    """,
    "two.toml",
)


def test_the_slicer_table_has_columns_in_the_order_of_the_ids() -> None:
    assert slicer_colour_table(TWO).splitlines() == [
        "# Color table file two",
        "# 3 values",
        "0 Background 0 0 0 0",
        "3 B 0 0 7 255",
        "12 Great_A 1 22 255 255",
    ]


def test_the_itksnap_table_has_eight_columns() -> None:
    rows = [line for line in itksnap_labels(TWO).splitlines() if not line.startswith("#")]
    assert rows[0].split()[:7] == ["0", "0", "0", "0", "0", "0", "0"]
    assert re.fullmatch(r'\s*12\s+1\s+22\s+255\s+1\s+1\s+1\s+"Great A"', rows[2])


def test_colour_tables_are_written(tmp_path: Path) -> None:
    heart = load_anatomy("heart")
    write_slicer_colours(heart, tmp_path / "heart.ctbl")
    write_itksnap_labels(heart, tmp_path / "heart.label")
    assert (tmp_path / "heart.ctbl").read_text() == slicer_colour_table(heart)
    assert (tmp_path / "heart.label").read_text() == itksnap_labels(heart)
