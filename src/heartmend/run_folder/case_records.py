"""Records of the cases of a run: prepared, refined, and repaired."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from heartmend.errors import RunError
from heartmend.geometry.distance import DistanceMap
from heartmend.geometry.grid import Grid
from heartmend.geometry.roi import Roi
from heartmend.io.atomic import read_json, read_npz, write_json, write_npz, write_text
from heartmend.io.dataset import Case, Cohort
from heartmend.io.label_maps import LabelVolume
from heartmend.io.nifti import write_volume
from heartmend.io.regular import check_regular, is_regular, read_regular
from heartmend.io.tables import write_csv
from heartmend.io.volume import read_stored
from heartmend.repair.change_log import ChangeLog, change_log_from_json, change_log_to_json, estimate_table
from heartmend.repair.changes import Change
from heartmend.run_folder.paths import FUSE, PREPARE, REFINE, SEGMENTS, UNCERTAINTY, inside, read_table
from heartmend.run_folder.records import CaseFacts, CohortStatistics, PreparedCase
from heartmend.run_folder.stamped_stages import StampedStages
from heartmend.types import Labels, Mask


class CaseRecords(StampedStages):
    """Records of the cases of a run. A file that was changed since its stage wrote it is an error when it is read."""

    def write_prepared(self, case: PreparedCase) -> list[Path]:
        """Write a prepared case.

        Args:
            case: the prepared case.

        Returns:
            The files that were written.
        """
        arrays, facts = (self._case_path(PREPARE, case.case_id, ending) for ending in (".npz", ".json"))
        write_npz(arrays, {"cube": case.cube, "cleaned": case.cleaned})
        write_json(facts, case.facts.to_dict())
        return [arrays, facts]

    def prepared(self, case_id: str) -> PreparedCase:
        """Read a prepared case.

        Args:
            case_id: id of the case.

        Returns:
            The prepared case.

        Raises:
            RunError: if it is missing or damaged.
        """
        path = self._case_path(PREPARE, case_id, ".npz")
        self.check_intact(PREPARE, case_id, path)
        arrays = read_npz(path)
        try:
            return PreparedCase(self.facts(case_id), arrays["cube"], arrays["cleaned"])
        except KeyError as error:
            raise RunError(f"{path}: has no array {error}; remove it and run `heartmend prepare`") from error

    def facts(self, case_id: str) -> CaseFacts:
        """Read what was measured of a prepared case, without its volumes.

        Args:
            case_id: id of the case.

        Returns:
            The measurements of the case.

        Raises:
            RunError: if it is missing or damaged.
        """
        path = self._case_path(PREPARE, case_id, ".json")
        self.check_intact(PREPARE, case_id, path)
        return CaseFacts.from_dict(case_id, read_json(path))

    def roi(self, case_id: str) -> Roi:
        """Read the region of interest of a prepared case.

        Args:
            case_id: id of the case.

        Returns:
            The region of interest.

        Raises:
            RunError: if the prepared case is missing or damaged.
        """
        return self.facts(case_id).roi

    def mean_size_mm(self, case_ids: Iterable[str]) -> npt.NDArray[np.float64]:
        """Compute the mean extent of the regions of interest of prepared cases.

        Args:
            case_ids: ids of the prepared cases.

        Returns:
            (3,) extent along each unit axis, in mm.

        Raises:
            RunError: if a prepared case is missing or damaged.
        """
        return np.mean([self.roi(id).size_mm for id in case_ids], axis=0, dtype=np.float64)

    def statistics(self, case_ids: Iterable[str]) -> CohortStatistics:
        """Measure prepared cases as a cohort.

        Args:
            case_ids: ids of the prepared cases.

        Returns:
            The statistics of the cohort.

        Raises:
            RunError: if a prepared case is missing or damaged.
        """
        return CohortStatistics.of(self.facts(id) for id in case_ids)

    def prepared_ids(self) -> list[str]:
        """List the ids of the prepared cases.

        Returns:
            The ids.
        """
        return sorted(path.stem for path in self._folder(PREPARE).glob("*.npz"))

    def write_refined(
        self,
        case_id: str,
        maps: Mapping[str, DistanceMap],
        margins_mm: Mapping[str, float | None],
        changes: Iterable[Change] = (),
        misfits_mm: Mapping[str, float] | None = None,
    ) -> list[Path]:
        """Write the distance maps of the refined structures of a case, and its label margins.

        Args:
            case_id: id of the case.
            maps: distance map of each structure on the voxels of the ROI, in mm.
            margins_mm: label margin of each structure in mm; see `label_margins_mm`.
            changes: remarks about unusual anatomy.
            misfits_mm: median distance between label and fitted shape, by structure.

        Returns:
            The files that were written.
        """
        arrays, table = (self._case_path(REFINE, case_id, ending) for ending in (".npz", ".json"))
        write_npz(arrays, {name: one.steps for name, one in maps.items()})
        steps_mm = {name: one.step_mm for name, one in maps.items()}
        remarks = [change.to_dict() for change in changes]
        misfits = dict(misfits_mm or {})
        write_json(
            table, {"label_margin_mm": margins_mm, "misfit_mm": misfits, "step_mm": steps_mm, "changes": remarks}
        )
        return [arrays, table]

    def distances(self, case_id: str) -> dict[str, DistanceMap]:
        """Read the distance maps of the refined structures of a case, on the voxels of its ROI.

        Args:
            case_id: id of the case.

        Returns:
            Distance map of each structure, in mm; empty where there is none.

        Raises:
            RunError: if the file is damaged.
        """
        path = self._case_path(REFINE, case_id, ".npz")
        self.check_intact(REFINE, case_id, path)
        if not is_regular(path):
            return {}
        step_mm = self._refine_table(case_id)["step_mm"]
        return {name: DistanceMap(steps, step_mm[name]) for name, steps in read_npz(path).items()}

    def label_margins_mm(self, case_id: str) -> dict[str, float | None]:
        """Read the label margins of a case: how deep in the shape a voxel must be to be changed against its label.

        Args:
            case_id: id of the case.

        Returns:
            Label margin of each structure in mm; None where it is infinite, so that the label stays.
        """
        return dict(self._refine_table(case_id)["label_margin_mm"])

    def misfits_mm(self, case_id: str) -> dict[str, float]:
        """Read how far the fitted shapes of a case are from its labels.

        Args:
            case_id: id of the case.

        Returns:
            Median distance of each refined structure in mm; empty where nothing was refined.
        """
        if not is_regular(self._case_path(REFINE, case_id, ".json")):
            return {}
        return dict(self._refine_table(case_id).get("misfit_mm", {}))

    def refine_changes(self, case_id: str) -> tuple[Change, ...]:
        """Read the remarks about unusual anatomy of a case.

        Args:
            case_id: id of the case.

        Returns:
            The remarks; empty where nothing was refined.

        Raises:
            RunError: if the file is damaged.
        """
        path = self._case_path(REFINE, case_id, ".json")
        if not is_regular(path):
            return ()
        try:
            return tuple(Change.from_dict(change) for change in self._refine_table(case_id)["changes"])
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{path}: is damaged; run `heartmend refine` again ({error!r})") from error

    def _refine_table(self, case_id: str) -> dict[str, Any]:
        path = self._case_path(REFINE, case_id, ".json")
        self.check_intact(REFINE, case_id, path)
        return read_table(path)

    def write_estimates(self, case_ids: Iterable[str]) -> None:
        """Write the expected errors of repaired cases as OUT/run/estimates.csv.

        Args:
            case_ids: ids of repaired cases.
        """
        table = estimate_table(self.changes(id) for id in case_ids)
        write_csv(inside(self._root, "estimates.csv"), table.columns, table.rows)

    def write_uncertainty(self, case_id: str, percent: Labels, grid: Grid) -> list[Path]:
        """Write the probability of an error of each voxel of a case.

        Args:
            case_id: id of the case.
            percent: (x, y, z) uint8, the probability in percent.
            grid: grid of the label map.

        Returns:
            The file that was written.
        """
        path = self.uncertainty_path(case_id)
        write_volume(percent, grid, path)
        return [path]

    def uncertainty(self, case_id: str, grid: Grid) -> Labels | None:
        """Read the probability of an error of each voxel of a case.

        Args:
            case_id: id of the case.
            grid: grid of its label map.

        Returns:
            (x, y, z) uint8, the probability in percent; None where it was not written.

        Raises:
            DamagedError: if the file was changed since it was written.
            RunError: if it is not on the grid of the label map.
        """
        path = self.uncertainty_path(case_id)
        self.check_intact(FUSE, case_id, path)
        if not is_regular(path):
            return None
        _, values = read_stored(path)
        if values.shape != grid.shape:
            raise RunError(f"{path}: is not on the grid of the label map; repair the case again")
        return values.astype(np.uint8)

    def uncertainty_path(self, case_id: str) -> Path:
        """Return the path of the probabilities of a case: OUT/uncertainty/CASE.nii.gz.

        Args:
            case_id: id of the case.

        Returns:
            The path, whether or not the file exists.
        """
        return inside(self.output / UNCERTAINTY, f"{case_id}.nii.gz")

    def write_segments(self, case_id: str, values: Labels, grid: Grid) -> list[Path]:
        """Write the label map of the coronary segments of a case.

        Args:
            case_id: id of the case.
            values: (x, y, z) uint8, ids of ImageCAS-X.
            grid: grid of the label map.

        Returns:
            The file that was written.
        """
        path = self.segments_path(case_id)
        write_volume(values, grid, path)
        return [path]

    def segments_path(self, case_id: str) -> Path:
        """Return the path of the coronary segments of a case: OUT/segments/CASE.nii.gz.

        Args:
            case_id: id of the case.

        Returns:
            The path, whether or not the file exists.
        """
        return inside(self.output / SEGMENTS, f"{case_id}.nii.gz")

    def write_fused(
        self, cohort: Cohort, case: Case, labels: Labels, log: ChangeLog, unknown: Mask | None = None
    ) -> list[Path]:
        """Write the repaired label map of a case and its change log.

        Args:
            cohort: how the label maps of the data set are written.
            case: the case.
            labels: (x, y, z) in the ids of the anatomy.
            log: what was changed.
            unknown: (x, y, z) bool, voxels with ids that the anatomy does not have; they keep their values.

        Returns:
            The files that were written.
        """
        changes, result = self._case_path(FUSE, case.id, ".json"), self.result_path(case)
        write_text(changes, change_log_to_json(log))
        cohort.write_labels(case, labels, result, unknown)
        return [changes, result]

    def has_fused(self, case: Case) -> bool:
        """Check whether a case has a repaired label map and a change log.

        Args:
            case: the case.

        Returns:
            True if both files exist.

        Raises:
            RunError: if there is a link, a pipe or a device in the place of one.
        """
        result, log = self.result_path(case), self._case_path(FUSE, case.id, ".json")
        self.check_result(result)
        check_regular(log)
        return is_regular(log) and (is_regular(result) or result.is_dir())

    def changes(self, case_id: str) -> ChangeLog:
        """Read what was changed in a case.

        Args:
            case_id: id of the case.

        Returns:
            The change log.

        Raises:
            RunError: if the case was not repaired, or its change log is damaged.
        """
        path = self._case_path(FUSE, case_id, ".json")
        self.check_intact(FUSE, case_id, path)
        if not is_regular(path):
            raise RunError(f"{self.output}: case {case_id} was not repaired; run `heartmend fuse` first")
        try:
            return change_log_from_json(read_regular(path).decode())
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path}: cannot be read as a change log ({error}); repair the case again") from error

    def fused_ids(self) -> list[str]:
        """List the ids of the repaired cases.

        Returns:
            The ids.
        """
        return sorted(path.stem for path in self._folder(FUSE).glob("*.json"))

    def repaired(self, cohort: Cohort, case: Case) -> LabelVolume:
        """Read the repaired label map of a case in the ids of the anatomy.

        Args:
            cohort: how the label maps of the data set are written.
            case: the case.

        Returns:
            The label map on the grid of the input.

        Raises:
            BadInputError: if there is none.
            DamagedError: if it is neither as `fuse` wrote it, nor a correction that was registered.
        """
        self.check_intact(FUSE, case.id, self.result_path(case))
        return cohort.read_other_labels(case, self.result_path(case))

    def fused_labels(self, cohort: Cohort, case: Case) -> Labels:
        """Read the repaired label map of a case on the voxels of its ROI.

        Args:
            cohort: how the label maps of the data set are written.
            case: the case.

        Returns:
            Labels (x, y, z) of the ROI, in the ids of the anatomy.

        Raises:
            BadInputError, DamagedError: as `repaired`.
        """
        return np.ascontiguousarray(self.repaired(cohort, case).labels[self.roi(case.id).source_box()])

    def result_path(self, case: Case | Path) -> Path:
        """Return the path of the repaired label map of a case: OUT/labels and the name of the input file or folder.

        Args:
            case: the case, or the path of its input label map.

        Returns:
            The path, whether or not the file exists.
        """
        return inside(self.labels, case.name if isinstance(case, Path) else case.labels_path.name)
