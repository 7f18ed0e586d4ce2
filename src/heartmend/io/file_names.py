"""From the name of a file to the id of its case, as the data sets of the field name their files."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
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
# Control characters, halves of surrogates (bytes that are no UTF-8), ends of lines, changes of the writing direction:
# all that can make a terminal, a log or a list show something else than is there.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f/\\\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MARKDOWN_SPECIAL = "\\`*_[]<>#|"
# A file system takes 255 bytes; the longest name of a case's file in the run folder adds ".image.npz".
_MAX_ID_BYTES = 240


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


@dataclass(frozen=True)
class FilesByCase:
    """Files by case id, in the order of the ids; and those that cannot be a case, with the reason.

    refused: by case id, or by the name of the file where that gives none.
    """

    chosen: dict[str, Path]
    skipped: dict[str, str]


def by_case(paths: Iterable[Path], wanted: Literal["image", "label"]) -> FilesByCase:
    """Case id -> the one file that is `wanted` for it.

    Where a folder holds both a case's image and its label map, their names tell which is which. Where two files are
    left for one case it is refused with the names of both, and so is a file whose name gives no case id.
    """
    groups: defaultdict[str, list[Path]] = defaultdict(list)
    chosen: dict[str, Path] = {}
    skipped: dict[str, str] = {}
    for path in paths:
        try:
            groups[case_id(path)].append(path)
        except BadInputError as error:
            skipped[shown(path.name)] = str(error)
    for id, group in sorted(groups.items()):
        fitting = [p for p in group if role(p) in (wanted, "either")] if len(group) > 1 else group
        said = [p for p in fitting if role(p) == wanted]
        if len(fitting) > 1 and len(said) == 1:
            fitting = said
        if len(fitting) == 1:
            chosen[id] = fitting[0]
        else:
            names = " and ".join(sorted(p.name for p in fitting or group))
            skipped[id] = f"{group[0].parent}: case {id!r} has more than one {wanted}: {names}; keep one of them"
    return FilesByCase(chosen, skipped)


def shown(text: str) -> str:
    """A text with all that a terminal would not show as it is turned into escapes such as \\x1b."""
    return _UNSAFE.sub(lambda found: found[0] if found[0] in "/\\" else ascii(found[0])[1:-1], text)


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
        raise BadInputError(
            f"{shown(str(path))}: the name gives no case id that can name a file; rename it, such as 001.nii.gz"
        )
    if len(stem.encode()) > _MAX_ID_BYTES:
        raise BadInputError(f"{path}: the name is too long, the limit is {_MAX_ID_BYTES} bytes; rename it")
    return stem, found


def plain_markdown(text: object) -> str:
    """Text in which nothing means anything to Markdown or HTML; ends of lines become spaces."""
    line = " ".join(str(text).split())
    return "".join(f"\\{c}" if c in _MARKDOWN_SPECIAL else c for c in line)
