"""What one verb leaves for the next, in the run folder: cases in the unit frame, and refined shapes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from heartmend.anatomy.calibre import Calibre
from heartmend.anatomy.schema import Anatomy
from heartmend.errors import BadInputError, RunError
from heartmend.geometry.distance import STEP_MM
from heartmend.geometry.roi import Roi
from heartmend.io.atomic import read_json, read_npz, write_json, write_npz
from heartmend.io.dataset import Case, Cohort
from heartmend.io.label_maps import read_labels
from heartmend.repair.changes import Change
from heartmend.repair.slice_staircase import SliceStaircase
from heartmend.run_folder.folder import Run
from heartmend.types import Labels

PREPARED, REFINED = "prepare", "refine"
Fields = dict[str, npt.NDArray[np.float32]]
"""Signed distances in mm by structure, positive inside."""


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """A case in the unit frame. labels: (n, n, n), 255 unknown; source: the mended map in the ROI's source box.

    radii_mm: for each thin vessel the radius of its whole tree as it came, from which the cohort learns how wide
    such trees are; surface_noise_mm2: how rough the surface of every other structure is, from which it learns how smooth
    they can be; warnings: what is odd about the case's files, but can be lived with.
    """

    case_id: str
    roi: Roi
    labels: Labels
    source: Labels
    staircases: tuple[SliceStaircase, ...]
    changes: tuple[Change, ...]
    radii_mm: dict[str, float]
    surface_noise_mm2: dict[str, float]
    warnings: tuple[str, ...] = ()

    def save(self, run: Run) -> None:
        """Write the case into the run folder."""
        write_npz(run.case_path(PREPARED, self.case_id, ".npz"), {"labels": self.labels, "source": self.source})
        about = {
            "roi": self.roi.to_dict(),
            "slice_staircase": [asdict(staircases) for staircases in self.staircases],
            "changes": [change.to_dict() for change in self.changes],
            "radii_mm": self.radii_mm,
            "surface_noise_mm2": self.surface_noise_mm2,
            "warnings": self.warnings,
        }
        write_json(run.case_path(PREPARED, self.case_id, ".json"), about)

    @classmethod
    def load(cls, run: Run, case_id: str) -> Self:
        """The case that `save` wrote; RunError when it is not there."""
        arrays, told = (run.case_path(PREPARED, case_id, ending) for ending in (".npz", ".json"))
        held, about = read_npz(arrays), read_json(told)
        try:
            staircases = tuple(SliceStaircase(**staircases) for staircases in about["slice_staircase"])
            changes = tuple(Change.from_dict(change) for change in about["changes"])
            roi, measured = Roi.from_dict(about["roi"]), (about["radii_mm"], about["surface_noise_mm2"])
            warnings = tuple(about.get("warnings", ()))
            return cls(case_id, roi, held["labels"], held["source"], staircases, changes, *measured, warnings)
        except (KeyError, TypeError, ValueError, BadInputError) as error:
            raise RunError(f"{told}: is no prepared case; remove it and run `heartmend prepare` ({error!r})") from error

    @property
    def slice_staircase_mm(self) -> float:
        """How thick the slices were that the map was drawn on, over all axes; 0 when they were not thick."""
        spacing = self.roi.grid.spacing_mm
        return float(
            np.linalg.norm([staircases.thickness * spacing[staircases.axis] for staircases in self.staircases])
        )


def vessel_radii_mm(run: Run, case_ids: Iterable[str]) -> dict[str, list[tuple[float, float]]]:
    """For each thin vessel the radius of its tree, and the finest voxel spacing, of every prepared case."""
    radii: dict[str, list[tuple[float, float]]] = {}
    for case_id in case_ids:
        about = read_json(run.case_path(PREPARED, case_id, ".json"))
        voxel_mm = min(Roi.from_dict(about["roi"]).grid.spacing_mm)
        for name, radius_mm in about["radii_mm"].items():
            radii.setdefault(name, []).append((radius_mm, voxel_mm))
    return radii


def surface_noises_mm2(run: Run, case_ids: Iterable[str]) -> dict[str, list[float]]:
    """For each structure how rough it is in every prepared case that has it."""
    found: dict[str, list[float]] = {}
    for case_id in case_ids:
        about = read_json(run.case_path(PREPARED, case_id, ".json"))
        for name, value in about["surface_noise_mm2"].items():
            found.setdefault(name, []).append(value)
    return found


def warnings_of(run: Run, case_ids: Iterable[str]) -> dict[str, list[str]]:
    """What is odd about the files of prepared cases, for those of which there is anything to say."""
    found = {case_id: read_json(run.case_path(PREPARED, case_id, ".json")).get("warnings") for case_id in case_ids}
    return {case_id: warnings for case_id, warnings in found.items() if warnings}


def save_fields(path: Path, fields: Fields) -> None:
    """Write signed distances as bytes in steps of `STEP_MM`: a twentieth of a millimetre is enough for a surface."""
    write_npz(path, {name: _packed(field) for name, field in fields.items()})


def _packed(field: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    steps = np.clip(np.rint(field / STEP_MM), -127, 127).astype(np.int8)
    # Just inside stays inside.
    steps[(steps == 0) & (field > 0)] = 1
    return steps


def load_fields(path: Path) -> dict[str, npt.NDArray[np.int8]]:
    """The fields that `save_fields` wrote, in steps of `STEP_MM`; RunError when they are not there or damaged."""
    return read_npz(path)


def fused_labels(run: Run, cohort: Cohort, case: Case, roi: Roi) -> Labels:
    """The fused map of a case in the anatomy's ids, on the source voxels in its ROI; BadInputError if there is none."""
    volume = read_labels(run.result_path(case.labels_path), cohort.anatomy, cohort.unknown_labels, cohort.file_ids)
    return np.ascontiguousarray(volume.labels[roi.source_box()])


def roi_image(cohort: Cohort, case: Case, roi: Roi) -> npt.NDArray[np.generic] | None:
    """The image of a case on the source voxels in its ROI, None where it has none; BadInputError if it cannot be
    read."""
    image = cohort.read_image(case, roi.grid)
    return None if image is None else image.values[roi.source_box()]


def heads_of(anatomy: Anatomy, structures: tuple[str, ...] = (), without: tuple[str, ...] = ()) -> dict[str, int]:
    """Names and ids, in the anatomy's order, of the structures asked for (all if none is), without some kinds."""
    chosen = [anatomy.by_name(name) for name in structures] or list(anatomy.structures)
    return {s.name: s.id for s in anatomy.structures if s in chosen and s.kind not in without}


def classified_heads(anatomy: Anatomy, heads: dict[str, int]) -> dict[str, int]:
    """Those of the heads that the template has no part in."""
    return {name: id for name, id in heads.items() if anatomy.by_name(name).repair_method == "voxel_classifier"}


def calibres_of(run: Run, case_ids: Iterable[str]) -> dict[str, Calibre]:
    """How wide the trees of each thin vessel are in this cohort, whatever some of its labels say."""
    calibres = {}
    for name, found in vessel_radii_mm(run, case_ids).items():
        radii_mm, voxels_mm = zip(*found, strict=True)
        calibres[name] = Calibre.of_cohort(radii_mm, float(np.median(voxels_mm)))
    return calibres
