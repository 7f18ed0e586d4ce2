"""A data set: which files belong to which case, and how it numbers the structures."""

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
    """One patient's files."""

    id: str
    labels_path: Path
    image_path: Path | None = None


@dataclass(frozen=True)
class Cohort:
    """The cases of a data set in the order of their ids, and what its numbers mean."""

    cases: tuple[Case, ...]
    anatomy: Anatomy
    unknown_labels: UnknownLabels = "error"
    file_ids: Mapping[int, int] | None = None
    """The data set's id -> the anatomy's id; None where they are the same."""
    images_without_labels: tuple[Path, ...] = ()
    """Images for which there is no label map."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Why a file cannot be a case, by case id, or by the file's name where that gives none."""

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, id: str) -> Case:
        """The case with this id; BadInputError when there is none, or it was refused."""
        if id in self.skipped:
            raise BadInputError(self.skipped[id])
        for case in self.cases:
            if case.id == id:
                return case
        raise BadInputError(f"no case {id!r} among {len(self)} cases from {self.cases[0].id} to {self.cases[-1].id}")

    def without_cases(self) -> Cohort:
        """How the files are read, alone: what a job about one case carries, however many there are."""
        return replace(self, cases=(), images_without_labels=(), skipped={})

    def read_labels(self, case: Case) -> LabelVolume:
        """The case's label map in the anatomy's ids."""
        return read_labels(case.labels_path, self.anatomy, self.unknown_labels, self.file_ids)

    def read_image(self, case: Case, grid: Grid | None = None) -> Volume | None:
        """The case's CT, on `grid` when one is given; None when it has none."""
        return None if case.image_path is None else read_image(case.image_path, grid)

    def read_roi_image(self, case: Case, roi: Roi) -> npt.NDArray[np.generic] | None:
        """Read the CT of a case on the voxels of its region of interest.

        Returns:
            (x, y, z) in HU, on the voxels of `roi.source_box()`; None where the case has no CT.

        Raises:
            BadInputError: if it cannot be read.
        """
        image = self.read_image(case, roi.grid)
        return None if image is None else image.values[roi.source_box()]

    def check_image(self, case: Case, grid: Grid) -> tuple[str, ...]:
        """What is odd about the image beside a label map on `grid`, by its header alone; nothing when it has none.

        Raises BadInputError when it cannot be read, or lies elsewhere in space.
        """
        if case.image_path is None:
            return ()
        header, image_grid = read_volume_header(case.image_path)
        covered = image_coverage(image_grid, grid, case.image_path)
        notes = header.warnings if isinstance(header, NiftiHeader) else ()
        return tuple(f"image: {note}" for note in (*notes, *([] if covered is None else [resampling_warning(covered)])))

    def write_labels(self, case: Case, labels: Labels, out: Path, unknown: Mask | None = None) -> None:
        """Write labels in the anatomy's ids as the case's own file has them: header, ids, all but the voxels."""
        write_labels_like(labels, case.labels_path, out, self.file_ids, unknown)


def discover_cohort(
    labels_dir: str | Path,
    images_dir: str | Path | None = None,
    *,
    anatomy: Anatomy,
    unknown_labels: UnknownLabels = "error",
) -> Cohort:
    """Find the cases of a folder of label maps, or of an nnU-Net v2 data set folder, sorted by id.

    Of an nnU-Net data set (dataset.json, labelsTr, imagesTr) the first channel is the image, and the names in
    dataset.json say what its ids mean. A case without an image stays; an image without a label map is listed in
    `images_without_labels`. A file whose name gives no case, and two files for one case, are listed in `refused`. Raises
    BadInputError when no case is left, and when no image fits.
    """
    root = Path(labels_dir)
    if not root.is_dir():
        raise BadInputError(f"{root}: not a folder; give the folder that holds the label maps")
    file_ids, ending = None, None
    described = root / "dataset.json"
    images = None if images_dir is None else Path(images_dir)
    if described.is_file() and (root / "labelsTr").is_dir():
        table = _read_table(described)
        file_ids, ending = _file_ids(table, described, anatomy), table.get("file_ending")
        if images is None and (root / "imagesTr").is_dir():
            images = root / "imagesTr"
        root = root / "labelsTr"
    labels = group_by_case(_volumes(root, ending), "label")
    if not labels.paths:
        if labels.skipped:
            raise BadInputError(next(iter(labels.skipped.values())))
        raise BadInputError(
            f"{root}: holds no label map ({', '.join(VOLUME_ENDINGS)}); give the folder that they lie in directly"
        )
    found = CaseFiles({}, {}) if images is None else _images(images)
    # Two images for a case leave open which is meant; for none they do not matter.
    unclear = {id: why for id, why in found.skipped.items() if id in labels.paths}
    if images is not None and not (found.paths.keys() | unclear.keys()) & labels.paths.keys():
        raise BadInputError(
            f"{images}: none of its {len(found.paths)} images belongs to one of the {len(labels.paths)} label maps "
            f"of {root}; the ids are {_some(found.paths)} there and {_some(labels.paths)} here"
        )
    cases = tuple(Case(id, p, found.paths.get(id)) for id, p in labels.paths.items() if id not in unclear)
    if not cases:
        raise BadInputError(next(iter(unclear.values())))
    return Cohort(
        cases=cases,
        anatomy=anatomy,
        unknown_labels=unknown_labels,
        file_ids=file_ids,
        images_without_labels=tuple(path for id, path in found.paths.items() if id not in labels.paths),
        skipped=dict(sorted((labels.skipped | unclear).items())),
    )


def _volumes(folder: Path, ending: str | None = None) -> list[Path]:
    """All that is named as a volume, be it readable or not: a folder or a dead link must be told, not passed over."""
    try:
        paths = [p for p in folder.iterdir() if not p.name.startswith(".") and volume_ending(p)]
    except OSError as error:
        raise BadInputError(f"{folder}: cannot be listed: {error.strerror}; give yourself the right to") from error
    return sorted(p for p in paths if ending is None or p.name.endswith(ending))


def _images(folder: Path) -> CaseFiles:
    if not folder.is_dir():
        raise BadInputError(f"{folder}: not a folder; give the folder that holds the images")
    return group_by_case(_volumes(folder), "image")


def _read_table(path: Path) -> dict[str, Any]:
    try:
        with readable_file(path):
            table = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{path}: cannot be read as JSON: {error}; mend it, or give labelsTr alone") from error
    if not isinstance(table, dict) or not isinstance(table.get("labels"), dict):
        raise BadInputError(f'{path}: not a data set of nnU-Net v2: it has no table "labels" of names and ids')
    if not isinstance(table.get("file_ending", ""), str):
        raise BadInputError(f"{path}: file_ending is not a text")
    return table


def _file_ids(table: Mapping[str, Any], path: Path, anatomy: Anatomy) -> dict[int, int]:
    """The data set's id -> the anatomy's, by the structures' names. Names that the anatomy lacks are left out."""
    known: dict[int, int] = {}
    for name, number in table["labels"].items():
        if isinstance(number, list):
            raise BadInputError(f"{path}: label {name!r} is a region of ids {number}; only single ids can be mended")
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= 65535:
            raise BadInputError(f"{path}: label {name!r} has {number!r} for an id; give 0 to 65535")
        try:
            id = anatomy.by_name(name).id
        except ConfigError:
            continue
        if number == BACKGROUND or number in known or id in known.values():
            raise BadInputError(
                f"{path}: label {name!r} has the id {number}, or means a structure, that is taken; give each its own"
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
