"""Every error that Heartmend raises on purpose, as one tree: catch HeartmendError to catch them all.

A message names the file or the value, the limit that it broke, and what to do about it.
"""


class HeartmendError(Exception):
    """The root of the tree."""


class BadInputError(HeartmendError):
    """A file or a data set that was given cannot be used as it is."""


class ConfigError(HeartmendError):
    """A setting or an anatomy file says something that cannot be meant."""


class RunError(HeartmendError):
    """The run folder is locked, belongs to something else, or lacks what this step needs."""


class FitError(HeartmendError):
    """The fit could not go on: it diverged, or ran out of memory at the smallest step it can take."""


class OutputError(RunError):
    """A result could not be written: the disk is full, read-only or gone. No case is to blame, so the run stops."""
