"""Files of an input folder that are not read, with the reasons."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from heartmend.io.file_names import escape_unprintable, volume_ending
from heartmend.wording import plural

# Endings of volumes that are not supported, with what can be done.
_OTHER_VOLUMES = {
    ".dcm": "convert the series to .nii.gz", ".npy": "convert it to .nii.gz", ".npz": "convert it to .nii.gz",
    ".gz": "convert it to .nii.gz", ".mnc": "convert it to .nii.gz", ".nhdr": "convert it to .nrrd",
}  # fmt: skip
# Endings of files of voxels, which are read with their header.
_VOXEL_FILES = (".img", ".raw", ".zraw", ".bin")
_MAX_LISTED = 5


@dataclass(frozen=True)
class UnreadFile:
    """File or folder that is not read.

    Attributes:
        name: its name.
        reason: why it is not read.
        is_folder: whether it is a folder.
    """

    name: str
    reason: str
    is_folder: bool = False


def unread_files(
    folder: Path, used: Collection[str], file_ending: str | None = None, images_are_read: bool = False
) -> tuple[UnreadFile, ...]:
    """List what a folder of label maps contains beside the files that are read.

    Args:
        folder: the folder of the label maps.
        used: names of the files that are read, or that are reported as skipped.
        file_ending: the ending that the dataset.json of the folder demands; None for any.
        images_are_read: whether the folder is that of the images too.

    Returns:
        Its other files and folders, sorted by name; without hidden ones.
    """
    found = []
    for path in sorted(folder.iterdir()):
        if path.name in used or path.name.startswith("."):
            continue
        ending = volume_ending(path)
        if ending is None:
            # Only here, because a check of every label map would take time on a network drive.
            if path.is_dir():
                found.append(
                    UnreadFile(
                        path.name, "a folder beside label maps; give it as LABELS to read its files", is_folder=True
                    )
                )
            else:
                found.append(UnreadFile(path.name, _other_file(path)))
        elif file_ending is not None and not path.name.lower().endswith(file_ending.lower()):
            found.append(UnreadFile(path.name, f"its ending is not {file_ending} of dataset.json"))
        elif not images_are_read:
            found.append(UnreadFile(path.name, "an image by its name; give its folder with --images"))
    return tuple(found)


def describe_unread(files: Sequence[UnreadFile], limit: int | None = _MAX_LISTED) -> str:
    """Format the files that were not read as one sentence.

    Args:
        files: the files and folders.
        limit: how many are listed; None for all.

    Returns:
        The text.

    Example:
        >>> describe_unread([UnreadFile("3.hdr", "convert it to .nii.gz"), UnreadFile("old", "a folder", True)])
        '1 file and 1 folder were not read: 3.hdr (convert it to .nii.gz), old (a folder)'
    """
    folders = sum(file.is_folder for file in files)
    counts = [plural(n, word) for n, word in ((len(files) - folders, "file"), (folders, "folder")) if n]
    names = [f"{file.name} ({file.reason})" for file in files[:limit]]
    more = ["..."] if len(names) < len(files) else []
    was_or_were = "was" if len(files) == 1 else "were"
    return escape_unprintable(f"{' and '.join(counts)} {was_or_were} not read: {', '.join([*names, *more])}")


def _other_file(path: Path) -> str:
    ending = path.suffix.lower()
    if ending in _VOXEL_FILES:
        return "no header (.hdr, .mhd, .nhdr) that is read names it"
    if ending in _OTHER_VOLUMES:
        return f"{ending} is not supported; {_OTHER_VOLUMES[ending]}"
    return "no label map by its ending"
