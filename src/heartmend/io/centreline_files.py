"""Files of centrelines with their radius in mm: VTK polydata (VTP), SWC, and curves of 3D Slicer (markups JSON).

Points are in mm, RAS+, and the files say so where the format can: `SPACE=RAS` in VTP, `coordinateSystem` in markups, a
comment in SWC.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from heartmend.errors import ConfigError
from heartmend.geometry.centrelines.rooted_lines import RootedLines
from heartmend.io.atomic import write_json, write_text
from heartmend.io.vtk_xml import vtk_array, vtp_text

FORMATS = ("vtp", "swc", "mrk.json")
"""Formats by their suffix."""
_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
_UNDEFINED, _CUSTOM = 0, 10
"""Types of SWC: those from 5 on are free, so 10 + id stays apart from what programs for neurons use."""


def write_centrelines(path: Path, lines: RootedLines, names: Mapping[int, str]) -> None:
    """Write the centrelines of a vessel.

    Args:
        path: the file; its suffix (`.vtp`, `.swc`, `.mrk.json`) is the format.
        lines: the centrelines.
        names: name of each `group` of the lines.

    Raises:
        ConfigError: if the suffix is another one.
        OutputError: if the file cannot be written.
    """
    if path.name.endswith(".vtp"):
        _write_vtp(path, lines, names)
    elif path.name.endswith(".swc"):
        _write_swc(path, lines, names)
    elif path.name.endswith(".mrk.json"):
        _write_markups(path, lines, names)
    else:
        raise ConfigError(f"{path}: is no format of centrelines; use {', '.join('.' + one for one in FORMATS)}")


def _write_vtp(path: Path, lines: RootedLines, names: Mapping[int, str]) -> None:
    """Polylines with the point data `Radius` and the cell data `segment`; the names are in the field data."""
    found = lines.lines()
    connectivity = np.concatenate(found) if found else np.zeros(0, np.intp)
    ends = np.cumsum([len(line) for line in found])
    group = np.array([lines.group[line[-1]] for line in found], "<i4")
    listed = " ".join(str(byte) for byte in "\n".join(f"{id} {name}" for id, name in names.items()).encode())
    text = vtp_text(
        counts=f'NumberOfPoints="{len(lines.points_mm)}" NumberOfLines="{len(found)}"',
        field=f'<Array type="String" Name="segment_names" NumberOfTuples="1" format="ascii">{listed} 0</Array>',
        content=(
            f'<PointData Scalars="Radius">{vtk_array("Radius", "Float32", lines.radius_mm.astype("<f4"))}</PointData>',
            f'<CellData Scalars="segment">{vtk_array("segment", "Int32", group)}</CellData>',
            f"<Points>{vtk_array('Points', 'Float32', lines.points_mm.astype('<f4'), 3)}</Points>",
            f"<Lines>{vtk_array('connectivity', 'Int64', connectivity.astype('<i8'))}"
            f"{vtk_array('offsets', 'Int64', ends.astype('<i8'))}</Lines>",
        ),
    )
    write_text(path, text)


def _write_swc(path: Path, lines: RootedLines, names: Mapping[int, str]) -> None:
    """A line `n type x y z radius parent` for each point."""
    head = ["# centrelines of Heartmend", "# mm, RAS+", f"# type: {_CUSTOM} + id of the segment"]
    head += [f"# {_CUSTOM + id} {name}" for id, name in names.items()]
    rows = []
    for number, (point, radius, parent, group) in enumerate(
        zip(
            lines.points_mm.tolist(), lines.radius_mm.tolist(), lines.parent.tolist(), lines.group.tolist(), strict=True
        )
    ):
        kind = _CUSTOM + group if group in names else _UNDEFINED
        x, y, z = point
        above = parent + 1 if parent >= 0 else -1
        rows.append(f"{number + 1} {kind} {x:.4f} {y:.4f} {z:.4f} {radius:.4f} {above}")
    write_text(path, "\n".join([*head, *rows]) + "\n")


def _write_markups(path: Path, lines: RootedLines, names: Mapping[int, str]) -> None:
    """A curve for each line, with its radius as a measurement of its control points."""
    markups: list[dict[str, Any]] = []
    counts = dict[str, int]()
    for line in lines.lines():
        name = names.get(int(lines.group[line[-1]]), "vessel")
        counts[name] = counts.get(name, 0) + 1
        radius = [round(float(value), 4) for value in lines.radius_mm[line]]
        markups.append({
            "type": "Curve", "name": name if counts[name] == 1 else f"{name} {counts[name]}",
            "coordinateSystem": "RAS", "coordinateUnits": "mm", "locked": True,
            "controlPoints": [
                {"id": str(i), "label": "", "position": [round(float(v), 4) for v in lines.points_mm[point]],
                 "positionStatus": "defined"}
                for i, point in enumerate(line, start=1)
            ],
            "measurements": [{
                "name": "Radius", "enabled": True, "units": "mm", "printFormat": "%5.3f %s",
                "value": round(float(np.mean(radius)), 4), "controlPointValues": radius,
            }],
            "display": {"visibility": True, "pointLabelsVisibility": False, "glyphScale": 0.5},
        })  # fmt: skip
    write_json(path, {"@schema": _SCHEMA, "markups": markups})
