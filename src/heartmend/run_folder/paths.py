"""Paths below the output folder of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heartmend.errors import RunError
from heartmend.io.atomic import read_json

PREPARE, FIT, REFINE, CORRECT, FUSE, UNIFY = "prepare", "fit", "refine", "correct", "fuse", "unify"
EMBED, REVIEW = "embed", "review"
REFERENCE = "reference"
"""Template that is placed in the CTs of bad label maps, learned from the best ones: a part of `fuse`."""
CLASSIFIERS = "classifiers"
UNCERTAINTY = "uncertainty"
"""Folder in OUT of the probabilities of an error."""
SEGMENTS = "segments"
"""Folder in OUT of the label maps of the coronary segments."""
RECORDS = "records"
"""Stamps of the records of a run as a whole, such as its settings."""


class RunPaths:
    """Paths of a run.

    Attributes:
        output: OUT, the folder itself.
        labels: OUT/labels, the folder of the repaired label maps.
        quality: OUT/run/quality, the folder of the ranking of the labels.
    """

    def __init__(self, output: Path) -> None:
        """Create the paths; nothing is read or written.

        Args:
            output: OUT.
        """
        self.output = output
        self.labels = output / "labels"
        self._root = output / "run"
        self.quality = self._root / "quality"

    def _folder(self, stage: str) -> Path:
        folder = inside(self._root, stage)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _case_path(self, stage: str, case_id: str, ending: str) -> Path:
        return inside(self._folder(stage), f"{case_id}{ending}")


def read_table(path: Path) -> dict[str, Any]:
    """Read a JSON file that contains a table.

    Args:
        path: path of the file.

    Returns:
        The table.

    Raises:
        RunError: if it is missing, damaged, or no table.
    """
    table = read_json(path)
    if not isinstance(table, dict):
        raise RunError(f"{path}: contains no table; repeat the command that wrote the run")
    return table


def inside(folder: Path, name: str) -> Path:
    """Join a folder and the name of one file, which must not lead out of the folder.

    Args:
        folder: the folder.
        name: name of the file.

    Returns:
        `folder / name`.

    Raises:
        RunError: if the name is that of another folder, or `folder` is a link.
    """
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise RunError(f"{name!r} cannot be the name of a file in {folder}")
    if folder.is_symlink():
        raise RunError(f"{folder}: is a link, which could lead anywhere; put a folder in its place")
    return folder / name
