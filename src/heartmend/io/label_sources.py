"""Label maps and images of the cases of a data set, found by the names of files and folders."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from heartmend.anatomy.schema import Anatomy
from heartmend.errors import BadInputError, ConfigError
from heartmend.io.dicom.files import read_dicom_folder
from heartmend.io.file_names import (
    VOLUME_ENDINGS,
    CaseFiles,
    check_case_id,
    group_by_case,
    volume_ending,
)
from heartmend.io.forms.case_folder import MASK_FOLDERS, CaseFolder, find_image, mask_name, read_case_folder
from heartmend.io.unread_files import UnreadFile
from heartmend.io.volume import DETACHED_ENDINGS, read_any_header
from heartmend.wording import plural


@dataclass(frozen=True)
class LabelSources:
    """Label maps of a folder.

    Attributes:
        paths: the file, or the folder of the case, by case id.
        skipped: why one cannot be used, by case id, or by name where that gives no id.
        images: the image in the folder of a case, by case id.
        used: names in the folder that are read, or reported as skipped.
        unread: folders that are not read, and masks that are no structures.
    """

    paths: dict[str, Path]
    skipped: dict[str, str]
    images: dict[str, Path] = field(default_factory=dict)
    used: frozenset[str] = frozenset()
    unread: tuple[UnreadFile, ...] = ()


def find_label_maps(root: Path, anatomy: Anatomy, ending: str | None = None, has_channel: bool = True) -> LabelSources:
    """Find the label map of every case in a folder.

    The label maps are its files; without any, each folder in it is that of a case. A folder of masks that are named
    after structures is one case.

    Args:
        root: the folder.
        anatomy: the structures.
        ending: ending of the label maps; None for any.
        has_channel: whether `_0000` in a file name is nnU-Net's first channel.

    Returns:
        The label maps; none where the folder has none.

    Raises:
        BadInputError: if the folder cannot be listed.
    """
    volumes = volumes_of(root, ending)
    if _are_masks(volumes, root, anatomy):
        folder = root.parent if root.name.lower() in MASK_FOLDERS else root
        return _of_folders([folder], anatomy)
    if volumes:
        return _of_files(volumes, has_channel)
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if any(p.name.lower() in MASK_FOLDERS and _are_masks(volumes_of(p), p, anatomy) for p in folders):
        return _of_folders([root], anatomy)
    dicom = read_dicom_folder(root, deep=False)
    if dicom.label_files and dicom.series:
        return _of_folders([root], anatomy)
    if dicom.label_files:
        return _of_files(dicom.label_files, has_channel)
    return _of_folders(folders, anatomy)


def find_images(folder: Path) -> CaseFiles:
    """Find the image of every case in a folder.

    Args:
        folder: a folder of images, or of the folders of cases with an image each.

    Returns:
        The images.

    Raises:
        BadInputError: if there is no such folder.
    """
    if not folder.is_dir():
        raise BadInputError(f"{folder}: not a folder; give the folder of the images")
    if volumes := volumes_of(folder):
        return group_by_case(volumes, "image")
    found = {_id_of_folder(p): find_image(p) for p in sorted(folder.iterdir()) if p.is_dir() and p.name[0] != "."}
    return CaseFiles({id: image for id, image in found.items() if image is not None}, {})


def volumes_of(folder: Path, ending: str | None = None) -> list[Path]:
    """List everything with the ending of a volume: a folder or a broken link is an error later, not ignored.

    Args:
        folder: the folder.
        ending: the ending; None for any.

    Returns:
        The paths, sorted by name; without hidden ones.

    Raises:
        BadInputError: if the folder cannot be listed.
    """
    try:
        paths = [p for p in folder.iterdir() if not p.name.startswith(".") and volume_ending(p)]
    except OSError as error:
        raise BadInputError(f"{folder}: cannot be listed: {error.strerror}; change its permissions") from error
    return sorted(p for p in paths if ending is None or p.name.lower().endswith(ending.lower()))


def is_structure(name: str, anatomy: Anatomy) -> bool:
    """Test whether a name is that of a structure.

    Args:
        name: the name.
        anatomy: the structures with their aliases.

    Returns:
        Whether it is.
    """
    try:
        anatomy.by_name(name)
    except ConfigError:
        return False
    return True


def _are_masks(volumes: Sequence[Path], root: Path, anatomy: Anatomy) -> bool:
    """Whether files are the masks of one case: two or more are named after structures, most others after organs."""
    if len(volumes) < 2:
        return False
    names = [mask_name(path, root) for path in volumes]
    structures = [name for name in names if is_structure(name, anatomy)]
    return len(structures) >= 2 and (len(structures) == len(names) or read_case_folder(root).n_known * 2 > len(names))


def _of_files(volumes: Sequence[Path], has_channel: bool) -> LabelSources:
    found = group_by_case(volumes, "label", has_channel)
    paths, skipped, companions = dict(found.paths), dict(found.skipped), defaultdict[str, list[str]](list)
    for id, path in found.paths.items():
        if not path.name.lower().endswith(DETACHED_ENDINGS):
            continue
        try:
            companions[read_any_header(path).data_name].append(id)
        except BadInputError:
            # Reported when the case is read; its voxels are no file of another kind.
            companions[_sibling(path)].append(id)
    for name, ids in companions.items():
        if name and len(ids) > 1:
            names = " and ".join(paths[id].name for id in ids)
            for id in ids:
                skipped[id] = f"{paths.pop(id)}: {names} name the same file of voxels, {name}; give each its own"
    used = {path.name for path in found.paths.values()} | set(companions)
    used |= {path.name for path in volumes if not _is_selected(path, found, has_channel)}
    return LabelSources(paths, skipped, used=frozenset(used))


def _is_selected(path: Path, found: CaseFiles, has_channel: bool) -> bool:
    """Whether a volume is not listed among the skipped cases."""
    grouped = group_by_case([path], "label", has_channel)
    return not grouped.skipped and next(iter(grouped.paths)) not in found.skipped


def _sibling(path: Path) -> str:
    stem = path.name.lower()[: -len(volume_ending(path) or "")]
    endings = (".img", ".img.gz", ".raw", ".zraw", ".raw.gz")
    names = [p.name for p in path.parent.iterdir() if p.name.lower() in {stem + ending for ending in endings}]
    return names[0] if names else ""


def _of_folders(folders: Sequence[Path], anatomy: Anatomy) -> LabelSources:
    paths, skipped, images, unread = dict[str, Path](), dict[str, str](), dict[str, Path](), list[UnreadFile]()
    copied, ignored = defaultdict[str, int](int), defaultdict[str, int](int)
    for folder in folders:
        try:
            id = check_case_id(_id_of_folder(folder))
            found = read_case_folder(folder)
        except BadInputError as error:
            reason = str(error).removeprefix(f"{folder}: ")
            unread.append(UnreadFile(folder.name, reason, is_folder=True))
            continue
        names = [mask_name(path, folder) for path in found.labels] if found.has_masks else []
        if found.has_masks and not any(is_structure(name, anatomy) for name in names):
            unread.append(UnreadFile(folder.name, _no_structure(found, anatomy), is_folder=True))
            continue
        paths[id] = folder
        if len(found.images) == 1:
            images[id] = found.images[0]
        for path, name in zip(found.labels, names, strict=False):
            if not is_structure(name, anatomy):
                copied[path.relative_to(folder).as_posix()] += 1
        for path in found.others:
            ignored[path.relative_to(folder).as_posix()] += 1
    for name, count in sorted(ignored.items()):
        unread.append(UnreadFile(name, f"beside the label map, in {plural(count, 'case')}"))
    for name, count in sorted(copied.items()):
        reason = f"no structure of anatomy {anatomy.name}, in {plural(count, 'case')}; copied unchanged"
        unread.append(UnreadFile(name, reason))
    return LabelSources(paths, skipped, images, frozenset(folder.name for folder in paths.values()), tuple(unread))


def _no_structure(found: CaseFolder, anatomy: Anatomy) -> str:
    return (
        f"a folder of {len(found.labels)} volumes, none of which has the name of a structure of anatomy "
        f"{anatomy.name}; if they are label maps ({', '.join(VOLUME_ENDINGS[:3])}, ...), give it as LABELS"
    )


def _id_of_folder(folder: Path) -> str:
    return unicodedata.normalize("NFC", folder.name)
