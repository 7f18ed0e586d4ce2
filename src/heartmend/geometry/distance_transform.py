"""The Euclidean distance transform of a volume, by edt, on the core that the caller is on."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt


def distance_transform_mm(
    labels: npt.NDArray[Any], spacing_mm: Sequence[float] | npt.NDArray[np.floating], *, closed: bool = False
) -> npt.NDArray[np.float32]:
    """Compute the distance of each labelled voxel to the nearest voxel of another value.

    Args:
        labels: volume or image of bool or an unsigned integer type; where it is 0 or False the distance is 0.
        spacing_mm: voxel spacing in mm along each axis.
        closed: count what is beyond the border of the volume as another value.

    Returns:
        float32 in mm between the centres of voxels, of the shape of `labels`; infinite where there is no other value.

    Example:
        >>> import numpy as np
        >>> mask = np.array([True, True, False, True]).reshape(4, 1, 1)
        >>> distance_transform_mm(mask, (2.0, 2.0, 2.0)).ravel().tolist()
        [4.0, 2.0, 0.0, 2.0]
    """
    import edt  # here, so that a command that needs no distance starts sooner

    with _on_this_core():
        whole = labels if labels.flags.forc else np.ascontiguousarray(labels)
        distance: npt.NDArray[np.float32] = edt.edt(whole, anisotropy=tuple(spacing_mm), black_border=closed)
    return distance


@contextmanager
def _on_this_core() -> Iterator[None]:
    """Keep the calling thread, and the threads that it starts, on the core that it is on.

    edt computes each axis in a new thread and waits for it. Where each core has a worker, Linux puts that thread behind
    the worker of another core while this core waits: that took an eighth of the time of two workers on two cores.
    """
    core, allowed = _current_core(), _allowed_cores()
    if core not in allowed:
        yield
        return
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _allowed_cores() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def _current_core() -> int:
    """Return the core that this thread is on; -1 where the C library cannot name it."""
    function = _sched_getcpu()
    return int(function()) if function is not None else -1


@cache
def _sched_getcpu() -> Any:
    try:
        return ctypes.CDLL(None).sched_getcpu
    except (OSError, AttributeError, TypeError):
        return None
