"""Whether a folder can be the output of a run: it must not overlap the input, hold other files, or be another run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from heartmend.errors import RunError
from heartmend.io.atomic import TEMPORARY_PREFIX, read_json
from heartmend.io.file_names import real_path

FORMAT = "heartmend-run"
FORMAT_VERSION = 2


def check_no_overlap(output: Path, given: Path) -> None:
    """Check that the output and an input folder do not contain one another.

    Args:
        output: the output folder.
        given: an input folder.

    Raises:
        RunError: if they do.
    """
    output, given = real_path(output), real_path(given)
    if output == given or output.is_relative_to(given):
        raise RunError(
            f"{output}: is inside the input folder {given}, which is never written to; give another --output"
        )
    if given.is_relative_to(output):
        raise RunError(f"{output}: contains the input folder {given}; give another --output")


def check_plain_output(output: Path, inputs: Iterable[Path], folders: Iterable[str]) -> None:
    """Check that label maps can be written into folders of an output that is no run.

    Args:
        output: the output folder.
        inputs: the input folders.
        folders: names of the folders in it that are written.

    Raises:
        RunError: if it overlaps an input, contains a run, or one of the folders is a link.
    """
    for given in inputs:
        check_no_overlap(output, given)
    if os.path.lexists(output / "run" / "run.json"):
        raise RunError(f"{output}: contains a run, whose label maps must not be replaced; give another --output")
    for own in (output / name for name in folders):
        if own.is_symlink():
            raise RunError(f"{own}: is a link, which could lead anywhere; put a folder in its place")


def check_output(folder: Path, source: Path, images_dir: str | Path | None) -> None:
    """Check that a folder can be the output of a run on this input.

    Args:
        folder: the output folder.
        source: the input folder of label maps.
        images_dir: the input folder of CTs; None where there is none.

    Raises:
        RunError: if it overlaps an input, is a file, is reached through a link, or contains files of something else.
    """
    for given in (source, *([] if images_dir is None else [Path(images_dir)])):
        check_no_overlap(folder, given)
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file; give another --output")
    for own in (folder / "labels", folder / "run"):
        if own.is_symlink():
            raise RunError(f"{own}: is a link, which could lead anywhere; put a folder in its place")
    if not os.path.lexists(folder / "run" / "run.json") and (foreign := _foreign_files(folder)):
        found = ", ".join(foreign[:3])
        raise RunError(f"{folder}: not empty and not a run of Heartmend (it contains {found}); give another --output")


def cannot_write(folder: Path, error: OSError) -> str:
    """Describe an error of the system, with what to do.

    Args:
        folder: the folder that cannot be written.
        error: error of the operating system.

    Returns:
        Message of one line.
    """
    return f"{folder}: cannot be written to: {error.strerror}; free some space, or give another --output"


def run_marker(source: Path) -> dict[str, Any]:
    """Make the content of run.json, which identifies the run.

    Args:
        source: the input folder of label maps.

    Returns:
        Name and version of the run format, and the input folder, as a table for JSON.
    """
    return {"format": FORMAT, "format_version": FORMAT_VERSION, "labels_dir": str(source)}


def check_same_input(marker: Path, source: Path) -> None:
    """Check that run.json identifies a run of this version on this input.

    Args:
        marker: path of run.json.
        source: the input folder of label maps.

    Raises:
        RunError: if it does not.
    """
    try:
        table = read_json(marker)
        found = (table["format"], table["format_version"], Path(table["labels_dir"]))
    except (RunError, KeyError, TypeError) as error:
        raise RunError(f"{marker}: cannot be read as the marker of a run; give another --output") from error
    check_format_version(marker, found[0], found[1])
    if found[2] != source:
        raise RunError(f"{marker.parent.parent}: is the run of {found[2]}, not of {source}; give another --output")


def check_format_version(marker: Path, name: Any, version: Any) -> None:
    """Check the format of a run folder.

    Args:
        marker: path of run.json.
        name: name of the format that it contains.
        version: version of the format that it contains.

    Raises:
        RunError: if it was written by another version of Heartmend.
    """
    if (name, version) != (FORMAT, FORMAT_VERSION):
        raise RunError(
            f"{marker}: has format {name} {version}, this version reads {FORMAT} {FORMAT_VERSION}; "
            "run the data set again with another --output"
        )


def _foreign_files(folder: Path) -> list[str]:
    """Files that a run that was killed in its first moment cannot have left."""
    if not folder.exists():
        return []
    started = folder / "run"
    inside = [p.name for p in started.iterdir()] if started.is_dir() and not started.is_symlink() else []
    foreign = [n for n in inside if n not in ("lock", LOG_NAME) and not n.startswith(TEMPORARY_PREFIX)]
    return sorted(foreign + [p.name for p in folder.iterdir() if p != started or not started.is_dir()])


LOG_NAME = "heartmend.log"
"""The log file, which may be opened before anything else is written."""
