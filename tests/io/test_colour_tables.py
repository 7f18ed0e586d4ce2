"""Colour tables for 3D Slicer and ITK-SNAP."""

import re
from pathlib import Path

from heartmend.anatomy.load import load_anatomy, parse_anatomy
from heartmend.io.colour_tables import itksnap_labels, own_names, slicer_colour_table, write_colour_tables
from heartmend.io.label_tables import read_side_table

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


def test_the_slicer_table_has_columns_in_the_order_of_the_values() -> None:
    assert slicer_colour_table(own_names(TWO), TWO).splitlines() == [
        "# Color table file two",
        "# 3 values",
        "0 Background 0 0 0 0",
        "3 B 0 0 7 255",
        "12 Great_A 1 22 255 255",
    ]


def test_the_itksnap_table_has_eight_columns() -> None:
    rows = [line for line in itksnap_labels(own_names(TWO), TWO).splitlines() if not line.startswith("#")]
    assert rows[0].split()[:7] == ["0", "0", "0", "0", "0", "0", "0"]
    assert re.fullmatch(r'\s*12\s+1\s+22\s+255\s+1\s+1\s+1\s+"Great A"', rows[2])


def test_the_values_are_those_of_the_data(tmp_path: Path) -> None:
    heart = load_anatomy("heart")
    written = write_colour_tables(tmp_path, heart, {"a": {500: "LV", 420: "LA"}, "b": {420: "LA", 9: "spleen"}})
    assert [path.name for path in written] == ["heart.ctbl", "heart.itksnap.txt"]
    # As our own reader of tables beside label maps reads them.
    for path in written:
        table = read_side_table(path)
        assert table is not None
        assert {v: name for v, name in table.names.items() if v} == {9: "spleen", 420: "LA", 500: "LV"}
    assert "9 spleen 128 128 128 255" in written[0].read_text()
    assert "500 LV 166 12 10 255" in written[0].read_text()


def test_numberings_that_contradict_each_other_have_a_table_each(tmp_path: Path) -> None:
    heart = load_anatomy("heart")
    write_colour_tables(tmp_path, heart, {"a": {1: "LV"}})
    write_colour_tables(tmp_path, heart, {"a": {1: "LV"}, "b": {1: "Aorta", 2: "LV"}, "c": {1: "LV"}})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "heart.numberings.csv", "heart_1.ctbl", "heart_1.itksnap.txt", "heart_2.ctbl", "heart_2.itksnap.txt",
    ]  # fmt: skip
    assert (tmp_path / "heart.numberings.csv").read_text().splitlines() == ["case,numbering", "a,1", "b,2", "c,1"]
    assert "1 LV " in (tmp_path / "heart_1.ctbl").read_text()
    assert "1 Aorta " in (tmp_path / "heart_2.ctbl").read_text()


def test_a_name_adds_no_line_and_no_control_character() -> None:
    names = {7: 'liver"\n  8 1 2 3 1 1 1 "LV', 9: "\x1b[31mspleen"}
    for text in (slicer_colour_table(names, TWO), itksnap_labels(names, TWO)):
        assert "\x1b" not in text
        values = [line.split()[0] for line in text.splitlines() if not line.startswith("#")]
        assert values == ["0", "7", "9"]
