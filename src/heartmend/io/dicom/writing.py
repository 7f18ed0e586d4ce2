"""Identity and file of a DICOM object that was changed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from heartmend.io.atomic import atomic_write
from heartmend.io.dicom.files import import_pydicom

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


def write_dataset(path: Path, dataset: Dataset) -> None:
    """Write a DICOM object atomically.

    Args:
        path: the file.
        dataset: the object with its file meta information.

    Raises:
        OutputError: if the system cannot write it.
    """
    with atomic_write(path) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)
