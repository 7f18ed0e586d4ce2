"""Records of the review of a run: decisions, corrected label maps, and the files of the review page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from heartmend.errors import RunError
from heartmend.geometry.grid import Grid
from heartmend.io.atomic import read_npz, write_bytes, write_json, write_npz
from heartmend.io.nifti import write_volume
from heartmend.io.regular import is_regular, read_regular
from heartmend.repair.change_voxels import CaseChanges
from heartmend.run_folder.paths import REVIEW, inside, read_table
from heartmend.run_folder.stamped_stages import StampedStages
from heartmend.types import Labels


class ReviewRecords(StampedStages):
    """Records of the review of a run."""

    @property
    def decisions_path(self) -> Path:
        """Path of the database of the decisions."""
        return inside(self._folder(REVIEW), "decisions.sqlite")

    @property
    def trusted_dir(self) -> Path:
        """Folder of the label maps that a person has completed, from which the others are corrected (`refit`)."""
        return inside(self._folder(REVIEW), "trusted")

    def corrected_path(self, case_id: str) -> Path:
        """Return the path of the hand-corrected label map of a case.

        Args:
            case_id: id of the case.

        Returns:
            The path, whether or not the file exists.
        """
        return self._case_path(REVIEW, case_id, ".corrected.nii.gz")

    def write_corrected(self, case_id: str, labels: Labels, grid: Grid, given: Path | None) -> None:
        """Write the hand-corrected label map of a case, and register it and the file that it was read from.

        Args:
            case_id: id of the case.
            labels: (x, y, z) in the ids of the anatomy.
            grid: the grid of the case.
            given: the file that was imported; None where it was drawn on the review page.
        """
        path = self.corrected_path(case_id)
        write_volume(labels, grid, path)
        self.register_correction(case_id, path, *([] if given is None else [given]))

    def corrected_map(self, case_id: str) -> Path:
        """Return the file of the hand-corrected label map of a case, to be read.

        Args:
            case_id: id of the case.

        Returns:
            The path of the file.

        Raises:
            RunError: if it is missing, or was changed since it was imported.
        """
        path = self.corrected_path(case_id)
        if not is_regular(path):
            raise RunError(f"{path}: the hand-corrected label map is missing; import it again, or decide otherwise")
        known = self._registered(case_id)
        if known and not self._matches(path, known):
            raise RunError(f"{path}: was changed since it was imported; import the hand-corrected label map again")
        return path

    def write_review_case(
        self, case_id: str, summary: Mapping[str, Any], maps: bytes, changes: CaseChanges
    ) -> list[Path]:
        """Write the files of a case for the review page. Its surfaces are removed, since they are out of date.

        Args:
            case_id: id of the case.
            summary: review summary as a table for JSON.
            maps: both label maps, packed.
            changes: the changes, of which the voxels are stored; the summary has the others.

        Returns:
            The files that were written.
        """
        self._packed_path(case_id, "surfaces").unlink(missing_ok=True)
        table, packed = self._case_path(REVIEW, case_id, ".json"), self._packed_path(case_id, "maps")
        write_json(table, summary)
        write_bytes(packed, maps)
        voxels = self._case_path(REVIEW, case_id, ".changes.npz")
        write_npz(voxels, {"voxels": changes.voxels, "numbers": changes.numbers})
        return [table, packed, voxels]

    def write_review_surfaces(self, case_id: str, surfaces: bytes) -> None:
        """Write the surfaces of a case whose other review files are stamped, and stamp them.

        Args:
            case_id: id of the case.
            surfaces: surfaces before and after, packed.
        """
        path = self._packed_path(case_id, "surfaces")
        write_bytes(path, surfaces)
        self.finish_file(REVIEW, case_id, path)

    def has_review_surfaces(self, case_id: str) -> bool:
        """Return whether the surfaces of a case were written.

        Args:
            case_id: id of the case.

        Returns:
            True if they were, also where they are damaged now.
        """
        return self.has_finished_file(REVIEW, case_id, self._packed_path(case_id, "surfaces"))

    def _packed_path(self, case_id: str, kind: str) -> Path:
        return self._case_path(REVIEW, case_id, f".{kind}.gz")

    def change_voxels(self, case_id: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint16]]:
        """Read which voxel of a case belongs to which of its changes.

        Args:
            case_id: id of the case.

        Returns:
            As of `CaseChanges`: flat index of each changed voxel, and the position of its change.

        Raises:
            RunError: if the file is missing or damaged.
        """
        path = self._case_path(REVIEW, case_id, ".changes.npz")
        self.check_intact(REVIEW, case_id, path)
        try:
            arrays = read_npz(path)
            return arrays["voxels"], arrays["numbers"]
        except KeyError as error:
            raise RunError(f"{path}: has no array {error}; start the review again") from error

    def has_review_case(self, case_id: str) -> bool:
        """Return whether the review files of a case exist.

        Args:
            case_id: id of the case.

        Returns:
            True if all of them exist.
        """
        return is_regular(self._case_path(REVIEW, case_id, ".json"))

    def review_summary(self, case_id: str) -> dict[str, Any]:
        """Read the review summary of a case as a table.

        Args:
            case_id: id of the case.

        Returns:
            The table.

        Raises:
            RunError: if it is missing or damaged.
        """
        path = self._case_path(REVIEW, case_id, ".json")
        self.check_intact(REVIEW, case_id, path)
        return read_table(path)

    def read_review_volume(self, case_id: str, kind: str) -> bytes:
        """Read a packed file of a case for the review page.

        Args:
            case_id: id of the case.
            kind: `maps` or `surfaces`.

        Returns:
            The content of the file.

        Raises:
            RunError: if it is missing or damaged.
        """
        path = self._packed_path(case_id, kind)
        self.check_intact(REVIEW, case_id, path)
        try:
            return read_regular(path)
        except OSError as error:
            raise RunError(f"{path}: cannot be read ({error.strerror}); start the review again") from error
