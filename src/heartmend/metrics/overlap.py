"""Volume overlap of two masks."""

from __future__ import annotations

import numpy as np

from heartmend.types import Mask


def dice(a: Mask, b: Mask) -> float:
    """Compute the Dice coefficient of two masks (Dice 1945).

    Args:
        a: boolean mask of any shape.
        b: boolean mask of the same shape.

    Returns:
        Twice the number of common voxels over the sum of both numbers of voxels, 0 to 1; 1 for two empty masks.

    Example:
        >>> import numpy as np
        >>> dice(np.array([1, 1, 0], bool), np.array([0, 1, 1], bool))
        0.5
    """
    total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 1.0 if total == 0 else 2 * int(np.count_nonzero(a & b)) / total


def iou(a: Mask, b: Mask) -> float:
    """Compute the intersection over union of two masks (Jaccard 1912).

    Args:
        a: boolean mask of any shape.
        b: boolean mask of the same shape.

    Returns:
        The number of common voxels over the number of voxels in either mask, 0 to 1; 1 for two empty masks.

    Example:
        >>> import numpy as np
        >>> iou(np.array([1, 1, 0, 0], bool), np.array([1, 1, 1, 1], bool))
        0.5
    """
    union = int(np.count_nonzero(a | b))
    return 1.0 if union == 0 else int(np.count_nonzero(a & b)) / union
