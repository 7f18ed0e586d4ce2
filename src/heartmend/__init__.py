"""Heartmend mends the labels of a whole data set of hearts at once, with neural implicit shapes.

What is listed in `__all__` is the front door; each name is loaded when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from heartmend.errors import HeartmendError

if TYPE_CHECKING:
    from heartmend.anatomy.load import load_anatomy
    from heartmend.anatomy.schema import Anatomy
    from heartmend.geometry.grid import Grid
    from heartmend.geometry.roi import Roi
    from heartmend.io.dataset import Cohort, discover_cohort
    from heartmend.io.label_maps import read_labels, write_labels_like

__version__ = "0.1.0"

__all__ = [
    "Anatomy",
    "Cohort",
    "Grid",
    "HeartmendError",
    "Roi",
    "__version__",
    "discover_cohort",
    "load_anatomy",
    "read_labels",
    "write_labels_like",
]

_HOME = {
    "Anatomy": "heartmend.anatomy.schema",
    "Cohort": "heartmend.io.dataset",
    "Grid": "heartmend.geometry.grid",
    "Roi": "heartmend.geometry.roi",
    "discover_cohort": "heartmend.io.dataset",
    "load_anatomy": "heartmend.anatomy.load",
    "read_labels": "heartmend.io.label_maps",
    "write_labels_like": "heartmend.io.label_maps",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
