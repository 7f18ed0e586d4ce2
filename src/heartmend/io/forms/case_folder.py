"""Files of a case that has a folder of its own: which of them are its label map, and which is its image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from heartmend.errors import BadInputError
from heartmend.io.dicom.files import read_dicom_folder
from heartmend.io.file_names import case_id, escape_unprintable, file_role, volume_ending
from heartmend.io.id_presets import id_presets, known_other_names, plain_name

MASK_FOLDERS = ("segmentations", "segmentation", "masks", "mask", "labels", "label", "seg")
"""Names of the folder of masks within that of a case; the first is that of TotalSegmentator."""
_IMAGES = frozenset({"ct", "cta", "ctimage", "img", "image", "imaging", "scan"})


@dataclass(frozen=True)
class CaseFolder:
    """Files of the folder of a case.

    Attributes:
        path: the folder.
        labels: the label map, or a mask for each structure, sorted by name.
        images: the files that are images by their names.
        has_masks: whether the files of `labels` are masks of structures.
        others: files of another folder within it, which are not read.
    """

    path: Path
    labels: tuple[Path, ...]
    images: tuple[Path, ...]
    has_masks: bool
    others: tuple[Path, ...] = ()

    @property
    def n_known(self) -> int:
        """Number of files of `labels` that are named after structures or organs of public data sets."""
        return sum(_is_known(mask_name(path, self.path)) for path in self.labels)


def read_case_folder(folder: Path) -> CaseFolder:
    """Find the files of a case that has a folder of its own, by their names.

    The label map is a volume in the folder itself, or in a folder within it; several volumes are masks of structures,
    unless one alone is named as a label map.

    Args:
        folder: the folder.

    Returns:
        Its files.

    Raises:
        BadInputError: if it cannot be listed, has no label map, or has several that are not masks.
    """
    images, by_parent = list[Path](), dict[Path, list[Path]]()
    for path in _volumes(folder):
        if _is_image(path, folder):
            images.append(path)
        else:
            by_parent.setdefault(path.parent, []).append(path)
    if not by_parent and (dicom := read_dicom_folder(folder).label_files):
        if len(dicom) > 1:
            names = " and ".join(escape_unprintable(path.name) for path in dicom[:3])
            raise BadInputError(f"{folder}: has several DICOM files of label maps: {names}; keep one of them")
        # The series is the image, found as a whole by its folder.
        return CaseFolder(folder, dicom, (folder,), has_masks=False)
    if not by_parent:
        raise BadInputError(f"{folder}: contains no label map; put it there, or remove the folder")
    chosen = _chosen_parent(folder, by_parent)
    others = tuple(path for parent, paths in by_parent.items() if parent != chosen for path in paths)
    files = by_parent[chosen]
    named = [path for path in files if file_role(path) == "label" or mask_name(path, folder) in MASK_FOLDERS]
    if len(files) > 1 and len(named) == 1 and not _is_known(mask_name(named[0], folder)):
        files, others = named, (*others, *(path for path in files if path not in named))
    has_masks = len(files) > 1 or chosen.name.lower() == MASK_FOLDERS[0] or _is_known(mask_name(files[0], folder))
    return CaseFolder(folder, tuple(files), tuple(images), has_masks, others)


def find_image(folder: Path) -> Path | None:
    """Find the image in the folder of a case.

    Args:
        folder: the folder.

    Returns:
        The only volume that is an image by its name, or the only volume; the folder itself where it has a DICOM series;
        None where there is no image, or several.

    Raises:
        BadInputError: if the folder cannot be listed.
    """
    volumes = _volumes(folder)
    if not volumes and read_dicom_folder(folder).series:
        return folder
    images = [path for path in volumes if _is_image(path, folder)] or volumes
    return images[0] if len(images) == 1 else None


def mask_name(path: Path, folder: Path) -> str:
    """Derive the name of a structure from that of the file of its mask.

    Args:
        path: the file.
        folder: the folder of the case.

    Returns:
        The name without its ending, without a role such as `_mask`, and without the id of the case before it.

    Example:
        >>> mask_name(Path("007/007_left_atrium_mask.nii.gz"), Path("007"))
        'left_atrium'
    """
    try:
        name = case_id(path)
    except BadInputError:
        return ""
    prefix = folder.name
    rest = name[len(prefix) :].lstrip("_-. ") if name.startswith(prefix) else ""
    return rest or name


@lru_cache(maxsize=1)
def _known_names() -> frozenset[str]:
    structures = {plain_name(name) for preset in id_presets() for name in preset.structures.values()}
    return known_other_names() | structures


def _is_known(name: str) -> bool:
    """Whether a name is that of a structure of a public data set."""
    return plain_name(name) in _known_names()


def _chosen_parent(folder: Path, by_parent: dict[Path, list[Path]]) -> Path:
    for name in MASK_FOLDERS:
        for parent in by_parent:
            if parent != folder and parent.name.lower() == name:
                return parent
    if len(by_parent) > 1 and folder not in by_parent:
        names = " and ".join(escape_unprintable(parent.name) for parent in list(by_parent)[:3])
        raise BadInputError(f"{folder}: has label maps in several folders ({names}); keep one of them")
    return folder if folder in by_parent else next(iter(by_parent))


def _volumes(folder: Path) -> list[Path]:
    """The volumes of a folder, and of the folders in it."""
    found = list[Path]()
    try:
        inner = [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.is_symlink() and volume_ending(p) is None]
        for parent in (folder, *(p for p in inner if not p.name.startswith("."))):
            found += [p for p in sorted(parent.iterdir()) if p.name[0] != "." and volume_ending(p) and p.is_file()]
    except OSError as error:
        raise BadInputError(f"{folder}: cannot be listed: {error.strerror}; change its permissions") from error
    return found


def _is_image(path: Path, folder: Path) -> bool:
    try:
        return file_role(path) == "image" or plain_name(mask_name(path, folder)) in _IMAGES
    except BadInputError:
        return False
