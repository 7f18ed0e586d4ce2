"""Files of a stored label map: one file, a header with its file of voxels, or a folder."""

from __future__ import annotations

import os
from pathlib import Path

from heartmend.errors import BadInputError
from heartmend.io.volume import DETACHED_ENDINGS, read_any_header


def files_of(path: Path) -> list[Path]:
    """List the files of a stored label map.

    Args:
        path: the file, or the folder of a case.

    Returns:
        The file, and the file of its voxels where there is one; or all files in the folder, sorted. A link to a folder
        is not followed.

    Example:
        >>> files_of(Path("1.nii.gz"))
        [PosixPath('1.nii.gz')]
    """
    if path.is_dir():
        walked = os.walk(path)
        return sorted(Path(folder, name) for folder, _, names in walked for name in names if not name.startswith("."))
    if path.name.lower().endswith(DETACHED_ENDINGS) and path.is_file():
        try:
            return [path, read_any_header(path).data_path]
        except BadInputError:
            pass
    return [path]
