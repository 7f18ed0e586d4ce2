"""Recognition of the form in which a label map is stored."""

from __future__ import annotations

from pathlib import Path

from heartmend.io.dicom.files import is_dicom
from heartmend.io.dicom.open import open_dicom
from heartmend.io.file_names import volume_ending
from heartmend.io.forms.base import StoredMap
from heartmend.io.forms.case_folder import read_case_folder
from heartmend.io.forms.folders import MapInFolder, MaskFolder
from heartmend.io.forms.layers import LayeredSegmentation
from heartmend.io.forms.value_map import ValueMap
from heartmend.io.volume import read_any_header


def open_label_map(path: Path, series: Path | None = None) -> StoredMap:
    """Open a label map of any form; its voxels are not read yet.

    Args:
        path: the file, or the folder of the case.
        series: of a DICOM file the folder with its series of images, where that is not in the folder of the case.

    Returns:
        The label map.

    Raises:
        BadInputError: if it cannot be read.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from heartmend.geometry.grid import Grid
        >>> from heartmend.io.nifti import write_volume
        >>> folder = Path(tempfile.mkdtemp()) / "s0001"
        >>> for name in ("heart_atrium_left", "spleen"):
        ...     write_volume(np.ones((4, 4, 4), np.uint8), Grid((4, 4, 4), np.eye(4)), folder / f"{name}.nii.gz")
        >>> open_label_map(folder).table.names
        {1: 'heart_atrium_left', 2: 'spleen'}
    """
    if volume_ending(path) is None and path.is_dir():
        folder = read_case_folder(path)
        if folder.has_masks:
            return MaskFolder(folder)
        return MapInFolder(path, _open_file(folder.labels[0], (path, series)))
    return _open_file(path, (series,))


def _open_file(path: Path, series_folders: tuple[Path | None, ...]) -> StoredMap:
    if volume_ending(path) is None and is_dicom(path):
        return open_dicom(path, [folder for folder in series_folders if folder is not None])
    if path.name.lower().endswith((".nrrd", ".nhdr")):
        header = read_any_header(path)
        if header.layer_axis is not None:
            return LayeredSegmentation(path, header)
    return ValueMap(path)
