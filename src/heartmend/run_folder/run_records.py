"""Records of a run as a whole: its settings, input, anatomy, versions, and the cases that it skipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from heartmend.anatomy.schema import Anatomy
from heartmend.errors import RunError
from heartmend.io.atomic import write_json
from heartmend.io.colour_tables import Names, write_colour_tables
from heartmend.io.dataset import Cohort, discover_cohort
from heartmend.io.label_meaning import LabelTable
from heartmend.io.regular import is_regular, read_regular
from heartmend.run_folder.paths import RECORDS, inside, read_table
from heartmend.run_folder.stamped_stages import StampedStages
from heartmend.run_folder.versions import versions


class RunRecords(StampedStages):
    """Records of a run as a whole. Each has a stamp, so that it is an error if it was changed since."""

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """Write the settings as resolved, defaults included.

        Args:
            settings: the settings as a table for JSON.
        """
        self._write_record("settings.json", settings)

    def settings(self) -> dict[str, Any]:
        """Read the settings.

        Returns:
            The settings; empty where the run has none.
        """
        return self._optional_table("settings.json")

    def write_versions(self) -> None:
        """Write the versions of the software that the result may depend on."""
        self._write_record("versions.json", versions())

    def versions(self) -> dict[str, Any]:
        """Read the versions of the software.

        Returns:
            Name -> version; empty where the run has none.
        """
        return self._optional_table("versions.json")

    def write_anatomy(self, anatomy: Anatomy) -> None:
        """Write the anatomy.

        Args:
            anatomy: the anatomy.
        """
        self._write_record("anatomy.json", anatomy)

    def write_colours(self, anatomy: Anatomy, names_by_case: Mapping[str, Names]) -> None:
        """Write names and colours for 3D Slicer and ITK-SNAP, in the numbering of the label maps.

        Args:
            anatomy: the anatomy.
            names_by_case: case id -> value of its label map -> name.
        """
        write_colour_tables(self._root, anatomy, names_by_case)

    def anatomy(self) -> Anatomy:
        """Read the anatomy that the run was made with.

        Returns:
            The anatomy.

        Raises:
            RunError: if it cannot be read.
        """
        path = self._checked_record("anatomy.json")
        try:
            return Anatomy.model_validate_json(read_regular(path))
        except (OSError, ValidationError) as error:
            raise RunError(f"{path}: cannot be read as an anatomy ({error}); repeat `heartmend run`") from error

    def write_cohort(self, cohort: Cohort) -> None:
        """Write which files belong to which case. Header fields are not stored: they can contain patients' names.

        Args:
            cohort: the cases of the data set.
        """
        tables = list(dict.fromkeys(table for c in cohort for table in c.tables))
        cases = [
            {"id": c.id, "labels": c.labels_path.name, "image": None if c.image_path is None else c.image_path.name}
            | ({"label_tables": [tables.index(table) for table in c.tables]} if c.tables else {})
            for c in cohort
        ]
        table = {"anatomy": cohort.anatomy.name, "unknown_labels": cohort.unknown_labels}
        # What the values mean, as the run understood it: a table that is changed or moved later makes no difference.
        stored = {"label_tables": [table.to_dict() for table in tables]} if tables else {}
        self._write_record("cohort.json", {**table, **stored, "cases": cases})

    def cohort(self, labels: Path | None = None, images: Path | None = None) -> Cohort:
        """Find the input of the run.

        Args:
            labels: the folder of label maps, where it was moved.
            images: the folder of CTs, where it was moved.

        Returns:
            The cases of the run with their files.

        Raises:
            RunError: if the run cannot be read, or its CTs are not there any more.
            BadInputError: if the label maps are not there any more.
        """
        return self._discover(labels or self.labels_dir(), images or self.images_dir())

    def label_maps(self, labels: Path | None = None) -> Cohort:
        """Find the input of the run without its CTs.

        Args:
            labels: the folder of label maps, where it was moved.

        Returns:
            The cases of the run with their label maps.

        Raises:
            RunError: if the run cannot be read.
            BadInputError: if the label maps are not there any more.
        """
        return self._discover(labels or self.labels_dir(), None)

    def _discover(self, labels: Path, images: Path | None) -> Cohort:
        unknown_labels = read_table(self._checked_record("cohort.json")).get("unknown_labels", "error")
        tables = self.label_tables()
        ids = next((table for found in tables.values() for table in found if table.decides), None)
        cohort = discover_cohort(labels, images, anatomy=self.anatomy(), unknown_labels=unknown_labels, ids=ids)
        return cohort.with_tables(tables)

    def label_tables(self) -> dict[str, tuple[LabelTable, ...]]:
        """Read the names of the label values.

        Returns:
            File name of a label map -> its tables.
        """
        record = self._optional_table("cohort.json")
        tables = [LabelTable.from_dict(table) for table in record.get("label_tables", ())]
        return {
            case["labels"]: tuple(tables[number] for number in case.get("label_tables", ()))
            for case in record.get("cases", ())
        }

    def labels_dir(self) -> Path:
        """Return the input folder of label maps.

        Returns:
            The path of the folder.

        Raises:
            RunError: if the run cannot be read.
        """
        marker = self._checked_record("run.json")
        try:
            return Path(read_table(marker)["labels_dir"])
        except (KeyError, TypeError) as error:
            raise RunError(f"{marker}: does not name the input of the run; repeat `heartmend run`") from error

    def images_dir(self) -> Path | None:
        """Return the input folder of CTs.

        Returns:
            The path of the folder; None where the run has no CTs.

        Raises:
            RunError: if it is not there any more.
        """
        given = self.settings().get("request", {}).get("images")
        if given is not None and not Path(given).is_dir():
            raise RunError(f"{given}: the CTs of this run are not there any more; give their folder with --images")
        return None if given is None else Path(given)

    def write_skipped(self, skipped: Mapping[str, str]) -> None:
        """Write the cases that were skipped, with the reasons, in the order of their ids.

        Args:
            skipped: case id -> reason.
        """
        self._write_record("skipped.json", dict(sorted(skipped.items())))

    def skipped(self) -> dict[str, str]:
        """Read the cases that were skipped, with the reasons.

        Returns:
            Case id -> reason.
        """
        return {str(id): str(reason) for id, reason in self._optional_table("skipped.json").items()}

    def write_warnings(self, warnings: Mapping[str, Sequence[str]]) -> None:
        """Write what is unusual about the files of cases.

        Args:
            warnings: case id -> warnings.
        """
        self._write_record("warnings.json", warnings)

    def warnings(self) -> dict[str, list[str]]:
        """Read what is unusual about the files of cases.

        Returns:
            Case id -> warnings.
        """
        return {str(id): list(found) for id, found in self._optional_table("warnings.json").items()}

    def write_prior(self, prior: Mapping[str, Any]) -> None:
        """Write which prior model is the template of the run.

        Args:
            prior: its file, the heart that it contains, and its error in mm; empty where none is used.
        """
        self._write_record("prior.json", prior)

    def prior(self) -> dict[str, Any]:
        """Read which prior model is the template of the run.

        Returns:
            As for `write_prior`.
        """
        return self._optional_table("prior.json")

    def _optional_table(self, name: str) -> dict[str, Any]:
        path = self._checked_record(name)
        return read_table(path) if is_regular(path) else {}

    def _write_record(self, name: str, value: Any) -> None:
        path, record = inside(self._root, name), name.removesuffix(".json")
        self.forget(RECORDS, record)
        write_json(path, value)
        self.finish(RECORDS, record, "", [path])

    def _checked_record(self, name: str) -> Path:
        path = inside(self._root, name)
        self.check_intact(RECORDS, name.removesuffix(".json"), path)
        return path
