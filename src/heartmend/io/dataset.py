"""Data sets: the files of each case, and the numbering of the structures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.schema import Anatomy
from heartmend.errors import BadInputError
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.io.file_names import VOLUME_ENDINGS, CaseFiles, escape_unprintable, volume_ending
from heartmend.io.forms.open import open_label_map
from heartmend.io.hounsfield import hu_warnings
from heartmend.io.label_maps import LabelVolume, UnknownLabels, read_labels, read_meaning
from heartmend.io.label_meaning import LabelTable
from heartmend.io.label_sources import LabelSources, find_images, find_label_maps, volumes_of
from heartmend.io.label_tables import DATASET_JSON, GivenIds, folder_tables, read_file_ending
from heartmend.io.label_writing import check_writable, write_labels_like
from heartmend.io.likely_folders import other_folder_hint
from heartmend.io.unread_files import UnreadFile, describe_unread, unread_files
from heartmend.io.volume import Volume, image_coverage, read_image, read_image_grid, resampling_warning
from heartmend.types import Labels, Mask

_NNUNET_LABELS = ("labelsTr", "labelsTs")


@dataclass(frozen=True)
class Case:
    """Files of one patient.

    Attributes:
        id: id of the case.
        labels_path: the label map: a file, or the folder of the case (`heartmend.io.forms`).
        image_path: the CT; None where there is none.
        tables: names of the values of its label map from other sources than the file itself, in order of precedence.
        series_path: of a DICOM label map the folder with the series of images that it belongs to.
    """

    id: str
    labels_path: Path
    image_path: Path | None = None
    tables: tuple[LabelTable, ...] = ()
    series_path: Path | None = None


@dataclass(frozen=True)
class Cohort:
    """Cases of a data set.

    Attributes:
        cases: the cases, in the order of their ids.
        anatomy: the structures.
        unknown_labels: handling of ids that the anatomy does not have.
        images_without_labels: images without a label map.
        skipped: why a file is not used, by case id, or by file name where that gives no id.
        unread: files and folders beside the label maps that are not read.
    """

    cases: tuple[Case, ...]
    anatomy: Anatomy
    unknown_labels: UnknownLabels = "error"
    images_without_labels: tuple[Path, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    unread: tuple[UnreadFile, ...] = ()

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

    def with_tables(self, tables: Mapping[str, tuple[LabelTable, ...]]) -> Cohort:
        """Copy the cohort with other tables of names.

        Args:
            tables: file name of a label map -> its tables; a case that is not in it keeps its own.

        Returns:
            The cohort.
        """
        cases = (replace(case, tables=tables.get(case.labels_path.name, case.tables)) for case in self)
        return replace(self, cases=tuple(cases))

    def with_series_of(self, folder: Path) -> Cohort:
        """Copy the cohort of repaired DICOM label maps, which have no series beside them.

        Args:
            folder: the folder of the label maps that were repaired, where the series are.

        Returns:
            The cohort.
        """
        places = {case.id: path for case in self if (path := folder / case.labels_path.name).is_dir()}
        return replace(self, cases=tuple(replace(c, series_path=places.get(c.id, c.series_path)) for c in self))

    def without_cases(self) -> Cohort:
        """Copy the cohort without its cases: the settings for reading files, as a small object for worker processes.

        Returns:
            The cohort without cases.
        """
        return replace(self, cases=(), images_without_labels=(), skipped={}, unread=())

    def read_labels(self, case: Case) -> LabelVolume:
        """Read the label map of a case.

        Args:
            case: a case of the data set.

        Returns:
            The label map, in the ids of the anatomy.

        Raises:
            BadInputError: if the file cannot be used.
        """
        return read_labels(case.labels_path, self.anatomy, self.unknown_labels, case.tables, case.series_path)

    def read_other_labels(self, case: Case, path: Path, unknown_labels: UnknownLabels | None = None) -> LabelVolume:
        """Read another label map of a case, such as the repaired one, which has the values of the case's own file.

        Args:
            case: a case of the data set.
            path: the label map.
            unknown_labels: handling of ids that the anatomy does not have; None: as for the data set.

        Returns:
            The label map, in the ids of the anatomy.

        Raises:
            BadInputError: if the file cannot be used.
        """
        return read_labels(path, self.anatomy, unknown_labels or self.unknown_labels, case.tables, case.series_path)

    def value_names(self, case: Case) -> dict[int, str]:
        """List the values of a case's label map.

        Args:
            case: a case of the data set.

        Returns:
            Value -> name of the structure, or of something else; empty where the label map has masks and no values.

        Raises:
            BadInputError: if the file cannot be used.
        """
        if open_label_map(case.labels_path, case.series_path).has_masks:
            return {}
        return read_meaning(case.labels_path, self.anatomy, case.tables, case.series_path).names(self.anatomy)

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
        image_grid, found = read_image_grid(case.image_path)
        covered = image_coverage(image_grid, grid, case.image_path)
        warnings = list(found)
        if covered is not None:
            warnings.append(resampling_warning(covered))
        return tuple(f"image: {warning}" for warning in warnings)

    def check_image_values(self, case: Case, volume: LabelVolume) -> tuple[str, ...]:
        """Read the CT of a case completely and check its values.

        Args:
            case: a case of the data set.
            volume: its label map.

        Returns:
            Warnings; none where the case has no CT.

        Raises:
            BadInputError: if it cannot be read.
        """
        image = self.read_image(case)
        if image is None:
            return ()
        same = volume.grid.orientation_to(image.grid)
        inside = None if same is None else same.apply(volume.labels) > 0
        return tuple(f"image: {text}" for text in hu_warnings(image.values, inside))

    def check_writable(self, volume: LabelVolume) -> None:
        """Check that the label map of a case can be written back into its file, before it is repaired.

        Args:
            volume: the label map, as `read_labels` read it.

        Raises:
            BadInputError: if it cannot.
        """
        check_writable(volume, volume.series_path)

    def write_labels(self, case: Case, labels: Labels, out: Path, unknown: Mask | None = None) -> None:
        """Write a label map of a case with the header and the values of its own file.

        Args:
            case: a case of the data set.
            labels: (x, y, z) uint8, ids of the anatomy.
            out: the file to write.
            unknown: (x, y, z) bool, voxels that keep their value in the case's file.

        Raises:
            BadInputError: if the labels do not fit the file.
            OutputError: if the system cannot write it.
        """
        meaning = read_meaning(case.labels_path, self.anatomy, case.tables, case.series_path)
        write_labels_like(labels, case.labels_path, out, meaning, unknown, series=case.series_path)


def discover_cohort(
    labels_dir: str | Path,
    images_dir: str | Path | None = None,
    *,
    anatomy: Anatomy,
    unknown_labels: UnknownLabels = "error",
    ids: GivenIds | None = None,
    preset_ids: str = "",
) -> Cohort:
    """Find the cases of a data set.

    Args:
        labels_dir: a folder of label maps, of folders of cases with a label map or with masks each, or an nnU-Net data
            set (dataset.json, labelsTr, imagesTr). Of the latter the first channel is the image. A dataset.json beside
            the label maps, or in the parent of their folder, names their values.
        images_dir: a folder of CTs, or of folders of cases with a CT each; a case without one is used as well. None: an
            image in the folder of a case is used.
        anatomy: the structures.
        unknown_labels: handling of ids that the anatomy does not have.
        ids: value -> name of a structure, or a TOML or JSON file with such a table. It takes precedence over all other
            sources of names.
        preset_ids: name of a public data set whose values the label maps have (`heartmend.io.id_presets`).

    Returns:
        The cases, sorted by id. A file whose name gives no case id, and a case with two label maps or two CTs, are in
        `Cohort.skipped`.

    Raises:
        BadInputError: if there is no case, no CT belongs to a label map, or a table of names cannot be read.
        ConfigError: if `ids` or `preset_ids` is not valid.

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
    ending = None
    dataset_json = root / DATASET_JSON
    images = None if images_dir is None else Path(images_dir)
    if dataset_json.is_file() and (root / "labelsTr").is_dir():
        ending = read_file_ending(dataset_json)
        if images is None and (root / "imagesTr").is_dir() and volumes_of(root / "imagesTr"):
            images = root / "imagesTr"
        root = root / "labelsTr"
    labels = find_label_maps(root, anatomy, ending, has_channel=root.name not in _NNUNET_LABELS)
    if not labels.paths:
        raise BadInputError(_no_label_map(root, labels, ending))
    image_files = CaseFiles(labels.images, {}) if images is None else find_images(images)
    # Two images are ambiguous only for a case with a label map.
    ambiguous = {id: why for id, why in image_files.skipped.items() if id in labels.paths}
    if images is not None and not (image_files.paths.keys() | ambiguous.keys()) & labels.paths.keys():
        raise BadInputError(
            f"{images}: none of its {len(image_files.paths)} images belongs to one of the {len(labels.paths)} label "
            f"maps of {root}; ids of images: {_some(image_files.paths)}, ids of label maps: {_some(labels.paths)}"
        )
    stems = frozenset(path.name[: len(path.name) - len(volume_ending(path) or "")] for path in labels.paths.values())
    tables = folder_tables(root, stems, anatomy, ids, preset_ids)
    cases = tuple(
        Case(id, path, image := image_files.paths.get(id), tables.of(path), _series_path(path, image))
        for id, path in labels.paths.items()
        if id not in ambiguous
    )
    if not cases:
        raise BadInputError(next(iter(ambiguous.values())))
    images_are_read = images is not None and images.samefile(root)
    if any(path.parent.samefile(root) for path in labels.paths.values()):
        others = unread_files(
            root, labels.used | tables.files | {f.name for f in labels.unread}, ending, images_are_read
        )
    else:
        others = ()
    return Cohort(
        cases=cases,
        anatomy=anatomy,
        unknown_labels=unknown_labels,
        images_without_labels=tuple(path for id, path in image_files.paths.items() if id not in labels.paths),
        skipped=dict(sorted((labels.skipped | ambiguous).items())),
        unread=(*others, *labels.unread),
    )


def _series_path(labels: Path, image: Path | None) -> Path | None:
    """The folder in which the series of a DICOM label map is looked for."""
    if image is not None and image.is_dir():
        return image
    return labels if labels.is_dir() else None


def _no_label_map(root: Path, labels: LabelSources, ending: str | None) -> str:
    if labels.skipped:
        return next(iter(labels.skipped.values()))
    if ending is not None and (others := volumes_of(root)):
        return (
            f"{root.parent / DATASET_JSON}: file_ending is '{escape_unprintable(ending[:40])}', but no label map in "
            f"{root} has it, such as {escape_unprintable(others[0].name)}; correct file_ending"
        )
    if hint := other_folder_hint(root):
        return f"{root}: contains no label map itself; {hint}"
    folders = f"; {describe_unread(labels.unread)}" if labels.unread else ""
    return (
        f"{root}: contains no label map ({', '.join(VOLUME_ENDINGS)}); give the folder that directly contains them, or "
        f"one with a folder for each case{folders}"
    )


def _some(ids: Mapping[str, Path]) -> str:
    listed = list(ids)[:3]
    return ", ".join(map(repr, listed)) + (", ..." if len(ids) > len(listed) else "") if ids else "none"
