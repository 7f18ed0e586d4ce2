"""Whether a folder can be the OUT of a run: it must not touch the input, hold something else, or be another's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heartmend.errors import RunError
from heartmend.io.atomic import TEMPORARY_PREFIX, read_json

FORMAT = "heartmend-run"
FORMAT_VERSION = 1


def refuse_overlap(out: Path, given: Path) -> None:
    """RunError when an input folder lies in OUT, or OUT in it."""
    out, given = out.resolve(), given.resolve()
    if out == given or out.is_relative_to(given):
        raise RunError(f"{out}: lies in the input folder {given}, which is never written to; give another --out")
    if given.is_relative_to(out):
        raise RunError(f"{out}: holds the input folder {given}; give another --out")


def refuse_out(folder: Path, source: Path, images_dir: str | Path | None) -> None:
    """RunError when OUT cannot be the folder of a run on this input."""
    for given in (source, *([] if images_dir is None else [Path(images_dir)])):
        refuse_overlap(folder, given)
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file; give another --out")
    for own in (folder / "labels", folder / "run"):
        if own.is_symlink():
            raise RunError(f"{own}: is a link, which could lead anywhere; put a folder in its place")
    if not (folder / "run" / "run.json").exists() and (strange := _strangers(folder)):
        held = ", ".join(strange[:3])
        raise RunError(f"{folder}: not empty and not a run of Heartmend (it holds {held}); give another --out")


def cannot_write(folder: Path, error: OSError) -> str:
    """The error of the system in words, with what to do."""
    return f"{folder}: cannot be written to: {error.strerror}; free some space, or give another --out"


def _strangers(folder: Path) -> list[str]:
    """What is in a folder that a run killed in its first moment cannot have left there."""
    if not folder.exists():
        return []
    own = {"lock"}
    begun = folder / "run"
    inside = [p.name for p in begun.iterdir()] if begun.is_dir() and not begun.is_symlink() else []
    strange = [n for n in inside if n not in own and not n.startswith(TEMPORARY_PREFIX)]
    return sorted(strange + [p.name for p in folder.iterdir() if p != begun or not begun.is_dir()])


def mark_of(source: Path) -> dict[str, Any]:
    """What run.json says: whose run this is."""
    return {"format": FORMAT, "format_version": FORMAT_VERSION, "labels_dir": str(source)}


def refuse_foreign(marker: Path, source: Path) -> None:
    """RunError when the run is that of another input, or of another version."""
    try:
        table = read_json(marker)
        found = (table["format"], table["format_version"], Path(table["labels_dir"]))
    except (RunError, KeyError, TypeError) as error:
        raise RunError(f"{marker}: cannot be read as the mark of a run; give another --out") from error
    if found[:2] != (FORMAT, FORMAT_VERSION):
        raise RunError(
            f"{marker}: is of {found[0]} {found[1]}, this version reads {FORMAT} {FORMAT_VERSION}; give another --out"
        )
    if found[2] != source:
        raise RunError(f"{marker.parent.parent}: is the run of {found[2]}, not of {source}; give another --out")
