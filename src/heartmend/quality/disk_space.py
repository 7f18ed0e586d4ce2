"""How much of the disk a run will take, from what runs took."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable
from pathlib import Path

from heartmend.quality.case_check import CaseReport

# Five runs of twenty hearts each at 0.9 mm: distances and labels took 0.43 to 0.68 bytes for each voxel of the box
# about a heart, codes and audits 40 kB a case, and the mended map as much as the one that came in. The shape is 32 MB,
# and there are five of it while the fit keeps a checkpoint.
BYTES_PER_VOXEL = 0.7
CASE_BYTES = 50_000
RESULT_SHARE = 1.2
RUN_BYTES = 170_000_000
MARGIN_VOXELS = 10


def needed_bytes(cases: Iterable[CaseReport]) -> int:
    """About how much a run of these cases writes, with what it removes again before it ends; cases with an error do not count."""
    taken = [case_bytes(case) for case in cases if case.status != "error"]
    return RUN_BYTES + sum(taken) if taken else 0


def case_bytes(case: CaseReport) -> int:
    """About how much a run writes for one case."""
    if case.size_mm is None or case.spacing_mm is None:
        return CASE_BYTES
    sides = (size / step + 2 * MARGIN_VOXELS for size, step in zip(case.size_mm, case.spacing_mm, strict=True))
    return round(CASE_BYTES + BYTES_PER_VOXEL * math.prod(sides) + RESULT_SHARE * case.file_bytes)


def free_bytes(folder: Path) -> int:
    """What is free where a folder is, or will be made."""
    folder = folder.resolve()
    return shutil.disk_usage(next(there for there in (folder, *folder.parents) if there.exists())).free
