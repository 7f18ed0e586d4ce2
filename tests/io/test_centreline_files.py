"""Files of centrelines, read back by code that shares nothing with the writer."""

from __future__ import annotations

import base64
import json
import struct
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from heartmend.errors import ConfigError
from heartmend.geometry.centrelines.rooted_lines import RootedLines
from heartmend.geometry.centrelines.tree import chain
from heartmend.io.centreline_files import write_centrelines

NAMES = {1: "LM", 2: "LAD", 3: "LCx"}


def fork() -> RootedLines:
    """A stem of 3 mm along x that divides into 2 mm up and 3 mm down; a single line beside it without a root."""
    stem = chain(np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0]]), np.array([2.0, 1.9, 1.8, 1.7]))
    up = chain(np.array([[3.0, 1, 0], [3, 2, 0]]), np.array([1.2, 1.1]))
    down = chain(np.array([[3.0, -1, 0], [3, -2, 0], [3, -3, 0]]), np.array([1.3, 1.2, 1.0]))
    apart = chain(np.array([[9.0, 0, 0], [9, 1, 0]]), np.array([0.8, 0.9]))
    tree = stem.joined(up, [(3, 0)]).joined(down, [(3, 0)]).joined(apart, [])
    group = np.array([1, 1, 1, 1, 2, 2, 3, 3, 3, 2, 2])
    return RootedLines.of(tree, tree.points_mm + np.array([10.0, 20, 30]), np.array([0]), group)


def test_lines_go_from_the_root_to_the_tips() -> None:
    lines = fork()
    assert (lines.parent < np.arange(len(lines.parent))).all(), "a point follows the one that it continues"
    found = [lines.points_mm[line] - [10, 20, 30] for line in lines.lines()]
    ends = {(tuple(line[0]), tuple(line[-1])) for line in found}
    assert ends == {
        ((0, 0, 0), (3, 0, 0)), ((3, 0, 0), (3, 2, 0)), ((3, 0, 0), (3, -3, 0)),
        ((9, 1, 0), (9, 0, 0)),  # without a root from the thickest end
    }  # fmt: skip
    assert sorted(len(line) for line in found) == [2, 3, 4, 4]


def test_a_change_of_the_part_divides_a_line() -> None:
    tree = chain(np.arange(6.0)[:, None] * [1, 0, 0], np.ones(6))
    lines = RootedLines.of(tree, tree.points_mm, np.array([0]), np.array([1, 1, 1, 2, 2, 2]))
    assert [line.tolist() for line in lines.lines()] == [[0, 1, 2], [2, 3, 4, 5]]
    single = RootedLines.of(chain(np.zeros((1, 3)), np.ones(1)), np.zeros((1, 3)), np.zeros(0, int), np.zeros(1, int))
    assert single.lines() == [] and single.parent.tolist() == [-1]


def arrays(path: Path) -> dict[str, np.ndarray]:
    kinds = {"Float32": "<f4", "Int32": "<i4", "Int64": "<i8"}
    found = {}
    for node in ET.parse(path).iter("DataArray"):
        data = base64.b64decode(node.text or "")
        (size,) = struct.unpack("<Q", data[:8])
        assert size == len(data) - 8
        found[node.attrib["Name"]] = np.frombuffer(data[8:], kinds[node.attrib["type"]])
    return found


def test_vtp(tmp_path: Path) -> None:
    lines = fork()
    write_centrelines(tmp_path / "a.vtp", lines, NAMES)
    found, root = arrays(tmp_path / "a.vtp"), ET.parse(tmp_path / "a.vtp").getroot()
    piece = root.find("PolyData/Piece")
    assert piece is not None and piece.attrib == {"NumberOfPoints": "11", "NumberOfLines": "4"}
    np.testing.assert_allclose(found["Points"].reshape(-1, 3), lines.points_mm)
    np.testing.assert_allclose(found["Radius"], lines.radius_mm, rtol=1e-6)
    parts = np.split(found["connectivity"], found["offsets"][:-1])
    assert [part.tolist() for part in parts] == [line.tolist() for line in lines.lines()]
    assert found["segment"].tolist() == [lines.group[part[-1]] for part in parts]
    texts = {
        node.attrib["Name"]: bytes(int(v) for v in (node.text or "").split()[:-1]).decode()
        for node in root.iter("Array")
    }
    assert texts == {"SPACE": "RAS", "segment_names": "1 LM\n2 LAD\n3 LCx"}


def test_swc(tmp_path: Path) -> None:
    lines = fork()
    write_centrelines(tmp_path / "a.swc", lines, NAMES)
    text = (tmp_path / "a.swc").read_text()
    assert "# 12 LAD\n" in text and "# mm, RAS+\n" in text
    table = np.loadtxt(tmp_path / "a.swc")
    np.testing.assert_allclose(table[:, 2:5], lines.points_mm, atol=1e-4)
    np.testing.assert_allclose(table[:, 5], lines.radius_mm, atol=1e-4)
    np.testing.assert_array_equal(table[:, 0], np.arange(1, 12))
    np.testing.assert_array_equal(table[:, 1], lines.group + 10)
    np.testing.assert_array_equal(table[:, 6], np.where(lines.parent < 0, -1, lines.parent + 1))
    # The length of the tree by its parents: 3 + 2 + 3 mm, and 1 mm beside it.
    child = table[table[:, 6] > 0]
    length = np.linalg.norm(child[:, 2:5] - table[child[:, 6].astype(int) - 1, 2:5], axis=1).sum()
    assert length == pytest.approx(9)


def test_markups_of_slicer(tmp_path: Path) -> None:
    lines = fork()
    write_centrelines(tmp_path / "a.mrk.json", lines, NAMES)
    table = json.loads((tmp_path / "a.mrk.json").read_text())
    assert table["@schema"].endswith("markups-schema-v1.0.3.json#")
    curves = {curve["name"]: curve for curve in table["markups"]}
    assert list(curves) == ["LM", "LAD", "LCx", "LAD 2"]
    assert {(c["type"], c["coordinateSystem"], c["coordinateUnits"]) for c in table["markups"]} == {
        ("Curve", "RAS", "mm")
    }
    down = curves["LCx"]
    assert [point["position"] for point in down["controlPoints"]] == [[13, 20 - y, 30] for y in range(4)]
    (radius,) = down["measurements"]
    assert (radius["name"], radius["units"]) == ("Radius", "mm")
    assert radius["controlPointValues"] == [1.7, 1.3, 1.2, 1.0]


def test_another_suffix_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.vtp, \.swc, \.mrk\.json"):
        write_centrelines(tmp_path / "a.obj", fork(), NAMES)
