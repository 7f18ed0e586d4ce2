"""DICOM files of a folder, by what they contain."""

from __future__ import annotations

import logging
import os
import stat
import warnings
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from heartmend.errors import BadInputError, HeartmendError
from heartmend.io.reading import EXPORT_AGAIN, readable_file
from heartmend.types import MAX_VALUE

if TYPE_CHECKING:
    from pydicom import Dataset

Kind = Literal["image", "segmentation", "structure set", "other"]

_SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_MAX_INFLATED_BYTES = 1 << 28
_CHUNK_BYTES = 1 << 16
_PREAMBLE_BYTES = 132
_NONBLOCK = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
# More than any study has, of any kind. A link may lead to all files of the machine.
_MAX_FILES, _MAX_FOLDERS = 20_000, 2000
_TAGS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "Rows")


@dataclass(frozen=True)
class DicomFolder:
    """DICOM files of a folder.

    Attributes:
        segmentations: SEG files.
        structure_sets: RTSTRUCT files.
        series: the images of each series, by its UID.
    """

    segmentations: tuple[Path, ...] = ()
    structure_sets: tuple[Path, ...] = ()
    series: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)

    @property
    def label_files(self) -> tuple[Path, ...]:
        """The files with label maps."""
        return (*self.segmentations, *self.structure_sets)


def is_dicom(path: Path) -> bool:
    """Test whether a file is DICOM, by its first bytes.

    Args:
        path: the file.

    Returns:
        Whether it is; False for a link to nothing, a pipe, or a file that cannot be read.
    """
    try:
        # Some files of the system can be opened, and wait for ever when they are read.
        descriptor = os.open(path, os.O_RDONLY | _NONBLOCK)
    except OSError:
        return False
    try:
        is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return is_regular and os.read(descriptor, _PREAMBLE_BYTES)[128:] == b"DICM"
    except OSError:
        return False
    finally:
        os.close(descriptor)


def read_dicom_folder(folder: Path, deep: bool = True) -> DicomFolder:
    """Find the DICOM files of a folder.

    Args:
        folder: the folder.
        deep: whether to read the folders within it too.

    Returns:
        The files; none where the folder has no DICOM files.

    Raises:
        BadInputError: if pydicom is not installed, or the folder has more files than a study.
    """
    found = list(_walk(folder, deep))
    changed_ns = tuple(parent.stat().st_mtime_ns for parent, _ in found)
    return _read_folder(folder, tuple(path for _, paths in found for path in paths), changed_ns)


def read_dataset(path: Path, with_pixels: bool = True) -> Dataset:
    """Read a DICOM file.

    Args:
        path: the file.
        with_pixels: whether to read its pixels too.

    Returns:
        The data set.

    Raises:
        BadInputError: if it cannot be read, or pydicom is not installed. The message does not quote the file, which
            names a patient.
    """
    with readable_file(path), dicom_errors(path):
        return _read(path, stop_before_pixels=not with_pixels)


def check_numbers(path: Path, numbers: Collection[int], what: str) -> None:
    """Check the numbers by which segments or structures are identified.

    Args:
        path: the file, for messages.
        numbers: the numbers.
        what: what they are numbers of, for messages.

    Raises:
        BadInputError: if one is not from 1 to `MAX_VALUE`, or is given twice.
    """
    for number in numbers:
        if not 1 <= number <= MAX_VALUE:
            raise BadInputError(f"{path}: has a {what} with the number {number}; number them from 1 to {MAX_VALUE}")
    if len(set(numbers)) < len(numbers):
        raise BadInputError(f"{path}: has two {what}s with one number; give each its own number")


@contextmanager
def dicom_errors(path: Path) -> Iterator[None]:
    """Convert the errors of pydicom to BadInputError.

    Args:
        path: the file, for the message.

    Yields:
        None.

    Raises:
        BadInputError: in the place of another error.
    """
    try:
        # The warnings of pydicom quote values, such as names of patients.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (HeartmendError, MemoryError):
        raise
    except Exception as error:
        # pydicom has no common class of errors; damage is found when an element is first used.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise BadInputError(
            f"{path}: cannot be read as DICOM ({type(error).__name__}): it is damaged, or a required attribute is "
            f"missing; {EXPORT_AGAIN}"
        ) from error


def import_pydicom() -> Any:
    """Import pydicom.

    Returns:
        The module.

    Raises:
        BadInputError: if it is not installed.
    """
    try:
        import pydicom
    except ImportError as error:
        raise BadInputError("DICOM files need pydicom: pip install 'heartmend[dicom]'") from error
    # It quotes values, as its warnings do.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    return pydicom


@lru_cache(maxsize=4096)
def _read_folder(folder: Path, paths: tuple[Path, ...], _changed_ns: tuple[int, ...]) -> DicomFolder:
    segmentations, structure_sets, series = list[Path](), list[Path](), dict[str, list[Path]]()
    for path in filter(is_dicom, paths):
        with readable_file(path), dicom_errors(path):
            dataset = _read(path, stop_before_pixels=True, specific_tags=list(_TAGS))
            kind, series_uid = _kind(dataset), str(dataset.get("SeriesInstanceUID", ""))
        if kind == "segmentation":
            segmentations.append(path)
        elif kind == "structure set":
            structure_sets.append(path)
        elif kind == "image":
            series.setdefault(series_uid, []).append(path)
    return DicomFolder(
        tuple(segmentations), tuple(structure_sets), {uid: tuple(paths) for uid, paths in series.items()}
    )


def _read(path: Path, **options: Any) -> Dataset:
    """Read a file by pydicom, which inflates a deflated file as a whole, whatever its size becomes."""
    pydicom = import_pydicom()
    if str(pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID", "")) == _DEFLATED:
        _check_inflated_size(path)
    dataset: Dataset = pydicom.dcmread(path, **options)
    return dataset


def _check_inflated_size(path: Path) -> None:
    from pydicom.filereader import _read_file_meta_info, read_preamble

    inflate, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with open(path, "rb") as file:
        read_preamble(file, force=False)
        _read_file_meta_info(file)
        while not inflate.eof and (chunk := inflate.unconsumed_tail or file.read(_CHUNK_BYTES)):
            size += len(inflate.decompress(chunk, _MAX_INFLATED_BYTES >> 8))
            if size > _MAX_INFLATED_BYTES:
                raise BadInputError(
                    f"{path}: its compressed content has more than {_MAX_INFLATED_BYTES >> 20} MiB; save it without "
                    "compression (Explicit VR Little Endian)"
                )


def _walk(folder: Path, deep: bool) -> Iterator[tuple[Path, list[Path]]]:
    """Each folder with its files, sorted; hidden ones are left out.

    Raises:
        BadInputError: if there are more than a study has.
    """
    n_files = n_folders = 0
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if deep and not name.startswith("."))
        paths = [Path(parent, name) for name in sorted(names) if not name.startswith(".")]
        n_files, n_folders = n_files + len(paths), n_folders + 1
        if n_files > _MAX_FILES or n_folders > _MAX_FOLDERS:
            raise BadInputError(
                f"{folder}: has more than {_MAX_FILES} files or {_MAX_FOLDERS} folders; give one folder per case"
            )
        yield Path(parent), paths


def _kind(dataset: Dataset) -> Kind:
    sop_class = str(dataset.get("SOPClassUID", ""))
    if sop_class in _SEGMENTATIONS:
        return "segmentation"
    if sop_class == _STRUCTURE_SET:
        return "structure set"
    return "image" if dataset.get("Rows") is not None else "other"
