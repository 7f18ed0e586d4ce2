"""Records of a run as a whole: its settings, input, anatomy, versions, and the cases that it skipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from heartmend.anatomy.schema import Anatomy
from heartmend.errors import RunError
from heartmend.io.atomic import write_json
from heartmend.io.colour_tables import write_itksnap_labels, write_slicer_colours
from heartmend.io.dataset import Cohort, discover_cohort
from heartmend.run_folder.paths import RunPaths, read_table
from heartmend.run_folder.versions import versions


class RunRecords(RunPaths):
    """Records of a run as a whole."""

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """Write the settings as resolved, defaults included."""
        write_json(self._root / "settings.json", settings)

    def settings(self) -> dict[str, Any]:
        """Read the settings; empty where the run has none."""
        return self._optional_table("settings.json")

    def write_versions(self) -> None:
        """Write the versions of the software that the result may depend on."""
        write_json(self._root / "versions.json", versions())

    def versions(self) -> dict[str, Any]:
        """Read the versions of the software; empty where the run has none."""
        return self._optional_table("versions.json")

    def write_anatomy(self, anatomy: Anatomy) -> None:
        """Write the anatomy, and its names and colours for 3D Slicer and ITK-SNAP."""
        write_json(self._root / "anatomy.json", anatomy)
        write_slicer_colours(anatomy, self._root / f"{anatomy.name}.ctbl")
        write_itksnap_labels(anatomy, self._root / f"{anatomy.name}.itksnap.txt")

    def anatomy(self) -> Anatomy:
        """Read the anatomy that the run was made with.

        Raises:
            RunError: if it cannot be read.
        """
        path = self._root / "anatomy.json"
        try:
            return Anatomy.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError) as error:
            raise RunError(f"{path}: cannot be read as an anatomy ({error}); is the run complete?") from error

    def write_cohort(self, cohort: Cohort) -> None:
        """Write which files belong to which case. Header fields are not stored: they can contain patients' names."""
        cases = [
            {"id": c.id, "labels": c.labels_path.name, "image": None if c.image_path is None else c.image_path.name}
            for c in cohort
        ]
        ids = None if cohort.file_ids is None else {str(k): v for k, v in cohort.file_ids.items()}
        table = {"anatomy": cohort.anatomy.name, "unknown_labels": cohort.unknown_labels, "file_ids": ids}
        write_json(self._root / "cohort.json", {**table, "cases": cases})

    def cohort(self, labels: Path | None = None, images: Path | None = None) -> Cohort:
        """Find the input of the run.

        Args:
            labels: the folder of label maps, where it was moved.
            images: the folder of CTs, where it was moved.

        Raises:
            RunError: if the run cannot be read, or its CTs are not there any more.
            BadInputError: if the label maps are not there any more.
        """
        unknown_labels = read_table(self._root / "cohort.json").get("unknown_labels", "error")
        given = labels or self.labels_dir(), images or self.images_dir()
        return discover_cohort(*given, anatomy=self.anatomy(), unknown_labels=unknown_labels)

    def file_ids(self) -> dict[int, int] | None:
        """Read the ids of the data set: its id -> the id of the anatomy; None where they are the same."""
        ids = self._optional_table("cohort.json").get("file_ids")
        return None if ids is None else {int(file_id): int(id) for file_id, id in ids.items()}

    def labels_dir(self) -> Path:
        """Return the input folder of label maps.

        Raises:
            RunError: if the run cannot be read.
        """
        marker = self._root / "run.json"
        try:
            return Path(read_table(marker)["labels_dir"])
        except (KeyError, TypeError) as error:
            raise RunError(f"{marker}: does not name the input of the run; is the run complete?") from error

    def images_dir(self) -> Path | None:
        """Return the input folder of CTs; None where the run has none.

        Raises:
            RunError: if it is not there any more.
        """
        given = self.settings().get("request", {}).get("images")
        if given is not None and not Path(given).is_dir():
            raise RunError(f"{given}: the CTs of this run are not there any more; give their folder with --images")
        return None if given is None else Path(given)

    def write_skipped(self, skipped: Mapping[str, str]) -> None:
        """Write the cases that were skipped, with the reasons, in the order of their ids."""
        write_json(self._root / "skipped.json", dict(sorted(skipped.items())))

    def skipped(self) -> dict[str, str]:
        """Read the cases that were skipped, with the reasons."""
        return {str(id): str(reason) for id, reason in self._optional_table("skipped.json").items()}

    def write_warnings(self, warnings: Mapping[str, Sequence[str]]) -> None:
        """Write what is unusual about the files of cases."""
        write_json(self._root / "warnings.json", warnings)

    def warnings(self) -> dict[str, list[str]]:
        """Read what is unusual about the files of cases."""
        return {str(id): list(found) for id, found in self._optional_table("warnings.json").items()}

    def _optional_table(self, name: str) -> dict[str, Any]:
        path = self._root / name
        return read_table(path) if path.is_file() else {}
