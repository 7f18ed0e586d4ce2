"""Colour tables for 3D Slicer and ITK-SNAP, in the numbering of the label maps that they are for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from heartmend.anatomy.schema import Anatomy
from heartmend.errors import ConfigError
from heartmend.io.atomic import write_text
from heartmend.io.file_names import escape_unprintable
from heartmend.io.tables import format_csv

Program = Literal["slicer", "itksnap"]
Names = Mapping[int, str]
"""Value of a label map -> name, of a structure or of something else."""

_ENDINGS: dict[Program, str] = {"slicer": ".ctbl", "itksnap": ".itksnap.txt"}
_GREY = (128, 128, 128)
"""Colour of what is no structure of the anatomy."""
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


def own_names(anatomy: Anatomy) -> dict[int, str]:
    """List the values and names of an anatomy.

    Args:
        anatomy: the structures.

    Returns:
        Value -> name.
    """
    return {s.value: s.name for s in anatomy.structures}


def slicer_colour_table(names: Names, anatomy: Anatomy) -> str:
    """Format a 3D Slicer colour table.

    Args:
        names: value -> name.
        anatomy: colours of the structures.

    Returns:
        The text of a .ctbl file: value, name, red, green, blue, alpha.

    Example:
        >>> from heartmend.anatomy.load import load_anatomy
        >>> print(slicer_colour_table({7: "Adrenal"}, load_anatomy("adrenal")), end="")
        # Color table file adrenal
        # 2 values
        0 Background 0 0 0 0
        7 Adrenal 230 159 0 255
    """
    lines = [f"# Color table file {anatomy.name}", f"# {len(names) + 1} values", "0 Background 0 0 0 0"]
    # Columns are separated by blanks, so a name cannot contain one.
    lines += [
        " ".join(
            map(
                str, (value, "_".join(escape_unprintable(names[value]).split()), *colour_of(names[value], anatomy), 255)
            )
        )
        for value in sorted(names)
    ]
    return "\n".join(lines) + "\n"


def itksnap_labels(names: Names, anatomy: Anatomy) -> str:
    """Format ITK-SNAP label descriptions.

    Args:
        names: value -> name.
        anatomy: colours of the structures.

    Returns:
        The text of a label description file.
    """
    lines = [_itksnap_line(0, (0, 0, 0), 0, "Clear Label")]
    lines += [_itksnap_line(value, colour_of(names[value], anatomy), 1, names[value]) for value in sorted(names)]
    return _ITKSNAP_HEAD + "\n".join(lines) + "\n"


def write_colour_tables(
    folder: Path, anatomy: Anatomy, names_by_case: Mapping[str, Names], programs: tuple[Program, ...] = tuple(_ENDINGS)
) -> list[Path]:
    """Write the colour tables of a data set.

    One table for each program, such as heart.ctbl, where no value has different names in two cases. Otherwise one for
    each numbering, such as heart_1.ctbl, and heart.numberings.csv with the number of each case. Tables of an earlier
    call are removed.

    Args:
        folder: folder of the files.
        anatomy: colours of the structures, and its name for the files.
        names_by_case: case id -> value -> name; a case without any has masks and no values. If no case has values,
            the tables have those of the anatomy.
        programs: programs for which tables are written.

    Returns:
        The written files.
    """
    for path in folder.glob(f"{anatomy.name}*"):
        if re.fullmatch(re.escape(anatomy.name) + r"(_\d+)?(\.ctbl|\.itksnap\.txt)|.*\.numberings\.csv", path.name):
            path.unlink()
    numbered = {case: names for case, names in names_by_case.items() if names}
    numberings = _numberings(numbered or {"": own_names(anatomy)})
    written = []
    for number, (names, _) in enumerate(numberings, start=1):
        stem = anatomy.name if len(numberings) == 1 else f"{anatomy.name}_{number}"
        for program in programs:
            text = slicer_colour_table(names, anatomy) if program == "slicer" else itksnap_labels(names, anatomy)
            written.append(folder / f"{stem}{_ENDINGS[program]}")
            write_text(written[-1], text)
    if len(numberings) > 1:
        rows = sorted((case, number) for number, (_, cases) in enumerate(numberings, start=1) for case in cases)
        written.append(folder / f"{anatomy.name}.numberings.csv")
        write_text(written[-1], format_csv(("case", "numbering"), rows))
    return written


def _numberings(names_by_case: Mapping[str, Names]) -> list[tuple[dict[int, str], list[str]]]:
    """Names and cases of each numbering; one for all where no two cases contradict each other."""
    groups: dict[tuple[tuple[int, str], ...], list[str]] = {}
    for case, names in names_by_case.items():
        groups.setdefault(tuple(sorted(names.items())), []).append(case)
    joined = {value: name for group in groups for value, name in group}
    if all(joined[value] == name for group in groups for value, name in group):
        return [(joined, list(names_by_case))]
    return [(dict(group), cases) for group, cases in groups.items()]


def colour_of(name: str, anatomy: Anatomy) -> tuple[int, int, int]:
    """Return the colour of a structure.

    Args:
        name: its name, or that of something else.
        anatomy: the structures.

    Returns:
        Red, green and blue, 0 to 255; grey for something else.
    """
    try:
        return anatomy.by_name(name).colour
    except ConfigError:
        return _GREY


def _itksnap_line(value: int, colour: tuple[int, int, int], visible: int, name: str) -> str:
    red, green, blue = colour
    quoted = '"' + escape_unprintable(name).replace('"', "'") + '"'
    return f"{value:5d} {red:5d} {green:4d} {blue:4d} {visible:8d} {visible:2d} {visible:2d}    {quoted}"
