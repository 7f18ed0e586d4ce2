"""The folder that was probably meant where a folder has no label map itself."""

from __future__ import annotations

from pathlib import Path

from heartmend.errors import BadInputError
from heartmend.io.dicom.files import read_dicom_folder
from heartmend.io.file_names import escape_unprintable
from heartmend.io.label_sources import volumes_of

_IMAGE_WORDS = ("image", "img", "ct", "scan", "dicom")
_LABEL_WORDS = ("label", "seg", "mask", "gt", "annot")
_MAX_FOLDERS = 200
"""More folders are those of cases; they are not listed."""
_NAMED = 3


def other_folder_hint(root: Path) -> str:
    """Name what a folder contains in place of label maps: folders of volumes, or a DICOM series.

    Args:
        root: a folder without a label map.

    Returns:
        Such as "labels_noisy/ below has 5: did you mean it?"; empty where there is nothing to name.
    """
    if _has_series(root):
        return "it is a folder of DICOM images; give the folder of the label maps, and this one with --images"
    folders = [p for p in sorted(root.iterdir()) if p.is_dir() and not p.name.startswith(".")]
    if len(folders) > _MAX_FOLDERS:
        return ""
    counts = {p.name: len(volumes_of(p)) for p in folders}
    likely = [name for name, count in counts.items() if count and not _is_named(name, _IMAGE_WORDS)]
    likely.sort(key=lambda name: (not _is_named(name, _LABEL_WORDS), name))
    if not likely:
        images = [name for name, count in counts.items() if count]
        images += [p.name for p in folders if not counts[p.name] and _has_series(p)]
        if images:
            return f"{escape_unprintable(images[0])}/ below has images; give the folder of the label maps"
        return ""
    named = [f"{escape_unprintable(name)}/ below has {counts[name]:,}" for name in likely[:_NAMED]]
    question = "did you mean it?" if len(likely) == 1 else "did you mean one of them?"
    return f"{', '.join(named)}: {question}"


def _has_series(folder: Path) -> bool:
    try:
        return bool(read_dicom_folder(folder, deep=False).series)
    except (BadInputError, OSError):
        return False


def _is_named(name: str, words: tuple[str, ...]) -> bool:
    """Whether a name starts with one of the words; `labels_ct` is a folder of labels."""
    return name.lower().startswith(words)
