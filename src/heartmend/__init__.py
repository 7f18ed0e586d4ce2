"""Heartmend mends the labels of a whole data set of hearts at once, with neural implicit shapes.

What is listed in `__all__` is the front door; each name is loaded when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from heartmend.errors import HeartmendError

if TYPE_CHECKING:
    from heartmend.anatomy import Anatomy, load_anatomy
    from heartmend.data import Cohort, discover_cohort, read_labels, write_labels_like
    from heartmend.space import Grid, Roi

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
    "Anatomy": "heartmend.anatomy",
    "Cohort": "heartmend.data",
    "Grid": "heartmend.space",
    "Roi": "heartmend.space",
    "discover_cohort": "heartmend.data",
    "load_anatomy": "heartmend.anatomy",
    "read_labels": "heartmend.data",
    "write_labels_like": "heartmend.data",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
