"""Volume overlap of two masks."""

from __future__ import annotations

import numpy as np

from heartmend.types import Mask


def dice(a: Mask, b: Mask) -> float:
    """Dice (1945) overlap of two boolean masks of one shape; two empty masks agree: 1."""
    total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 1.0 if total == 0 else 2 * int(np.count_nonzero(a & b)) / total


def iou(a: Mask, b: Mask) -> float:
    """Intersection over union (Jaccard) of two boolean masks of one shape; two empty masks agree: 1."""
    union = int(np.count_nonzero(a | b))
    return 1.0 if union == 0 else int(np.count_nonzero(a & b)) / union
