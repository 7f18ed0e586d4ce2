"""From the name of a file to the id of its case, as the data sets of the field name their files."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from heartmend.errors import BadInputError

Role = Literal["image", "label", "either"]

# The longest first: a name ends with the first that fits.
VOLUME_ENDINGS = (".nii.gz", ".seg.nrrd", ".nii", ".nrrd", ".mha")

_ROLES: dict[str, Role] = {
    "img": "image", "image": "image", "ct": "image",
    "label": "label", "labels": "label", "seg": "label", "mask": "label", "gt": "label",
    "nii": "either",
}  # fmt: skip
_ROLE = re.compile(rf"[._-]({'|'.join(_ROLES)})$", re.IGNORECASE)
_FIRST_CHANNEL = re.compile(r"_0000$")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\]")


def volume_ending(path: Path) -> str | None:
    """The ending by which `path` is known as a volume, such as ".nii.gz"; None for another file."""
    name = path.name.lower()
    return next((ending for ending in VOLUME_ENDINGS if name.endswith(ending) and len(name) > len(ending)), None)


def case_id(path: Path) -> str:
    """The id of the case that a volume belongs to.

    `1.nii.gz`, `1.img.nii.gz`, `1.label.nii.gz` and `1.nii.img.nii.gz` belong to "1", `heart_001_0000.nii.gz` (the
    first channel in nnU-Net's naming) to "heart_001". Raises BadInputError for a name that gives no id that can
    name a file: the id of a case never leads out of a folder.
    """
    stem, _ = _parsed(path)
    return stem


def role(path: Path) -> Role:
    """What a volume's name says that it is: an image, a label map, or nothing, which may be either."""
    return _parsed(path)[1]


def by_case(paths: Iterable[Path], wanted: Literal["image", "label"]) -> dict[str, Path]:
    """Case id -> the one file that is `wanted` for it, in the order of the ids.

    Where a folder holds both a case's image and its label map, their names tell which is which. Raises
    BadInputError when two files are left for one case, naming both.
    """
    groups: defaultdict[str, list[Path]] = defaultdict(list)
    for path in paths:
        groups[case_id(path)].append(path)
    chosen = {}
    for id, group in sorted(groups.items()):
        fitting = [p for p in group if role(p) in (wanted, "either")] if len(group) > 1 else group
        said = [p for p in fitting if role(p) == wanted]
        if len(fitting) > 1 and len(said) == 1:
            fitting = said
        if len(fitting) != 1:
            names = " and ".join(sorted(p.name for p in fitting or group))
            raise BadInputError(f"{group[0].parent}: case {id!r} has more than one {wanted}: {names}; keep one of them")
        chosen[id] = fitting[0]
    return chosen


def _parsed(path: Path) -> tuple[str, Role]:
    ending = volume_ending(path)
    stem = unicodedata.normalize("NFC", path.name[: -len(ending)] if ending else path.name)
    found: Role = "either"
    if channel := _FIRST_CHANNEL.search(stem):
        stem, found = stem[: channel.start()], "image"
    while match := _ROLE.search(stem):
        stem = stem[: match.start()]
        if found == "either":
            found = _ROLES[match[1].lower()]
    if not stem.strip(" .") or stem.startswith(".") or _UNSAFE.search(stem):
        raise BadInputError(f"{path}: the name gives no case id that can name a file; rename it, such as 001.nii.gz")
    return stem, found
