"""What is printed before a run starts: cases, structures, device, expected time and disk space."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from heartmend.cli.terminal import is_quiet, print_message
from heartmend.io.file_names import escape_unprintable
from heartmend.wording import plural

if TYPE_CHECKING:
    from heartmend.pipelines.estimate import RunEstimate

_MINUTE, _HOUR = 60, 3600


def announce(estimate: RunEstimate, output: Path) -> None:
    """Print what a run will work on and what it will cost, on stderr; not with --quiet.

    Args:
        estimate: the estimate.
        output: folder of the run.
    """
    from heartmend.quality.disk_space import free_bytes

    if is_quiet():
        return
    free = free_bytes(output)
    for line in announcement(estimate, free):
        typer.echo(escape_unprintable(line), err=True)
    if estimate.bytes > free and not estimate.continues:
        needed = f"{about_bytes(estimate.bytes)} are needed, {about_bytes(free)} are free"
        print_message("warning", f"{output}: {needed}; free some space, or give another --output")


def announcement(estimate: RunEstimate, free: int) -> list[str]:
    """Write what a run will work on and what it will cost.

    Args:
        estimate: the estimate.
        free: free bytes on the disk of the run.

    Returns:
        Two lines of at most 80 columns.
    """
    images = "with CT" if estimate.has_images else "labels alone"
    cores = plural(estimate.processes, "process", "processes")
    optional = f" + {estimate.n_optional} optional" if estimate.n_optional else ""
    structures = f"{plural(estimate.n_structures, 'structure')}{optional}"
    first = f"{plural(estimate.n_cases, 'case')}, {structures}, {images}; {estimate.device}, {cores}"
    if estimate.seconds is None:
        time = "time with a GPU not measured"
    elif estimate.continues:
        time = f"continues the run: at most about {about_time(estimate.seconds)}"
    else:
        last = "" if estimate.last_stage == "unify" else f" up to {estimate.last_stage}"
        time = f"about {about_time(estimate.seconds)}{last}"
    return [first, f"{time}; {about_bytes(estimate.bytes)} of disk ({about_bytes(free)} free)"]


def about_time(seconds: float) -> str:
    """Round a time to what an estimate is good for.

    Args:
        seconds: the time.

    Returns:
        Such as "4 min".

    Example:
        >>> about_time(12), about_time(206), about_time(2880), about_time(8100), about_time(400_000)
        ('30 s', '4 min', '50 min', '2.5 h', '110 h')
    """
    if seconds < 45:
        return "30 s"
    if seconds < 55 * _MINUTE:
        minutes = max(round(seconds / _MINUTE + 0.3), 1)
        return f"{minutes if minutes < 10 else 5 * round(minutes / 5)} min"
    hours = seconds / _HOUR
    return f"{round(2 * hours + 0.2) / 2:g} h" if hours < 10 else f"{10 * round(hours / 10)} h"


def about_bytes(count: float) -> str:
    """Write a number of bytes with one digit after the point, or none.

    Args:
        count: number of bytes.

    Returns:
        Such as "0.3 GB".

    Example:
        >>> about_bytes(32e6), about_bytes(2.68e9), about_bytes(45.1e9), about_bytes(2.3e12)
        ('0.1 GB', '2.7 GB', '45 GB', '2.3 TB')
    """
    if count >= 1e12:
        return f"{count / 1e12:.1f} TB"
    return f"{count / 1e9:.0f} GB" if count >= 1e10 else f"{max(count / 1e9, 0.1):.1f} GB"
