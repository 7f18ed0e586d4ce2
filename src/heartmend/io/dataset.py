"""Data sets: the files of each case, and the numbering of the structures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.errors import BadInputError, ConfigError
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.io.file_names import VOLUME_ENDINGS, CaseFiles, escape_unprintable, group_by_case, volume_ending
from heartmend.io.label_maps import LabelVolume, UnknownLabels, read_labels, write_labels_like
from heartmend.io.nifti import NiftiHeader
from heartmend.io.reading import readable_file
from heartmend.io.volume import Volume, image_coverage, read_image, read_volume_header, resampling_warning
from heartmend.types import BACKGROUND, Labels, Mask


@dataclass(frozen=True)
class Case:
    """Files of one patient.

    Attributes:
        id: id of the case.
        labels_path: the label map.
        image_path: the CT; None where there is none.
    """

    id: str
    labels_path: Path
    image_path: Path | None = None


@dataclass(frozen=True)
class Cohort:
    """Cases of a data set.

    Attributes:
        cases: the cases, in the order of their ids.
        anatomy: the structures.
        unknown_labels: handling of ids that the anatomy does not have.
        file_ids: the data set's id -> the anatomy's id; None where they are the same.
        images_without_labels: images without a label map.
        skipped: why a file is not used, by case id, or by file name where that gives no id.
    """

    cases: tuple[Case, ...]
    anatomy: Anatomy
    unknown_labels: UnknownLabels = "error"
    file_ids: Mapping[int, int] | None = None
    images_without_labels: tuple[Path, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, id: str) -> Case:
        """Find a case by its id.

        Args:
            id: id of the case.

        Returns:
            The case.

        Raises:
            BadInputError: if there is no such case, or it is skipped.
        """
        if id in self.skipped:
            raise BadInputError(self.skipped[id])
        for case in self.cases:
            if case.id == id:
                return case
        raise BadInputError(f"no case {id!r} among {len(self)} cases from {self.cases[0].id} to {self.cases[-1].id}")

    def without_cases(self) -> Cohort:
        """Copy the cohort without its cases: the settings for reading files, as a small object for worker processes.

        Returns:
            The cohort without cases.
        """
        return replace(self, cases=(), images_without_labels=(), skipped={})

    def read_labels(self, case: Case) -> LabelVolume:
        """Read the label map of a case.

        Args:
            case: a case of the data set.

        Returns:
            The label map, in the ids of the anatomy.

        Raises:
            BadInputError: if the file cannot be used.
        """
        return read_labels(case.labels_path, self.anatomy, self.unknown_labels, self.file_ids)

    def read_image(self, case: Case, grid: Grid | None = None) -> Volume | None:
        """Read the CT of a case.

        Args:
            case: a case of the data set.
            grid: grid of the label map, to which the CT is resampled if it is on another one.

        Returns:
            The CT in HU; None where the case has none.

        Raises:
            BadInputError: if the file cannot be used.
        """
        return None if case.image_path is None else read_image(case.image_path, grid)

    def read_roi_image(self, case: Case, roi: Roi) -> npt.NDArray[np.generic] | None:
        """Read the CT of a case on the voxels of its region of interest.

        Args:
            case: a case of the data set.
            roi: the region of interest.

        Returns:
            (x, y, z) in HU, on the voxels of `roi.source_box()`; None where the case has no CT.

        Raises:
            BadInputError: if it cannot be read.
        """
        image = self.read_image(case, roi.grid)
        return None if image is None else image.values[roi.source_box()]

    def check_image(self, case: Case, grid: Grid) -> tuple[str, ...]:
        """Check the header of a case's CT.

        Args:
            case: a case of the data set.
            grid: grid of its label map.

        Returns:
            Warnings; none where the case has no CT.

        Raises:
            BadInputError: if the file cannot be read, or does not overlap with the grid.
        """
        if case.image_path is None:
            return ()
        header, image_grid = read_volume_header(case.image_path)
        covered = image_coverage(image_grid, grid, case.image_path)
        warnings = list(header.warnings) if isinstance(header, NiftiHeader) else []
        if covered is not None:
            warnings.append(resampling_warning(covered))
        return tuple(f"image: {warning}" for warning in warnings)

    def write_labels(self, case: Case, labels: Labels, out: Path, unknown: Mask | None = None) -> None:
        """Write a label map of a case with the header and the ids of its own file.

        Args:
            case: a case of the data set.
            labels: (x, y, z) uint8, ids of the anatomy.
            out: the file to write.
            unknown: (x, y, z) bool, voxels that keep their value in the case's file.

        Raises:
            BadInputError: if the labels do not fit the file.
            OutputError: if the system cannot write it.
        """
        write_labels_like(labels, case.labels_path, out, self.file_ids, unknown)


def discover_cohort(
    labels_dir: str | Path,
    images_dir: str | Path | None = None,
    *,
    anatomy: Anatomy,
    unknown_labels: UnknownLabels = "error",
) -> Cohort:
    """Find the cases of a data set.

    Args:
        labels_dir: a folder of label maps, or an nnU-Net v2 data set (dataset.json, labelsTr, imagesTr). Of the latter
            the first channel is the image, and dataset.json has the names of its ids.
        images_dir: a folder of CTs; a case without one is used as well.
        anatomy: the structures.
        unknown_labels: handling of ids that the anatomy does not have.

    Returns:
        The cases, sorted by id. A file whose name gives no case id, and a case with two label maps or two CTs, are in
        `Cohort.skipped`.

    Raises:
        BadInputError: if there is no case, or no CT belongs to a label map.

    Example:
        >>> import tempfile
        >>> from heartmend.anatomy.load import load_anatomy
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("001.nii.gz", "002.nii.gz"):
        ...     (folder / name).touch()
        >>> [case.id for case in discover_cohort(folder, anatomy=load_anatomy("heart"))]
        ['001', '002']
    """
    root = Path(labels_dir)
    if not root.is_dir():
        raise BadInputError(f"{root}: not a folder; give the folder of the label maps")
    file_ids, ending = None, None
    dataset_json = root / "dataset.json"
    images = None if images_dir is None else Path(images_dir)
    if dataset_json.is_file() and (root / "labelsTr").is_dir():
        table = _read_table(dataset_json)
        file_ids, ending = _file_ids(table, dataset_json, anatomy), table.get("file_ending")
        if images is None and (root / "imagesTr").is_dir():
            images = root / "imagesTr"
        root = root / "labelsTr"
    labels = group_by_case(_volumes(root, ending), "label")
    if not labels.paths:
        if labels.skipped:
            raise BadInputError(next(iter(labels.skipped.values())))
        raise BadInputError(
            f"{root}: contains no label map ({', '.join(VOLUME_ENDINGS)}); give the folder that directly contains them"
        )
    image_files = CaseFiles({}, {}) if images is None else _images(images)
    # Two images are ambiguous only for a case with a label map.
    ambiguous = {id: why for id, why in image_files.skipped.items() if id in labels.paths}
    if images is not None and not (image_files.paths.keys() | ambiguous.keys()) & labels.paths.keys():
        raise BadInputError(
            f"{images}: none of its {len(image_files.paths)} images belongs to one of the {len(labels.paths)} label "
            f"maps of {root}; ids of images: {_some(image_files.paths)}, ids of label maps: {_some(labels.paths)}"
        )
    cases = tuple(Case(id, p, image_files.paths.get(id)) for id, p in labels.paths.items() if id not in ambiguous)
    if not cases:
        raise BadInputError(next(iter(ambiguous.values())))
    return Cohort(
        cases=cases,
        anatomy=anatomy,
        unknown_labels=unknown_labels,
        file_ids=file_ids,
        images_without_labels=tuple(path for id, path in image_files.paths.items() if id not in labels.paths),
        skipped=dict(sorted((labels.skipped | ambiguous).items())),
    )


def _volumes(folder: Path, ending: str | None = None) -> list[Path]:
    """Everything with the ending of a volume: a folder or a broken link is an error later, not ignored."""
    try:
        paths = [p for p in folder.iterdir() if not p.name.startswith(".") and volume_ending(p)]
    except OSError as error:
        raise BadInputError(f"{folder}: cannot be listed: {error.strerror}; change its permissions") from error
    return sorted(p for p in paths if ending is None or p.name.endswith(ending))


def _images(folder: Path) -> CaseFiles:
    if not folder.is_dir():
        raise BadInputError(f"{folder}: not a folder; give the folder of the images")
    return group_by_case(_volumes(folder), "image")


def _read_table(path: Path) -> dict[str, Any]:
    try:
        with readable_file(path):
            table = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadInputError(
            f"{path}: cannot be read as JSON: {error}; correct it, or give the folder labelsTr"
        ) from error
    if not isinstance(table, dict) or not isinstance(table.get("labels"), dict):
        raise BadInputError(f'{path}: not a data set of nnU-Net v2: it has no table "labels" of names and ids')
    if not isinstance(table.get("file_ending", ""), str):
        raise BadInputError(f"{path}: file_ending must be a text")
    return table


def _file_ids(table: Mapping[str, Any], path: Path, anatomy: Anatomy) -> dict[int, int]:
    """The data set's id -> the anatomy's id, by the names of the structures; unknown names are left out."""
    known: dict[int, int] = {}
    for name, number in table["labels"].items():
        if isinstance(number, list):
            raise BadInputError(f"{path}: label {name!r} is a region of ids {number}; only single ids are supported")
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= 65535:
            raise BadInputError(f"{path}: label {name!r} has {number!r} as its id; give 0 to 65535")
        try:
            id = anatomy.by_name(name).id
        except ConfigError:
            continue
        if number == BACKGROUND or number in known or id in known.values():
            raise BadInputError(
                f"{path}: label {name!r} has the id {number} or the structure of another label; give each its own"
            )
        known[number] = id
    if not known:
        names = escape_unprintable(", ".join(map(str, table["labels"])))
        raise BadInputError(
            f"{path}: none of its labels ({names}) is a structure of anatomy {anatomy.name} "
            f"({', '.join(anatomy.names)}); give an anatomy file with these names"
        )
    return known


def _some(ids: Mapping[str, Path]) -> str:
    listed = list(ids)[:3]
    return ", ".join(map(repr, listed)) + (", ..." if len(ids) > len(listed) else "") if ids else "none"
