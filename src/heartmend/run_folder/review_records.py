"""Records of the review of a run: decisions, corrected label maps, and the files of the review page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heartmend.io.atomic import write_bytes, write_json
from heartmend.run_folder.paths import REVIEW, RunPaths, read_table


class ReviewRecords(RunPaths):
    """Records of the review of a run."""

    @property
    def decisions_path(self) -> Path:
        """Path of the database of the decisions."""
        return self._folder(REVIEW) / "decisions.sqlite"

    def corrected_path(self, case_id: str) -> Path:
        """Return the path of the hand-corrected label map of a case."""
        return self._case_path(REVIEW, case_id, ".corrected.nii.gz")

    def write_review_case(self, case_id: str, summary: Mapping[str, Any], maps: bytes, surfaces: bytes) -> list[Path]:
        """Write the files of a case for the review page; returns the files.

        Args:
            case_id: id of the case.
            summary: review summary as a table for JSON.
            maps: both label maps, packed.
            surfaces: surfaces before and after, packed.
        """
        table, *packed = (self._case_path(REVIEW, case_id, ending) for ending in (".json", ".maps.gz", ".surfaces.gz"))
        write_json(table, summary)
        for path, content in zip(packed, (maps, surfaces), strict=True):
            write_bytes(path, content)
        return [table, *packed]

    def has_review_case(self, case_id: str) -> bool:
        """Return whether the review files of a case exist."""
        return self._case_path(REVIEW, case_id, ".json").is_file()

    def review_summary(self, case_id: str) -> dict[str, Any]:
        """Read the review summary of a case as a table."""
        return read_table(self._case_path(REVIEW, case_id, ".json"))

    def review_volume(self, case_id: str, kind: str) -> Path:
        """Return the path of a packed file of a case for the review page. kind: `maps` or `surfaces`."""
        return self._case_path(REVIEW, case_id, f".{kind}.gz")
