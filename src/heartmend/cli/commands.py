"""Table of the commands: where each is defined, what it does, and in which group the help lists it.

The help of the whole program is printed from this table alone, so that no command is imported for it.
"""

from __future__ import annotations

from typing import NamedTuple

GROUPS = ("Repair", "Stages", "Inspect", "Review and release", "Models", "Tools")


class CommandEntry(NamedTuple):
    """Entry of one command.

    Attributes:
        summary: first line of the docstring of the command's function.
        group: heading under which the help lists it, one of `GROUPS`.
        continues: whether the same command continues where an interrupted one stopped.
    """

    summary: str
    group: str
    continues: bool = False


COMMANDS = {
    "run": CommandEntry("Repair all label maps of a data set.", "Repair", True),
    "repair": CommandEntry("Repair the label map of one heart.", "Repair"),
    "embed": CommandEntry("Repair label maps of new patients with a trained model.", "Repair", True),
    "prepare": CommandEntry("Repair the visible errors of every case and crop it to its ROI.", "Stages", True),
    "fit": CommandEntry("Fit one implicit shape to all cases, with one code per case.", "Stages", True),
    "refine": CommandEntry("Compute the masks of every case from the fitted shapes.", "Stages", True),
    "correct": CommandEntry("Measure the errors that all cases share, and correct them.", "Stages", True),
    "fuse": CommandEntry("Fuse the masks of every case into one repaired label map.", "Stages", True),
    "unify": CommandEntry("Fit one model of all structures to the repaired label maps.", "Stages", True),
    "check": CommandEntry("Check all files of a data set before a run.", "Inspect"),
    "screen": CommandEntry("Rank cases and structures by their expected label error.", "Inspect"),
    "explain": CommandEntry("List the changes in one case, or in all cases.", "Inspect"),
    "evaluate": CommandEntry("Compare two sets of label maps, with or without a reference.", "Inspect"),
    "report": CommandEntry("Write an HTML report of a run.", "Inspect"),
    "view": CommandEntry("Draw one case before and after the repair.", "Inspect"),
    "review": CommandEntry("Accept or reject the changes of a run in the browser.", "Review and release"),
    "export": CommandEntry("Write the reviewed label maps as a data set.", "Review and release"),
    "import": CommandEntry("Import corrected label maps or decisions into a run.", "Review and release"),
    "refit": CommandEntry("Repair the undecided cases again, from those corrected by hand.", "Review and release"),
    "render": CommandEntry("Write the label map of one case from a model.", "Models"),
    "mesh": CommandEntry("Write the surfaces of one case from a model.", "Models"),
    "population": CommandEntry("Draw the mean shape, the shape modes and the outliers of a model.", "Models"),
    "convention": CommandEntry("Learn the correction from one labelling convention to another.", "Models"),
    "merge": CommandEntry("Merge several label sets of the same scans into one.", "Tools"),
    "centrelines": CommandEntry("Write the centrelines of thin vessels with their radius.", "Tools"),
    "crop": CommandEntry("Crop every case to its ROI and resample it to a cube.", "Tools"),
    "phantom": CommandEntry("Generate phantom hearts with CT images and corrupted label maps.", "Tools"),
    "demo": CommandEntry("Generate, repair and evaluate phantom hearts.", "Tools"),
}

RENAMED_COMMANDS = {"audit": "screen", "hearts": "population", "resize": "crop"}
"""Old name of a command, accepted for one version, and its name now."""

_EVERYWHERE = {
    "--out": "--output",
    "--to": "--output",
    "--until": "--stop-after",
    "--like": "--reference-image",
    "--other": "--unknown-labels",
}
_IN_ONE_COMMAND = {
    "check": {"--out": "--run-folder"},
    "screen": {"--out": "--run-folder"},
    "mesh": {"--format": "--formats"},
    "view": {"--structure": "--structures"},
}


def renamed_options(command: str) -> dict[str, str]:
    """Return the old names of a command's options.

    Args:
        command: name of the command.

    Returns:
        The name now, by the old name that is accepted for one version.

    Example:
        >>> renamed_options("check")["--out"]
        '--run-folder'
    """
    return _EVERYWHERE | _IN_ONE_COMMAND.get(command, {})
