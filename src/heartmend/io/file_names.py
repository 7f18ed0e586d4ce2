"""Case ids and roles of files, from the file names that data sets of medical images use."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from heartmend.errors import BadInputError

Role = Literal["image", "label", "either"]
"""What a file contains by its name: an image, a label map, or either of them."""

VOLUME_ENDINGS = (
    ".nii.gz", ".seg.nrrd", ".nii", ".nrrd", ".mha", ".hdr", ".mhd", ".seg.nhdr", ".nhdr", ".mgz", ".mgh", ".gipl.gz",
    ".gipl",
)  # fmt: skip
"""The endings of supported volume files, the longest first: the first one that fits counts."""

_ROLES: dict[str, Role] = {
    "img": "image", "image": "image", "ct": "image",
    "label": "label", "labels": "label", "seg": "label", "mask": "label", "gt": "label",
    "nii": "either",
}  # fmt: skip
_ROLE = re.compile(rf"[._-]({'|'.join(_ROLES)})$", re.IGNORECASE)
_FIRST_CHANNEL = re.compile(r"_0000$")
# Control characters, surrogates (bytes that are not UTF-8), line ends and changes of the writing direction: with these
# a terminal, a log or a list would display something else than the name.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f/\\\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MARKDOWN_SPECIAL = "\\`*_[]<>#|"
# A file system allows 255 bytes; the longest name of a case's file in the run folder appends ".image.npz".
_MAX_ID_BYTES = 240


def volume_ending(path: Path) -> str | None:
    """Find the ending that marks a file as a volume.

    Args:
        path: the file; it need not exist.

    Returns:
        One of `VOLUME_ENDINGS`, or None for any other file.

    Example:
        >>> volume_ending(Path("001.NII.gz")), volume_ending(Path("notes.txt"))
        ('.nii.gz', None)
    """
    name = path.name.lower()
    return next((ending for ending in VOLUME_ENDINGS if name.endswith(ending) and len(name) > len(ending)), None)


def case_id(path: Path, has_channel: bool = True) -> str:
    """Derive the id of a case from the name of one of its files.

    Args:
        path: a volume file; it need not exist.
        has_channel: whether `_0000` at the end is nnU-Net's first channel, and not a part of the id.

    Returns:
        The id: the file name without its ending, without a role such as `.label` or `_ct`, and without the channel
        number `_0000` of nnU-Net.

    Raises:
        BadInputError: if the name gives no id that is safe as a file name. An id never leads out of a folder.

    Example:
        >>> [case_id(Path(name)) for name in ("1.nii.gz", "1.label.nii.gz", "heart_001_0000.nii.gz")]
        ['1', '1', 'heart_001']
    """
    stem, _ = _parsed(path, has_channel)
    return stem


def check_case_id(id: str) -> str:
    """Check that a case id is safe as a file name: the rule for ids from file names, for ids from anywhere else.

    Args:
        id: the id, such as one from a model file.

    Returns:
        The id.

    Raises:
        BadInputError: if it is empty, starts with a dot, contains a slash or a control character, or is too long.

    Example:
        >>> check_case_id("heart_001")
        'heart_001'
    """
    if not _is_safe(id):
        raise BadInputError(
            f"case id '{escape_unprintable(id[:80])}': is not safe as a file name; rename the case, for example to 001"
        )
    if len(id.encode()) > _MAX_ID_BYTES:
        raise BadInputError(
            f"case id '{escape_unprintable(id[:80])}...': is too long (limit {_MAX_ID_BYTES} bytes); rename the case"
        )
    return id


def file_role(path: Path, has_channel: bool = True) -> Role:
    """Derive from a file name whether the volume is an image or a label map.

    Args:
        path: a volume file; it need not exist.
        has_channel: as of `case_id`.

    Returns:
        The role; "either" where the name contains none.

    Raises:
        BadInputError: if the name gives no case id.

    Example:
        >>> file_role(Path("1.label.nii.gz")), file_role(Path("heart_001_0000.nii.gz")), file_role(Path("1.nii.gz"))
        ('label', 'image', 'either')
    """
    return _parsed(path, has_channel)[1]


@dataclass(frozen=True)
class CaseFiles:
    """One file per case.

    Attributes:
        paths: the file of each case, by case id, in the order of the ids.
        skipped: why a file cannot be used, by case id, or by file name where that gives no id.
    """

    paths: dict[str, Path]
    skipped: dict[str, str]


def group_by_case(paths: Iterable[Path], wanted: Literal["image", "label"], has_channel: bool = True) -> CaseFiles:
    """Select the image or the label map of every case from a list of files.

    Where a case has an image and a label map, their names decide (`file_role`). A case with two files of the same role
    and a file whose name gives no case id are skipped.

    Args:
        paths: the volume files.
        wanted: which of a case's files to select.
        has_channel: as of `case_id`; not in nnU-Net's labelsTr.

    Returns:
        The selected files and the reasons for the skipped ones.

    Example:
        >>> files = group_by_case([Path("1.img.nii.gz"), Path("1.label.nii.gz"), Path("2.nii.gz")], "label")
        >>> {id: path.name for id, path in files.paths.items()}
        {'1': '1.label.nii.gz', '2': '2.nii.gz'}
    """
    groups: defaultdict[str, list[Path]] = defaultdict(list)
    selected: dict[str, Path] = {}
    skipped: dict[str, str] = {}
    for path in paths:
        try:
            groups[case_id(path, has_channel)].append(path)
        except BadInputError as error:
            skipped[escape_unprintable(path.name)] = str(error)
    for id, group in sorted(groups.items()):
        candidates = [p for p in group if file_role(p, has_channel) in (wanted, "either")] if len(group) > 1 else group
        named = [p for p in candidates if file_role(p, has_channel) == wanted]
        if len(candidates) > 1 and len(named) == 1:
            candidates = named
        if len(candidates) == 1:
            selected[id] = candidates[0]
        else:
            names = " and ".join(sorted(p.name for p in candidates or group))
            skipped[id] = f"{group[0].parent}: case {id!r} has more than one {wanted}: {names}; keep one of them"
    return CaseFiles(selected, skipped)


def escape_unprintable(text: str) -> str:
    """Escape the characters of a text that a terminal would not display as they are.

    Args:
        text: any text, such as a file name.

    Returns:
        The text with escape sequences for control characters, line ends and changes of the writing direction.

    Example:
        >>> print(escape_unprintable("a" + chr(27) + "[31m"))
        a\\x1b[31m
    """
    return _UNSAFE.sub(lambda match: match[0] if match[0] in "/\\" else ascii(match[0])[1:-1], text)


def is_utf8(path: Path) -> bool:
    """Check whether a path can be given to a library that expects UTF-8.

    Args:
        path: any path.

    Returns:
        False if a name in it has bytes that are not UTF-8.

    Example:
        >>> is_utf8(Path("Müller/1.nii")), is_utf8(Path(os.fsdecode(b"\\xff/1.nii")))
        (True, False)
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def real_path(path: Path) -> Path:
    """Return an absolute path without links.

    Args:
        path: any path, also one that does not exist, or a link to itself, for which `Path.resolve` raises an error that
            is none of the system.

    Returns:
        The path.

    Example:
        >>> real_path(Path("/usr/../etc"))
        PosixPath('/etc')
    """
    return Path(os.path.realpath(path))


def escape_markdown(text: object) -> str:
    """Escape the characters of a text that have a meaning in Markdown or HTML.

    Args:
        text: any value; its `str` is used.

    Returns:
        One line of text; line ends become spaces.

    Example:
        >>> print(escape_markdown("a|b # <i>"))
        a\\|b \\# \\<i\\>
    """
    line = " ".join(str(text).split())
    return "".join(f"\\{c}" if c in _MARKDOWN_SPECIAL else c for c in line)


def _is_safe(name: str) -> bool:
    return bool(name.strip(" .")) and not name.startswith(".") and not _UNSAFE.search(name)


def _parsed(path: Path, has_channel: bool) -> tuple[str, Role]:
    """Case id and role."""
    ending = volume_ending(path)
    ending = ending or (".dcm" if path.name.lower().endswith(".dcm") else None)
    stem = unicodedata.normalize("NFC", path.name[: -len(ending)] if ending else path.name)
    role: Role = "either"
    if has_channel and (channel := _FIRST_CHANNEL.search(stem)):
        stem, role = stem[: channel.start()], "image"
    while match := _ROLE.search(stem):
        stem = stem[: match.start()]
        if role == "either":
            role = _ROLES[match[1].lower()]
    if not _is_safe(stem):
        raise BadInputError(
            f"{escape_unprintable(str(path))}: the name gives no case id that is safe as a file name; rename the file, "
            "for example to 001.nii.gz"
        )
    if len(stem.encode()) > _MAX_ID_BYTES:
        raise BadInputError(f"{path}: the name is too long (limit {_MAX_ID_BYTES} bytes); rename the file")
    return stem, role
