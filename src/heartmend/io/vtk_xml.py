"""XML polydata of VTK (VTP): arrays and the frame of a file, points in mm, RAS+."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence

import numpy as np


def vtk_array(name: str, kind: str, values: np.ndarray, components: int = 1) -> str:
    """Make the element of an array.

    Args:
        name: name of the array.
        kind: type in VTK's words, such as `Float32`; the values have this type, little-endian.
        values: (n,) or (n, components).
        components: numbers in each tuple.

    Returns:
        XML.
    """
    data = np.ascontiguousarray(values).tobytes()
    text = base64.b64encode(struct.pack("<Q", len(data)) + data).decode()
    return (
        f'<DataArray type="{kind}" Name="{name}" NumberOfComponents="{components}" format="binary">{text}</DataArray>'
    )


def vtp_text(counts: str, content: Sequence[str], field: str = "") -> str:
    """Make the text of a file with one piece.

    Args:
        counts: attributes of the piece, such as `NumberOfPoints="8"`.
        content: elements of the piece.
        field: further elements of the field data, which states the space.

    Returns:
        The text.
    """
    space = " ".join(str(ord(letter)) for letter in "RAS")
    inner = "\n".join(content)
    return f"""<?xml version="1.0"?>
<VTKFile type="PolyData" version="1.0" byte_order="LittleEndian" header_type="UInt64">
<PolyData>
<FieldData><Array type="String" Name="SPACE" NumberOfTuples="1" format="ascii">{space} 0</Array>{field}</FieldData>
<Piece {counts}>
{inner}
</Piece>
</PolyData>
</VTKFile>
"""
