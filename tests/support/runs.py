"""A finished run of small hearts, written as `heartmend run` leaves it but without mending: both maps are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from heartmend.anatomy.load import load_anatomy
from heartmend.io.atomic import write_json, write_text
from heartmend.io.dataset import discover_cohort
from heartmend.repair.acceptance import Verdict
from heartmend.repair.change_log import ChangeLog, change_log_to_json
from heartmend.repair.changes import Change
from heartmend.run_folder.folder import Run
from support.cohorts import small_map, write_cohort
from support.volumes import save_nifti


def mended(before: np.ndarray) -> np.ndarray:
    """The map without its far island, the LV without its holes, the RV a slice less, a voxel of the LA in the RA."""
    after = before.copy()
    after[0, 0, 0] = 0
    box = (slice(9, 15), slice(17, 23), slice(8, 14))
    after[box][after[box] == 0] = 3
    lowest = int(np.flatnonzero((after == 5).any(axis=(0, 1)))[0])
    after[:, :, lowest][after[:, :, lowest] == 5] = 0
    if (after == 4).any():
        after[tuple(np.argwhere(after == 4)[0])] = 2
    return after


def finished_run(folder: Path, count: int = 3, *, images: bool = False) -> Path:
    """`count` cases in `folder`/labels, their CTs in `folder`/images, and the run in `folder`/out, which is returned.

    Case 1 lies turned and oblique. In case 2 the mended LV was not taken; case 3 has a warning, more than the others.
    """
    labels, anatomy, out = write_cohort(folder, count), load_anatomy("heart"), folder / "out"
    if images:
        for path in labels.iterdir():
            cohort = discover_cohort(labels, anatomy=anatomy)
            volume = cohort.read_labels(cohort[path.name.split(".")[0]])
            hu = np.where(volume.labels > 0, 300, -80)
            save_nifti(folder / "images" / path.name, hu, np.int16, volume.grid.affine)
    cohort = discover_cohort(labels, folder / "images" if images else None, anatomy=anatomy)
    with Run.open(out, labels) as run:
        run.write_config({"request": {"images": str(folder / "images") if images else None}})
        run.write_cohort(cohort)
        write_json(run.root / "anatomy.json", anatomy)
        write_json(run.root / "skipped.json", {})
        for case in cohort:
            was = small_map(int(case.id), absent=(4,) if case.id == "2" else ())
            volume = cohort.read_labels(case)
            cohort.write_labels(case, mended(was), run.result_path(case.labels_path))
            low, high = (tuple(volume.grid.index_to_world(p)) for p in ((8.5, 16.5, 7.5), (14.5, 22.5, 13.5)))
            box = (tuple(map(min, low, high)), tuple(map(max, low, high)))
            changes = [Change("holes", "LV", "filled", 9, 72.0, box)]
            if case.id == "3":
                changes.append(Change("slices", "RV", "dropped", 20, 160.0, box, "warning", "a slice of it"))
            taken = Verdict("LV", case.id != "2", 1.1, 7.0, "surface moved 7.0 mm" if case.id == "2" else "")
            write_text(
                run.case_path("fuse", case.id, ".json"),
                change_log_to_json(ChangeLog(case.id, tuple(changes), (taken,))),
            )
    return out
