"""Estimate of the disk space that a run needs."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable
from pathlib import Path

from heartmend.io.file_names import real_path
from heartmend.pipelines.estimate import CASE_BYTES, RUN_BYTES
from heartmend.pipelines.estimate import case_bytes as estimated_bytes
from heartmend.quality.case_check import CaseReport

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
    return estimated_bytes(math.prod(sides), case.file_bytes)


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
