"""Finished run of small hearts, with repaired label maps that are computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from heartmend.anatomy.load import load_anatomy
from heartmend.io.dataset import discover_cohort
from heartmend.repair.acceptance import Verdict
from heartmend.repair.change_log import ChangeLog
from heartmend.repair.changes import Change
from heartmend.run_folder.folder import RunFolder
from support.cohorts import small_map, write_cohort
from support.volumes import save_nifti


def repaired(before: np.ndarray) -> np.ndarray:
    """Remove the far component, fill the holes of the LV, remove a slice of the RV, move a voxel from RA to LA."""
    after = before.copy()
    after[0, 0, 0] = 0
    box = (slice(9, 15), slice(17, 23), slice(8, 14))
    after[box][after[box] == 0] = 3
    lowest = int(np.flatnonzero((after == 5).any(axis=(0, 1)))[0])
    after[:, :, lowest][after[:, :, lowest] == 5] = 0
    if (after == 4).any():
        after[tuple(np.argwhere(after == 4)[0])] = 2
    return after


def finished_run(folder: Path, count: int = 3, *, images: bool = False, flagged: bool = False) -> Path:
    """Write `count` cases into `folder`/labels, their CTs into `folder`/images, and the run into `folder`/out.

    Case 1 has an oblique grid. In case 2 the LV failed the acceptance test; case 3 has a warning. Where
    `flagged` the removed slice of the RV is a change for review. Returns the run.
    """
    labels, anatomy, out = write_cohort(folder, count), load_anatomy("heart"), folder / "out"
    if images:
        for path in labels.iterdir():
            cohort = discover_cohort(labels, anatomy=anatomy)
            volume = cohort.read_labels(cohort[path.name.split(".")[0]])
            hu = np.where(volume.labels > 0, 300, -80)
            save_nifti(folder / "images" / path.name, hu, np.int16, volume.grid.affine)
    cohort = discover_cohort(labels, folder / "images" if images else None, anatomy=anatomy)
    with RunFolder.open(out, labels) as run:
        run.write_settings({"request": {"images": str(folder / "images") if images else None}})
        run.write_cohort(cohort)
        run.write_anatomy(anatomy)
        run.write_skipped({})
        for case in cohort:
            original = small_map(int(case.id), absent=(4,) if case.id == "2" else ())
            grid = cohort.read_labels(case).grid
            low, high = (tuple(grid.index_to_world(p)) for p in ((8.5, 16.5, 7.5), (14.5, 22.5, 13.5)))
            box = (tuple(map(min, low, high)), tuple(map(max, low, high)))
            changes = [Change("holes", "LV", "filled", 9, 72.0, box)]
            if case.id == "3":
                changes.append(Change("slices", "RV", "dropped", 20, 160.0, box, "warning", "a slice of it"))
            if flagged:
                ends = (grid.index_to_world(p) for p in ((0, 0, 0), tuple(n - 1 for n in grid.shape)))
                whole = tuple(zip(*((min(pair), max(pair)) for pair in zip(*ends, strict=True)), strict=True))
                changes.append(Change("slices", "RV", "removed", 20, 160.0, whole, "review", "a slice of it"))  # type: ignore[arg-type]
            verdict = Verdict("LV", case.id != "2", 1.1, 7.0, "surface moved 7.0 mm" if case.id == "2" else "")
            run.write_fused(cohort, case, repaired(original), ChangeLog(case.id, tuple(changes), (verdict,)))
    return out


def single_case_run(folder: Path, before: np.ndarray, after: np.ndarray, truth: np.ndarray | None = None) -> Path:
    """Write a run of one case, "1", of 1 mm voxels. Returns the run.

    In its CT each structure of the truth has 300 HU; the truth is the repaired map if it is not given.
    """
    anatomy, out = load_anatomy("heart"), folder / "out"
    save_nifti(folder / "labels" / "1.nii.gz", before, np.uint8, np.eye(4))
    save_nifti(
        folder / "images" / "1.nii.gz", np.where((after if truth is None else truth) > 0, 300, -80), np.int16, np.eye(4)
    )
    cohort = discover_cohort(folder / "labels", folder / "images", anatomy=anatomy)
    with RunFolder.open(out, folder / "labels") as run:
        run.write_settings({"request": {"images": str(folder / "images")}})
        run.write_cohort(cohort)
        run.write_anatomy(anatomy)
        run.write_skipped({})
        run.write_fused(cohort, cohort["1"], after, ChangeLog("1"))
    return out
