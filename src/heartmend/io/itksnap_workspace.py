"""Workspaces of ITK-SNAP (.itksnap): an image, its segmentation, and the names and colours of the labels in one file.

A workspace is a registry in XML. ITK-SNAP stores absolute paths and the folder of the workspace; where the folder has
moved since, it looks for each file at the same place relative to the workspace. Here the stored folder is not real, so
that the files are always found relative to the workspace and it contains no path of this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from xml.sax.saxutils import quoteattr

from heartmend.anatomy.schema import Anatomy
from heartmend.io.colour_tables import Names, colour_of

_ROOT = PurePosixPath("/release")
_VERSION = "20190612"


def itksnap_workspace(folder: str, image: str, labels: str, names: Names, anatomy: Anatomy) -> str:
    """Format a workspace.

    Args:
        folder: folder of the workspace in the release, such as "itksnap".
        image: the main image, relative to the release.
        labels: the segmentation, relative to the release.
        names: value of the segmentation -> name.
        anatomy: colours of the structures.

    Returns:
        The text of a .itksnap file.
    """
    elements = [_element(0, 0, (0, 0, 0), 0, "Clear Label")]
    elements += [
        _element(n, value, colour_of(names[value], anatomy), 1, names[value])
        for n, value in enumerate(sorted(names), start=1)
    ]
    table = _folder("LabelTable", _entries({"NumberOfElements": len(elements)}), *elements)
    layers = _folder("Layers", _layer(0, image, "MainRole"), _layer(1, labels, "SegmentationRole"))
    head = _entries({"SaveLocation": _ROOT / folder, "Version": _VERSION})
    registry = "".join((head, _folder("IRIS", table), layers))
    return (
        '<?xml version="1.0" encoding="UTF-8" ?>\n<!--ITK-SNAP (itksnap.org) Project File\n-->\n'
        "<!DOCTYPE registry [\n<!ELEMENT registry (entry*,folder*)>\n<!ELEMENT folder (entry*,folder*)>\n"
        "<!ELEMENT entry EMPTY>\n<!ATTLIST folder key CDATA #REQUIRED>\n"
        "<!ATTLIST entry key CDATA #REQUIRED>\n<!ATTLIST entry value CDATA #REQUIRED>\n]>\n"
        f"<registry>\n{registry}</registry>\n"
    )


def _layer(number: int, path: str, role: str) -> str:
    entries = _entries({"AbsolutePath": _ROOT / path, "Role": role, "Tags": ""})
    return _folder(f"Layer[{number:03d}]", entries, _folder("IOHints"))


def _element(number: int, value: int, colour: tuple[int, int, int], visible: int, name: str) -> str:
    fields = {
        "Alpha": 255 * visible, "Color": " ".join(map(str, colour)), "Flags": f"{visible} {visible}", "Index": value,
        "Label": name,
    }  # fmt: skip
    return _folder(f"Element[{number}]", _entries(fields))


def _entries(fields: Mapping[str, object]) -> str:
    return "".join(f"<entry key={quoteattr(key)} value={quoteattr(str(value))} />\n" for key, value in fields.items())


def _folder(key: str, *content: str) -> str:
    return f"<folder key={quoteattr(key)} >\n{''.join(content)}</folder>\n"
