"""Errors that Heartmend raises on purpose, as one tree.

A message names the file or the value, the limit that it violates, and what to do.
"""

from collections.abc import Sequence
from typing import Any


class HeartmendError(Exception):
    """Any error of Heartmend: the root of the tree.

    Example:
        >>> from heartmend.anatomy.load import load_anatomy
        >>> try:
        ...     load_anatomy("liver")
        ... except HeartmendError as error:
        ...     print(error)
        liver: no such anatomy; give one of adrenal, heart, or the path of a .toml file
    """


class BadInputError(HeartmendError):
    """An input file or data set cannot be used."""


class ConfigError(HeartmendError):
    """A setting or an anatomy file is not valid."""


class RunError(HeartmendError):
    """The run folder is locked, belongs to another input, or lacks the result of an earlier stage."""


class DamagedError(RunError):
    """A file that Heartmend wrote into a run was changed since. The command that wrote it makes it again."""


class ConflictError(RunError):
    """Another reviewer decided about the same changes or structures in the meantime; nothing was written.

    Attributes:
        newer: the current decisions that are newer than the request.
    """

    def __init__(self, newer: Sequence[Any]) -> None:
        """Create the error.

        Args:
            newer: the current decisions that are newer than the request.
        """
        self.newer = tuple(newer)
        names = ", ".join(f"{d.case} {d.structure} ({d.choice}, {d.reviewer})" for d in newer)
        super().__init__(f"decided in the meantime: {names}; review again, then decide")


class FitError(HeartmendError):
    """The training failed: it diverged, or ran out of memory at the smallest possible step."""


class OutputError(RunError):
    """A result cannot be written, for example to a full disk. No case is the cause, so the run stops."""
