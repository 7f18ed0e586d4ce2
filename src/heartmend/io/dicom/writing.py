"""Identity and file of a DICOM object that was changed."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

from heartmend.io.atomic import write_bytes
from heartmend.io.dicom.files import dicom_errors, import_pydicom

if TYPE_CHECKING:
    from pydicom import Dataset


def give_new_identity(dataset: Dataset, content: bytes) -> None:
    """Give a changed object a SOP Instance UID of its own and a series of its own, as DICOM requires.

    The same content gives the same UIDs, so that a run that is repeated writes the same file.

    Args:
        dataset: the object; it is changed.
        content: what was changed.
    """
    pydicom = import_pydicom()
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    old = str(dataset.SOPInstanceUID), str(dataset.SeriesInstanceUID)
    dataset.SOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=["instance", old[0], digest])
    dataset.SeriesInstanceUID = pydicom.uid.generate_uid(entropy_srcs=["series", old[1], digest])
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID


def encode_dataset(dataset: Dataset, source: Path) -> bytes:
    """Encode a DICOM object.

    Args:
        dataset: the object with its file meta information.
        source: the file that it was read from, for messages.

    Returns:
        The content of its file.

    Raises:
        BadInputError: if it has an element that cannot be written.
    """
    buffer = io.BytesIO()
    with dicom_errors(source):
        dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def write_dataset(path: Path, dataset: Dataset) -> None:
    """Write a new DICOM object atomically.

    Args:
        path: the file.
        dataset: the object with its file meta information.

    Raises:
        BadInputError: if it has an element that cannot be written.
        OutputError: if the system cannot write it.
    """
    write_bytes(path, encode_dataset(dataset, path))
