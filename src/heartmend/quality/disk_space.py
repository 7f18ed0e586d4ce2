"""Estimate of the disk space that a run needs."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable
from pathlib import Path

from heartmend.io.file_names import real_path
from heartmend.quality.case_check import CaseReport

# Measured in five runs of twenty hearts each at 0.9 mm: distances and labels took 0.43 to 0.68 bytes per voxel of the
# heart's bounding box, codes and change logs 40 kB per case, and the repaired map as much as the original. The shape
# has 32 MB, and there are five copies of it while the fit writes checkpoints.
BYTES_PER_VOXEL = 0.7
CASE_BYTES = 50_000
RESULT_FACTOR = 1.2
RUN_BYTES = 170_000_000
MARGIN_VOXELS = 10


def needed_bytes(cases: Iterable[CaseReport]) -> int:
    """Estimate how many bytes a run of these cases writes, temporary files included.

    Args:
        cases: reports of all cases; those with an error need no space.

    Returns:
        Number of bytes; 0 where no case can be used.
    """
    sizes = [case_bytes(case) for case in cases if case.status != "error"]
    return RUN_BYTES + sum(sizes) if sizes else 0


def case_bytes(case: CaseReport) -> int:
    """Estimate how many bytes a run writes for one case.

    Args:
        case: report of the case.

    Returns:
        Number of bytes.
    """
    if case.size_mm is None or case.spacing_mm is None:
        return CASE_BYTES
    sides = (size / step + 2 * MARGIN_VOXELS for size, step in zip(case.size_mm, case.spacing_mm, strict=True))
    return round(CASE_BYTES + BYTES_PER_VOXEL * math.prod(sides) + RESULT_FACTOR * case.file_bytes)


def free_bytes(folder: Path) -> int:
    """Return the free disk space at a folder.

    Args:
        folder: a folder; it need not exist yet.

    Returns:
        Number of bytes.
    """
    folder = real_path(folder)
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return shutil.disk_usage(existing).free
